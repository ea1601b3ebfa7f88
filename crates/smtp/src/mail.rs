//! MAIL (RFC 5321 §4.1.1.2) and its parameters.
//!
//! ```text
//! mail = "MAIL FROM:" Reverse-path [ SP Mail-parameters ] CRLF
//! SIZE=1*20DIGIT                                             RFC 1870
//! BODY=7BIT / 8BITMIME / BINARYMIME                          RFC 6152, RFC 3030
//! SMTPUTF8                                                   RFC 6531
//! RET=FULL / HDRS, ENVID=xtext                               RFC 3461
//! AUTH=<> / xtext                                            RFC 4954 §5: checked and ignored, we trust no such claim
//! ```

use std::fmt::Write;

use bytes::BytesMut;
use postrider_types::ReversePath;

use crate::Capabilities;
use crate::parameters::{is_xtext, once, split, unknown, wrong};
use crate::path;
use crate::reply::{Enhanced, Reply};

/// What the body may consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Body {
    /// Octets up to 127 in lines.
    #[default]
    SevenBit,
    /// Octets up to 255 in lines.
    EightBitMime,
    /// Anything, transferred with BDAT only.
    BinaryMime,
}

/// How much a failure notification returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// What MAIL says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mail {
    /// Who gets notifications.
    pub reverse_path: ReversePath,
    /// The message's size in octets, as far as the client knows.
    pub size: Option<u64>,
    /// What the body may consist of.
    pub body: Body,
    /// Envelope or header may have UTF-8.
    pub utf8: bool,
    /// RET, when given.
    pub ret: Option<Ret>,
    /// ENVID when given: xtext, still encoded, at most 100 octets.
    pub envid: Option<String>,
}

impl Mail {
    /// Nothing but a reverse-path.
    pub fn from(reverse_path: ReversePath) -> Self {
        Self {
            reverse_path,
            ..Self::default()
        }
    }

    /// Reads what follows `MAIL `. The reply says what is wrong.
    pub(crate) fn parse(argument: &str) -> Result<Self, Reply> {
        let taken = path::take(argument, "FROM:")?;
        let (mut size, mut body, mut auth, mut utf8, mut ret, mut envid) =
            (None, None, None, None, None, None);
        for (keyword, value) in split(taken.rest) {
            match keyword.to_ascii_uppercase().as_str() {
                "SIZE" => once(&mut size, value.and_then(parse_size), "SIZE")?,
                "BODY" => once(&mut body, value.and_then(parse_body), "BODY")?,
                "SMTPUTF8" => once(&mut utf8, value.is_none().then_some(()), "SMTPUTF8")?,
                "RET" => once(&mut ret, value.and_then(parse_ret), "RET")?,
                "ENVID" => once(
                    &mut envid,
                    value.filter(|text| is_xtext(text, 100)).map(str::to_owned),
                    "ENVID",
                )?,
                "AUTH" => once(&mut auth, value.filter(|text| is_xtext(text, 500)), "AUTH")?,
                _ => return Err(unknown(keyword)),
            }
        }
        let utf8 = utf8.is_some();
        if !utf8 && !taken.mailbox.is_ascii() {
            return Err(Reply::new(
                553,
                Enhanced(5, 6, 7),
                "an address with non-ASCII characters needs SMTPUTF8",
            ));
        }
        let reverse_path = path::reverse(taken.mailbox)?;
        Ok(Self {
            reverse_path,
            size,
            body: body.unwrap_or_default(),
            utf8,
            ret,
            envid,
        })
    }

    /// Writes the command with those parameters the server knows.
    pub(crate) fn encode(&self, capabilities: &Capabilities, output: &mut BytesMut) {
        // Writing into BytesMut cannot fail: it grows.
        let _ = write!(output, "MAIL FROM:{}", self.reverse_path);
        if let Some(size) = self.size.filter(|_| capabilities.size.is_some()) {
            let _ = write!(output, " SIZE={size}");
        }
        match self.body {
            Body::BinaryMime if capabilities.binary_mime => output.extend_from_slice(b" BODY=BINARYMIME"),
            Body::EightBitMime if capabilities.eight_bit_mime => output.extend_from_slice(b" BODY=8BITMIME"),
            _ => {}
        }
        if self.utf8 && capabilities.smtp_utf8 {
            output.extend_from_slice(b" SMTPUTF8");
        }
        if capabilities.dsn {
            match self.ret {
                Some(Ret::Full) => output.extend_from_slice(b" RET=FULL"),
                Some(Ret::Headers) => output.extend_from_slice(b" RET=HDRS"),
                None => {}
            }
            if let Some(envid) = &self.envid {
                let _ = write!(output, " ENVID={envid}");
            }
        }
        output.extend_from_slice(b"\r\n");
    }
}

fn parse_size(value: &str) -> Option<u64> {
    let digits = (1..=20).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    // Twenty digits may exceed u64; such a message is too large all the same.
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

fn parse_body(value: &str) -> Option<Body> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Some(Body::SevenBit),
        "8BITMIME" => Some(Body::EightBitMime),
        "BINARYMIME" => Some(Body::BinaryMime),
        _ => None,
    }
}

fn parse_ret(value: &str) -> Option<Ret> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Headers),
        _ => None,
    }
}

/// The reply to a body type that is not offered on this connection.
pub(crate) fn body_not_offered() -> Reply {
    wrong("BODY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_survives_the_wire() {
        let text = "FROM:<alice@crepes.fr> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1";
        let mail = Mail::parse(text).unwrap();
        assert_eq!(mail.size, Some(1234));
        assert_eq!(mail.ret, Some(Ret::Headers));
        let mut output = BytesMut::new();
        mail.encode(&Capabilities::everything(), &mut output);
        assert_eq!(&output[..], format!("MAIL {text}\r\n").as_bytes());
        let mut output = BytesMut::new();
        mail.encode(&Capabilities::default(), &mut output);
        assert_eq!(&output[..], b"MAIL FROM:<alice@crepes.fr>\r\n");
    }

    #[test]
    fn wrong_parameters_are_told_apart() {
        let code = |rest: &str| {
            Mail::parse(&format!("FROM:<a@b>{rest}"))
                .map(|_| 250)
                .unwrap_or_else(|reply| reply.code)
        };
        assert_eq!(code(" size=99999999999999999999 body=7bit auth=<>"), 250);
        for bad in [
            " SIZE",
            " SIZE=x",
            " SIZE=+1",
            " SIZE=1 SIZE=2",
            " BODY=9BIT",
            " RET=NONE",
            " ENVID=",
            " SMTPUTF8=1",
        ] {
            assert_eq!(code(bad), 501, "{bad}");
        }
        assert_eq!(code(" X=Y"), 555);
        assert_eq!(
            Mail::parse("FROM:<é@b>").unwrap_err().enhanced,
            Some(Enhanced(5, 6, 7))
        );
        assert!(Mail::parse("FROM:<é@b> SMTPUTF8").unwrap().utf8);
    }
}
