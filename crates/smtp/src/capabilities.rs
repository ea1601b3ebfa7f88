//! What a server says it can, in answer to EHLO (RFC 5321 §4.1.1.1): written by one half, read by the other.

use std::fmt::Write;

use postrider_sasl::Mechanism;

/// The extensions of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// SIZE: the largest message in octets; `Some(0)`: no fixed limit.
    pub size: Option<u64>,
    /// 8BITMIME
    pub eight_bit_mime: bool,
    /// SMTPUTF8
    pub smtp_utf8: bool,
    /// CHUNKING
    pub chunking: bool,
    /// BINARYMIME
    pub binary_mime: bool,
    /// DSN
    pub dsn: bool,
    /// PIPELINING
    pub pipelining: bool,
    /// ENHANCEDSTATUSCODES
    pub enhanced_status_codes: bool,
    /// STARTTLS
    pub starttls: bool,
    /// AUTH: those mechanisms we know, in the server's order.
    pub auth: Vec<Mechanism>,
    /// LIMITS
    pub limits: Limits,
}

/// LIMITS (RFC 9422 §4): `None` where the server names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// RCPTMAX: recipients of one message.
    pub rcpt_max: Option<u32>,
    /// MAILMAX: transactions of one connection.
    pub mail_max: Option<u32>,
}

impl Capabilities {
    /// Reads the lines of a 250 reply to EHLO behind its first. What is unknown is ignored.
    pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut capabilities = Self::default();
        for line in lines {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "SIZE" => {
                    capabilities.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0))
                }
                "8BITMIME" => capabilities.eight_bit_mime = true,
                "SMTPUTF8" => capabilities.smtp_utf8 = true,
                "CHUNKING" => capabilities.chunking = true,
                "BINARYMIME" => capabilities.binary_mime = true,
                "DSN" => capabilities.dsn = true,
                "PIPELINING" => capabilities.pipelining = true,
                "ENHANCEDSTATUSCODES" => capabilities.enhanced_status_codes = true,
                "STARTTLS" => capabilities.starttls = true,
                "AUTH" => capabilities.auth = words.filter_map(|name| name.parse().ok()).collect(),
                "LIMITS" => capabilities.limits = Limits::parse(words),
                _ => {}
            }
        }
        capabilities
    }

    /// Appends a `\n` and a keyword line for each extension.
    pub(crate) fn write(&self, text: &mut String) {
        let mut flag = |wanted: bool, keyword: &str| {
            if wanted {
                text.push('\n');
                text.push_str(keyword);
            }
        };
        flag(self.pipelining, "PIPELINING");
        flag(self.eight_bit_mime, "8BITMIME");
        flag(self.smtp_utf8, "SMTPUTF8");
        flag(self.enhanced_status_codes, "ENHANCEDSTATUSCODES");
        flag(self.chunking, "CHUNKING");
        flag(self.binary_mime, "BINARYMIME");
        flag(self.dsn, "DSN");
        flag(self.starttls, "STARTTLS");
        // Writing into a String cannot fail.
        if let Some(size) = self.size {
            let _ = write!(text, "\nSIZE {size}");
        }
        if !self.auth.is_empty() {
            text.push_str("\nAUTH");
            for mechanism in &self.auth {
                let _ = write!(text, " {mechanism}");
            }
        }
        if self.limits != Limits::default() {
            text.push_str("\nLIMITS");
            let mut limit = |name: &str, value: Option<u32>| {
                if let Some(value) = value {
                    let _ = write!(text, " {name}={value}");
                }
            };
            limit("RCPTMAX", self.limits.rcpt_max);
            limit("MAILMAX", self.limits.mail_max);
        }
    }

    #[cfg(test)]
    pub(crate) fn everything() -> Self {
        Self {
            size: Some(1 << 20),
            eight_bit_mime: true,
            smtp_utf8: true,
            chunking: true,
            binary_mime: true,
            dsn: true,
            pipelining: true,
            enhanced_status_codes: true,
            starttls: true,
            auth: Mechanism::ALL.to_vec(),
            limits: Limits {
                rcpt_max: Some(100),
                mail_max: Some(10),
            },
        }
    }
}

impl Limits {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut limits = Self::default();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            // Zero would forbid everything; RFC 9422 §4 gives limits of at least one.
            let value = value.parse().ok().filter(|value| *value > 0);
            match name.to_ascii_uppercase().as_str() {
                "RCPTMAX" => limits.rcpt_max = value,
                "MAILMAX" => limits.mail_max = value,
                _ => {}
            }
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_survive_the_wire() {
        let mut text = String::new();
        Capabilities::everything().write(&mut text);
        assert_eq!(Capabilities::parse(text.split('\n')), Capabilities::everything());
        assert_eq!(Capabilities::parse("".split('\n')), Capabilities::default());
    }

    #[test]
    fn others_write_them_differently() {
        let lines = [
            "size",
            "auth GSSAPI plain",
            "LIMITS RCPTMAX=0 RCPTDOMAINMAX=1 mailmax=5",
            "X-FOO bar",
        ];
        let capabilities = Capabilities::parse(lines.into_iter());
        assert_eq!(capabilities.size, Some(0));
        assert_eq!(capabilities.auth, [Mechanism::Plain]);
        assert_eq!(
            capabilities.limits,
            Limits {
                rcpt_max: None,
                mail_max: Some(5)
            }
        );
    }
}
