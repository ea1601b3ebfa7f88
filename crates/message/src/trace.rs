//! The fields servers add: Received and Return-Path (RFC 5321 §4.4), and what submission completes (RFC 6409 §8).

use std::net::IpAddr;

use postrider_types::{Address, ReversePath};

use crate::date::DateTime;
use crate::fold::{one_line, write_field};
use crate::{address, header};

/// How a message came, for the `with` clause (RFC 3848, RFC 6531 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocol {
    /// EHLO instead of HELO.
    pub extended: bool,
    /// Inside TLS.
    pub tls: bool,
    /// After AUTH.
    pub authenticated: bool,
    /// With SMTPUTF8.
    pub utf8: bool,
}

impl Protocol {
    /// The registered keyword: `SMTP`, `ESMTP` with `S` and `A`, `UTF8SMTP` with `S` and `A`.
    pub fn keyword(self) -> &'static str {
        match (self.utf8, self.extended, self.tls, self.authenticated) {
            (true, _, false, false) => "UTF8SMTP",
            (true, _, true, false) => "UTF8SMTPS",
            (true, _, false, true) => "UTF8SMTPA",
            (true, _, true, true) => "UTF8SMTPSA",
            (false, _, true, true) => "ESMTPSA",
            (false, _, true, false) => "ESMTPS",
            (false, _, false, true) => "ESMTPA",
            (false, true, false, false) => "ESMTP",
            (false, false, false, false) => "SMTP",
        }
    }
}

/// A Received field.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    /// What the client called itself in HELO or EHLO.
    pub helo: &'a str,
    /// Where it connected from.
    pub ip: Option<IpAddr>,
    /// Its name by reverse lookup, if it was looked up and holds forward too.
    pub name: Option<&'a str>,
    /// Who received: our name.
    pub by: &'a str,
    /// How.
    pub protocol: Protocol,
    /// What we call the message.
    pub id: &'a str,
    /// For whom, where there is one recipient: more would tell each of the others (RFC 5321 §7.2).
    pub recipient: Option<&'a Address>,
    /// TLS version and cipher, for a comment.
    pub tls: Option<&'a str>,
    /// When.
    pub time: DateTime,
}

impl Received<'_> {
    /// The field, folded, CRLF at its end. What came from outside cannot break out of it.
    pub fn write(&self) -> String {
        let mut out = String::with_capacity(256);
        out.push_str("Received: from ");
        let ascii = !self.protocol.utf8;
        out.push_str(&atom(self.helo, ascii));
        if let Some(ip) = self.ip {
            out.push_str(" (");
            if let Some(name) = self.name {
                out.push_str(&atom(name, ascii));
                out.push(' ');
            }
            match ip {
                IpAddr::V4(ip) => out.push_str(&format!("[{ip}])")),
                IpAddr::V6(ip) => out.push_str(&format!("[IPv6:{ip}])")),
            }
        }
        out.push_str(&format!(
            "\r\n\tby {} with {} id {}",
            self.by,
            self.protocol.keyword(),
            atom(self.id, ascii)
        ));
        if let Some(tls) = self.tls {
            out.push_str(&format!(
                "\r\n\t({})",
                one_line(tls, ascii).replace(['(', ')', '\\'], "?")
            ));
        }
        if let Some(recipient) = self.recipient.filter(|it| !ascii || it.is_ascii()) {
            out.push_str(&format!("\r\n\tfor <{recipient}>"));
        }
        out.push_str(&format!(";\r\n\t{}\r\n", self.time.rfc5322()));
        out
    }
}

/// A word of a trace field: what could end it, or begin a comment, becomes `?`; at most 255 characters.
fn atom(text: &str, ascii: bool) -> String {
    let safe = |c: char| match c {
        '(' | ')' | ';' | '"' | '\\' | '<' | '>' => '?',
        c if c.is_ascii_graphic() || (!ascii && c.is_alphanumeric()) => c,
        _ => '?',
    };
    let word: String = text.chars().take(255).map(safe).collect();
    if word.is_empty() { "unknown".into() } else { word }
}

/// The Return-Path field that final delivery puts at the top (RFC 5321 §4.4), CRLF at its end.
pub fn return_path(sender: &ReversePath) -> String {
    format!("Return-Path: {sender}\r\n")
}

/// What a submitted message lacks of what RFC 5322 §3.6 demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// No Date.
    pub date: bool,
    /// No Message-ID.
    pub message_id: bool,
    /// No From, or none with an address.
    pub from: bool,
    /// From names several addresses and there is no Sender.
    pub sender: bool,
}

impl Missing {
    /// Whether it lacks nothing.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The fields to put before the message, each with CRLF. `unique` and `host` make the Message-ID.
    pub fn fields(self, time: DateTime, sender: &Address, unique: &str, host: &str) -> String {
        let mut out = String::new();
        if self.date {
            write_field(&mut out, "Date", &time.rfc5322());
        }
        if self.from {
            write_field(&mut out, "From", &sender.to_string());
        }
        if self.sender {
            write_field(&mut out, "Sender", &sender.to_string());
        }
        if self.message_id {
            write_field(
                &mut out,
                "Message-ID",
                &format!("<{}@{host}>", atom(unique, true)),
            );
        }
        out
    }
}

/// Looks through the header of a submitted message.
pub fn missing(block: &[u8]) -> Missing {
    let mut missing = Missing {
        date: true,
        message_id: true,
        from: true,
        sender: false,
    };
    let mut authors = 0;
    let mut has_sender = false;
    for field in header::fields(block) {
        let has_value = || !field.unfolded(block).is_empty();
        if field.is("date") {
            missing.date &= !has_value();
        } else if field.is("message-id") {
            missing.message_id &= !has_value();
        } else if field.is("sender") {
            has_sender |= has_value();
        } else if field.is("from") {
            let (list, _) = address::parse_list_up_to(&field.unfolded(block), 8);
            authors += list
                .iter()
                .filter(|it| it.host.as_ref().is_some_and(|host| !host.is_empty()))
                .count();
        }
    }
    missing.from = authors == 0;
    missing.sender = authors > 1 && !has_sender;
    missing
}

/// The addresses of From and of Sender as far as they are well formed: who a submitted message says it is from.
pub fn authors(block: &[u8]) -> Vec<Address> {
    header::fields(block)
        .filter(|field| field.is("from") || field.is("sender"))
        .flat_map(|field| address::parse_list_up_to(&field.unfolded(block), 64).0)
        .filter_map(|it| {
            let local = postrider_types::LocalPart::new(it.mailbox.as_deref()?).ok()?;
            Address::from_parts(local, postrider_types::Domain::new(it.host.as_deref()?).ok()?).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Received<'static> {
        Received {
            helo: "crepes.fr",
            ip: Some("192.0.2.1".parse().unwrap()),
            name: None,
            by: "hamburger.edu",
            protocol: Protocol {
                extended: true,
                tls: true,
                ..Protocol::default()
            },
            id: "01890a5d",
            recipient: None,
            tls: Some("TLSv1.3 TLS_AES_256_GCM_SHA384"),
            time: DateTime::utc(1_795_338_960),
        }
    }

    #[test]
    fn received_says_who_when_and_how() {
        let bob = Address::new("bob@hamburger.edu").unwrap();
        let field = Received {
            recipient: Some(&bob),
            ..received()
        }
        .write();
        assert_eq!(
            field,
            "Received: from crepes.fr ([192.0.2.1])\r\n\tby hamburger.edu with ESMTPS id 01890a5d\r\n\t\
             (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n\tfor <bob@hamburger.edu>;\r\n\tSun, 22 Nov 2026 09:16:00 +0000\r\n"
        );
    }

    #[test]
    fn a_client_cannot_write_into_the_field() {
        let field = Received {
            helo: "x) by evil;\r\nSubject: y",
            ip: Some("::1".parse().unwrap()),
            ..received()
        }
        .write();
        assert!(
            field.starts_with("Received: from x??by?evil???Subject:?y ([IPv6:::1])\r\n\tby hamburger.edu"),
            "{field}"
        );
        assert_eq!(header::fields(field.as_bytes()).count(), 1);
    }

    #[test]
    fn keywords_are_the_registered_ones() {
        let keyword = |extended, tls, authenticated, utf8| {
            Protocol {
                extended,
                tls,
                authenticated,
                utf8,
            }
            .keyword()
        };
        assert_eq!(keyword(false, false, false, false), "SMTP");
        assert_eq!(keyword(true, false, false, false), "ESMTP");
        assert_eq!(keyword(true, true, true, false), "ESMTPSA");
        assert_eq!(keyword(true, true, false, true), "UTF8SMTPS");
    }

    #[test]
    fn what_is_missing_is_added() {
        let all = missing(b"");
        assert_eq!(
            all,
            Missing {
                date: true,
                message_id: true,
                from: true,
                sender: false
            }
        );
        let alice = Address::new("alice@crepes.fr").unwrap();
        let fields = all.fields(DateTime::utc(0), &alice, "1", "crepes.fr");
        assert_eq!(
            fields,
            "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: alice@crepes.fr\r\nMessage-ID: <1@crepes.fr>\r\n"
        );
        assert!(missing(fields.as_bytes()).is_empty());
        assert!(missing(b"From: a@b.c, d@e.f\r\n").sender);
        assert!(!missing(b"From: a@b.c, d@e.f\r\nSender: a@b.c\r\n").sender);
        assert_eq!(authors(b"From: Alice <alice@crepes.fr>, x\r\n"), [alice]);
    }

    #[test]
    fn return_paths() {
        assert_eq!(return_path(&ReversePath::NULL), "Return-Path: <>\r\n");
    }
}
