//! Mail addresses as SMTP has them (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@` outside quotes.
    #[error("an address needs an @ between local part and domain")]
    NoDomain,
    /// Empty, over 64 octets, or characters that need quoting.
    #[error("the part before the @ is empty, longer than 64 octets, or has characters that need quoting")]
    LocalPart,
    /// Not a host name (or address literal).
    #[error("the domain is not a valid host name")]
    Domain,
    /// Over 254 octets in all.
    #[error("an address is at most 254 octets long")]
    TooLong,
}

/// A domain in lower-case ASCII form (A-labels, RFC 5890): `hamburger.edu`, `xn--bcher-kva.example`; or an
/// address literal in brackets: `[192.0.2.1]`, `[IPv6:2001:db8::1]`. At most 253 octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Box<str>);

impl Domain {
    /// Checks the text, maps Unicode names to their ASCII form, and lower-cases. One trailing dot is dropped.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        if let Some(literal) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Self::literal(literal);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let ascii = if name.is_ascii() {
            name.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(name).map_err(|_| AddressError::Domain)?
        };
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if ascii.is_empty() || ascii.len() > 253 || !ascii.split('.').all(label_ok) {
            return Err(AddressError::Domain);
        }
        Ok(Self(ascii.into()))
    }

    fn literal(text: &str) -> Result<Self, AddressError> {
        if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            return Ok(Self(format!("[{address}]").into()));
        }
        let v6 = text
            .get(..5)
            .filter(|tag| tag.eq_ignore_ascii_case("IPv6:"))
            .and_then(|_| text.get(5..));
        match v6.and_then(|address| address.parse::<std::net::Ipv6Addr>().ok()) {
            Some(address) => Ok(Self(format!("[IPv6:{address}]").into())),
            None => Err(AddressError::Domain),
        }
    }

    /// In lower-case ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address inside an address literal.
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        let inside = self.0.strip_prefix('[')?.strip_suffix(']')?;
        inside.strip_prefix("IPv6:").unwrap_or(inside).parse().ok()
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Domain {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Domain {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::new(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.0.into()
    }
}

/// What stands before the `@`, unquoted: 1 to 64 octets of UTF-8 without control characters. Its case is kept;
/// whether case matters is the receiving server's business (ours: it does not).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPart(Box<str>);

impl LocalPart {
    /// Takes the unquoted text.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
            return Err(AddressError::LocalPart);
        }
        Ok(Self(text.into()))
    }

    /// The text without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a `Dot-string` (RFC 5321 §4.1.2) and can be written without quotes.
    pub fn is_dot_string(&self) -> bool {
        let atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
        self.0
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(atext))
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_dot_string() {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

/// A mailbox address, `Mailbox = Local-part "@" ( Domain / address-literal )`: at most 254 octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: LocalPart,
    domain: Domain,
}

impl Address {
    /// Joins the two parts.
    pub fn from_parts(local: LocalPart, domain: Domain) -> Result<Self, AddressError> {
        if local.as_str().len() + 1 + domain.as_str().len() > 254 {
            return Err(AddressError::TooLong);
        }
        Ok(Self { local, domain })
    }

    /// Reads `local@domain` or `"quoted local"@domain`, without angle brackets.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoDomain)?;
        let local = match local.strip_prefix('"') {
            Some(rest) => LocalPart::new(&unquote(rest).ok_or(AddressError::LocalPart)?)?,
            None => {
                let local = LocalPart::new(local)?;
                if !local.is_dot_string() {
                    return Err(AddressError::LocalPart);
                }
                local
            }
        };
        Self::from_parts(local, Domain::new(domain)?)
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &LocalPart {
        &self.local
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether SMTPUTF8 (RFC 6531) is needed to name it.
    pub fn is_ascii(&self) -> bool {
        self.local.as_str().is_ascii()
    }

    /// The key under which our own directory knows it: the local part in lower case, unquoted.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.as_str().to_lowercase(), self.domain)
    }
}

fn unquote(rest: &str) -> Option<String> {
    let inside = rest.strip_suffix('"')?;
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?),
            '"' => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::new(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

/// The envelope's sender: an address, or `<>` for notifications (RFC 5321 §4.5.5).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ReversePath(pub Option<Address>);

impl ReversePath {
    /// `<>`: whoever gets such a message never answers with a notification.
    pub const NULL: ReversePath = ReversePath(None);

    /// Whether it is `<>`.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for ReversePath {
    /// With angle brackets, as MAIL FROM and Return-Path write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(address) => write!(f, "<{address}>"),
            None => f.write_str("<>"),
        }
    }
}

impl fmt::Debug for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_their_text() {
        for text in [
            "bob@hamburger.edu",
            "\"bob smith\"@hamburger.edu",
            "a+b@[192.0.2.1]",
            "π@xn--e1afmkfd.example",
        ] {
            let address = Address::new(text).unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(Address::new(&address.to_string()), Ok(address));
        }
    }

    #[test]
    fn domains_become_lower_case_ascii() {
        assert_eq!(Domain::new("Hamburger.EDU.").unwrap().as_str(), "hamburger.edu");
        assert_eq!(
            Domain::new("bücher.example").unwrap().as_str(),
            "xn--bcher-kva.example"
        );
        assert_eq!(
            Domain::new("[ipv6:::1]").unwrap().ip(),
            Some("::1".parse().unwrap())
        );
        for bad in ["", ".", "a..b", "-a.b", "a b", "[300.1.1.1]", "[x]", "a/b"] {
            assert_eq!(Domain::new(bad), Err(AddressError::Domain), "{bad}");
        }
    }

    #[test]
    fn bad_addresses_say_why() {
        assert_eq!(Address::new("bob"), Err(AddressError::NoDomain));
        assert_eq!(Address::new("@x.y"), Err(AddressError::LocalPart));
        assert_eq!(Address::new("a b@x.y"), Err(AddressError::LocalPart));
        assert_eq!(Address::new("\"a\"b\"@x.y"), Err(AddressError::LocalPart));
        assert_eq!(
            Address::new(&format!("{}@x.y", "a".repeat(65))),
            Err(AddressError::LocalPart)
        );
    }
}
