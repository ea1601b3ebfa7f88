//! RCPT (RFC 5321 §4.1.1.3) and its parameters.
//!
//! ```text
//! rcpt  = "RCPT TO:" Forward-path [ SP Rcpt-parameters ] CRLF
//! NOTIFY=NEVER / 1#( SUCCESS / FAILURE / DELAY )             RFC 3461 §4.1
//! ORCPT=addr-type ";" xtext                                  RFC 3461 §4.2
//! ```

use std::fmt::Write;

use bytes::BytesMut;
use postrider_types::Address;

use crate::Capabilities;
use crate::parameters::{is_xtext, once, split, unknown};
use crate::path::{self, ForwardPath};
use crate::reply::{Enhanced, Reply};

/// When the sender wants to hear. All false: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// SUCCESS
    pub success: bool,
    /// FAILURE
    pub failure: bool,
    /// DELAY
    pub delay: bool,
}

/// What RCPT says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// To whom.
    pub to: ForwardPath,
    /// NOTIFY, when given.
    pub notify: Option<Notify>,
    /// ORCPT when given: address type, semicolon, xtext still encoded; at most 500 octets.
    pub orcpt: Option<String>,
}

impl Rcpt {
    /// Nothing but an address.
    pub fn to(address: Address) -> Self {
        Self {
            to: ForwardPath::Address(address),
            notify: None,
            orcpt: None,
        }
    }

    /// Reads what follows `RCPT `. `utf8`: the transaction has SMTPUTF8.
    pub(crate) fn parse(argument: &str, utf8: bool) -> Result<Self, Reply> {
        let taken = path::take(argument, "TO:")?;
        let (mut notify, mut orcpt) = (None, None);
        for (keyword, value) in split(taken.rest) {
            match keyword.to_ascii_uppercase().as_str() {
                "NOTIFY" => once(&mut notify, value.and_then(parse_notify), "NOTIFY")?,
                "ORCPT" => once(
                    &mut orcpt,
                    value.filter(|text| is_orcpt(text)).map(str::to_owned),
                    "ORCPT",
                )?,
                _ => return Err(unknown(keyword)),
            }
        }
        if !utf8 && !taken.mailbox.is_ascii() {
            return Err(Reply::new(
                553,
                Enhanced(5, 6, 7),
                "an address with non-ASCII characters needs SMTPUTF8",
            ));
        }
        Ok(Self {
            to: path::forward(taken.mailbox)?,
            notify,
            orcpt,
        })
    }

    /// Writes the command with those parameters the server knows.
    pub(crate) fn encode(&self, capabilities: &Capabilities, output: &mut BytesMut) {
        // Writing into BytesMut cannot fail: it grows.
        let _ = write!(output, "RCPT TO:<{}>", self.to);
        if capabilities.dsn {
            if let Some(notify) = self.notify {
                output.extend_from_slice(b" NOTIFY=");
                let chosen = [
                    (notify.success, "SUCCESS"),
                    (notify.failure, "FAILURE"),
                    (notify.delay, "DELAY"),
                ];
                let chosen: Vec<&str> = chosen
                    .iter()
                    .filter(|(wanted, _)| *wanted)
                    .map(|(_, name)| *name)
                    .collect();
                let list = if chosen.is_empty() {
                    "NEVER".to_owned()
                } else {
                    chosen.join(",")
                };
                output.extend_from_slice(list.as_bytes());
            }
            if let Some(orcpt) = &self.orcpt {
                let _ = write!(output, " ORCPT={orcpt}");
            }
        }
        output.extend_from_slice(b"\r\n");
    }
}

fn parse_notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::default());
    }
    let mut notify = Notify::default();
    for name in value.split(',') {
        match name.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

fn is_orcpt(value: &str) -> bool {
    value.split_once(';').is_some_and(|(kind, address)| {
        !kind.is_empty()
            && kind
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && value.len() <= 500
            && is_xtext(address, 500)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_survives_the_wire() {
        for rest in [
            "",
            " NOTIFY=NEVER",
            " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob+2Bx@hamburger.edu",
        ] {
            let text = format!("TO:<bob@hamburger.edu>{rest}");
            let mut output = BytesMut::new();
            Rcpt::parse(&text, false)
                .unwrap()
                .encode(&Capabilities::everything(), &mut output);
            assert_eq!(&output[..], format!("RCPT {text}\r\n").as_bytes());
        }
        assert_eq!(
            Rcpt::parse("to: <Postmaster>", false).unwrap().to,
            ForwardPath::Postmaster
        );
    }

    #[test]
    fn wrong_parameters_are_told_apart() {
        let code = |rest: &str| {
            Rcpt::parse(&format!("TO:<a@b>{rest}"), false).map_or_else(|reply| reply.code, |_| 250)
        };
        for bad in [
            " NOTIFY=",
            " NOTIFY=NEVER,DELAY",
            " NOTIFY=X",
            " ORCPT=x",
            " ORCPT=;x",
            " ORCPT=rfc822;a b",
        ] {
            assert!(code(bad) >= 501, "{bad}");
        }
        assert_eq!(code(" X"), 555);
        assert_eq!(Rcpt::parse("TO:<>", false).unwrap_err().code, 553);
    }
}
