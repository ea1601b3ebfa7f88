//! Durations and sizes as people write them.

use std::time::Duration;

const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZES: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `90s`, `30m`, `5d`, `250ms`; `0` needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let millis = parse(text, &DURATIONS)
        .ok_or_else(|| format!("`{text}` is not a duration such as `90s`, `30m` or `5d`"))?;
    Ok(Duration::from_millis(millis))
}

/// Writes a duration with the largest unit that needs no fraction.
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format(millis, &DURATIONS, "0s")
}

/// Reads `25MiB`, `4KiB`, `100B`; `0` needs no unit.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZES).ok_or_else(|| format!("`{text}` is not a size such as `25MiB` or `64KiB`"))
}

/// Writes a size with the largest unit that needs no fraction.
pub fn format_size(bytes: u64) -> String {
    format(bytes, &SIZES, "0B")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    if text == "0" {
        return Some(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim();
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

fn format(number: u64, units: &[(&str, u64)], zero: &str) -> String {
    if number == 0 {
        return zero.to_owned();
    }
    let fitting = units
        .iter()
        .rev()
        .find(|(_, factor)| number.is_multiple_of(*factor));
    fitting.map_or_else(
        || number.to_string(),
        |(name, factor)| format!("{}{name}", number / factor),
    )
}

/// For `#[serde(with = "duration")]` on a [`Duration`].
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Reads a text such as `90s`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    /// Writes it.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }
}

/// For `#[serde(with = "size")]` on a number of bytes.
pub mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Reads a text such as `25MiB`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        super::parse_size(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    /// Writes it.
    pub fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_size(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_what_they_say() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("5d"), Ok(Duration::from_secs(432_000)));
        assert_eq!(parse_size("25MiB"), Ok(25 << 20));
        assert_eq!(parse_size("25 mib"), Ok(25 << 20));
        for wrong in [
            "",
            "s",
            "90",
            "-1s",
            "1.5h",
            "1y",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(number in 0..u64::MAX / 2) {
            prop_assert_eq!(parse_size(&format_size(number)), Ok(number));
            let duration = Duration::from_millis(number);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}") {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
