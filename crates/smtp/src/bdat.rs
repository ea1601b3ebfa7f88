//! BDAT (RFC 3030 §2).
//!
//! ```text
//! bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ] CRLF
//! ```

use crate::reply::{Enhanced, Reply};

/// What BDAT says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bdat {
    /// Octets that follow the command line.
    pub size: u64,
    /// The message ends with this chunk.
    pub last: bool,
}

impl Bdat {
    /// Reads what follows `BDAT `.
    pub(crate) fn parse(argument: &str) -> Result<Self, Reply> {
        let wrong = || Reply::new(501, Enhanced(5, 5, 4), "write BDAT size [LAST]");
        let mut words = argument.split(' ').filter(|word| !word.is_empty());
        let size = words
            .next()
            .filter(|word| word.bytes().all(|octet| octet.is_ascii_digit()))
            .ok_or_else(wrong)?;
        let size = size.parse().map_err(|_| wrong())?;
        let last = match words.next() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("LAST") => true,
            Some(_) => return Err(wrong()),
        };
        if words.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { size, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks() {
        assert_eq!(
            Bdat::parse("1000"),
            Ok(Bdat {
                size: 1000,
                last: false
            })
        );
        assert_eq!(Bdat::parse("0 last"), Ok(Bdat { size: 0, last: true }));
        for bad in [
            "",
            "x",
            "-1",
            "+1",
            "1 LASTLY",
            "1 LAST x",
            "99999999999999999999",
        ] {
            assert!(Bdat::parse(bad).is_err(), "{bad}");
        }
    }
}
