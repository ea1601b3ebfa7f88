//! AUTH (RFC 4954).
//!
//! ```text
//! auth-command = "AUTH" SP sasl-mech [ SP initial-response ] *( CRLF [ base64 ] ) [ CRLF cancel-response ] CRLF
//! initial-response = base64 / "="
//! ```

use postrider_sasl::{Mechanism, decode_initial};

use crate::reply::{Enhanced, Reply};

/// What AUTH says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Auth {
    pub mechanism: Mechanism,
    /// Decoded.
    pub initial_response: Option<Vec<u8>>,
}

impl Auth {
    /// Reads what follows `AUTH `.
    pub(crate) fn parse(argument: &str) -> Result<Self, Reply> {
        let (name, response) = match argument.split_once(' ') {
            Some((name, response)) => (name, Some(response)),
            None => (argument, None),
        };
        if name.is_empty() {
            return Err(Reply::new(501, Enhanced(5, 5, 4), "write AUTH mechanism"));
        }
        let unknown = |_| Reply::new(504, Enhanced(5, 5, 4), "this mechanism is not supported");
        let mechanism = name.parse().map_err(unknown)?;
        let initial_response = match response {
            None => None,
            Some(text) => Some(decode_initial(text.as_bytes()).ok_or_else(not_base64)?),
        };
        Ok(Self {
            mechanism,
            initial_response,
        })
    }
}

/// A response that cannot be decoded (RFC 4954 §4).
pub(crate) fn not_base64() -> Reply {
    Reply::new(501, Enhanced(5, 5, 2), "the response is not valid base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanisms_and_initial_responses() {
        let plain = Auth::parse("plain AGJvYgBodW5ncnk=").unwrap();
        assert_eq!(plain.initial_response.as_deref(), Some(&b"\0bob\0hungry"[..]));
        assert_eq!(Auth::parse("LOGIN").unwrap().initial_response, None);
        assert_eq!(Auth::parse("PLAIN =").unwrap().initial_response, Some(Vec::new()));
        assert_eq!(Auth::parse("GSSAPI").unwrap_err().code, 504);
        assert_eq!(Auth::parse("PLAIN !").unwrap_err().code, 501);
        assert_eq!(Auth::parse("").unwrap_err().code, 501);
    }
}
