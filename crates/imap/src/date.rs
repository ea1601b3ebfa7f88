//! Dates as IMAP writes them (RFC 9051 §9, `date`, `date-time`).
//!
//! ```text
//! date      = date-day "-" date-month "-" date-year
//! date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
//! ```

use bytes::{BufMut, BytesMut};

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const DAY_SECONDS: i64 = 86_400;

/// Days since 1970-01-01 of a date; `None` when there is no such day.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let mut fields = text.split(|byte| *byte == b'-');
    let (day, month, year) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || !(1..=2).contains(&day.len()) || year.len() != 4 {
        return None;
    }
    days(digits(year)?, month_number(month)?, digits(day)?)
}

/// Milliseconds since the Unix epoch of a `date-time` without its quotes; times before the epoch become 0.
pub(crate) fn parse_date_time(text: &[u8]) -> Option<u64> {
    let (date, rest) = text.split_at_checked(11)?;
    let [
        b' ',
        h1,
        h2,
        b':',
        m1,
        m2,
        b':',
        s1,
        s2,
        b' ',
        sign,
        z1,
        z2,
        z3,
        z4,
    ] = *rest
    else {
        return None;
    };
    // date-day-fixed: a space stands for a leading zero.
    let date = date.strip_prefix(b" ").unwrap_or(date);
    let days = parse_date(date)?;
    let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?);
    let (zone_hour, zone_minute) = (digits(&[z1, z2])?, digits(&[z3, z4])?);
    if hour > 23 || minute > 59 || second > 60 || zone_hour > 23 || zone_minute > 59 {
        return None;
    }
    let zone = i64::from(zone_hour * 60 + zone_minute) * 60;
    let zone = match sign {
        b'+' => zone,
        b'-' => -zone,
        _ => return None,
    };
    let local = i64::from(days) * DAY_SECONDS + i64::from(hour * 3600 + minute * 60 + second);
    Some(u64::try_from(local - zone).unwrap_or(0) * 1000)
}

/// Appends a `date`, from days since 1970-01-01.
pub(crate) fn put_date(out: &mut BytesMut, day: i32) {
    let (year, month, day) = civil(i64::from(day));
    super::response::number(out, u64::from(day));
    put_month_year(out, month, year);
}

/// Appends a `date-time` in UTC with its quotes. Years end at 9999.
pub(crate) fn put_date_time(out: &mut BytesMut, millis: u64) {
    // 9999-12-31 23:59:59
    let seconds = (millis / 1000).min(253_402_300_799) as i64;
    let (year, month, day) = civil(seconds / DAY_SECONDS);
    let second = (seconds % DAY_SECONDS) as u32;
    out.put_u8(b'"');
    if day < 10 {
        out.put_slice(&[b' ', b'0' + day as u8]);
    } else {
        put_two(out, day);
    }
    put_month_year(out, month, year);
    for (before, value) in [
        (b' ', second / 3600),
        (b':', second / 60 % 60),
        (b':', second % 60),
    ] {
        out.put_u8(before);
        put_two(out, value);
    }
    out.put_slice(b" +0000\"");
}

fn put_month_year(out: &mut BytesMut, month: u32, year: u32) {
    out.put_u8(b'-');
    out.put_slice(MONTHS.get(month as usize - 1).copied().unwrap_or(MONTHS[0]));
    out.put_u8(b'-');
    put_two(out, year / 100 % 100);
    put_two(out, year % 100);
}

fn put_two(out: &mut BytesMut, value: u32) {
    out.put_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'))
    })
}

fn month_number(text: &[u8]) -> Option<u32> {
    let at = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(text))?;
    Some(at as u32 + 1)
}

/// Days since the epoch of a day of the Gregorian calendar (years counted from March, in eras of 400 years).
fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > last || year > 9999 {
        return None;
    }
    // 400 years are added so that January and February of year 0 do not go below zero.
    let year = i64::from(year) + 400 - i64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    i32::try_from((era - 1) * 146_097 + of_era - 719_468).ok()
}

/// Year, month and day of a day since the epoch; of the last days of year 0 and 9999 for what lies outside.
fn civil(day: i64) -> (u32, u32, u32) {
    let day = day.clamp(-719_528, 2_932_896) + 719_468 + 146_097;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + (era - 1) * 400 + i64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date_time(millis: u64) -> String {
        let mut out = BytesMut::new();
        put_date_time(&mut out, millis);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn known_moments() {
        assert_eq!(date_time(0), "\" 1-Jan-1970 00:00:00 +0000\"");
        assert_eq!(
            parse_date_time(b"17-Jul-1996 02:44:25 -0700"),
            Some(837_596_665_000)
        );
        assert_eq!(parse_date(b"1-Jan-1970"), Some(0));
        assert_eq!(parse_date(b"29-feb-2000"), Some(11_016));
        assert_eq!(parse_date(b"31-Dec-1969"), Some(-1));
        assert_eq!(parse_date_time(b" 1-Jan-1900 00:00:00 +0000"), Some(0));
    }

    #[test]
    fn days_that_are_not() {
        for bad in [
            "30-Feb-2000",
            "29-Feb-1900",
            "0-Jan-2000",
            "32-Jan-2000",
            "1-Foo-2000",
            "1-Jan-20",
            "1-Jan",
            "-1-Jan-2000",
            "",
        ] {
            assert_eq!(parse_date(bad.as_bytes()), None, "{bad}");
        }
        for bad in [
            "17-Jul-1996 24:00:00 +0000",
            "17-Jul-1996 02:44:25 0000",
            "7-Jul-1996 02:44:25 +0000",
            "17-Jul-1996 02:44:25 +000",
        ] {
            assert_eq!(parse_date_time(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn moments_survive_their_text(seconds in 0..253_402_300_800u64) {
            let text = date_time(seconds * 1000);
            prop_assert_eq!(text.len(), 28);
            prop_assert_eq!(parse_date_time(&text.as_bytes()[1..27]), Some(seconds * 1000));
        }

        #[test]
        fn days_survive_their_text(day in -719_528..2_932_897) {
            let mut out = BytesMut::new();
            put_date(&mut out, day);
            prop_assert_eq!(parse_date(&out), Some(day));
        }
    }
}
