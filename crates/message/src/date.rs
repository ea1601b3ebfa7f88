//! Dates of messages (RFC 5322 §3.3, obsolete forms §4.3), tolerantly read, strictly written.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAY: i64 = 86_400;

/// An instant and the zone it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DateTime {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Minutes east of UTC.
    pub zone: i32,
}

impl DateTime {
    /// An instant, written in UTC.
    pub fn utc(seconds: i64) -> Self {
        Self { seconds, zone: 0 }
    }

    /// The calendar day it was where it was written, in days since 1970-01-01: what SENTON and its like compare.
    pub fn day(self) -> i64 {
        (self.seconds + i64::from(self.zone) * 60).div_euclid(DAY)
    }

    /// The calendar day in UTC, in days since 1970-01-01.
    pub fn utc_day(self) -> i64 {
        self.seconds.div_euclid(DAY)
    }

    /// `date-time` of RFC 5322 §3.3: `Sun, 22 Nov 2026 09:16:00 +0000`.
    pub fn rfc5322(self) -> String {
        let local = self.seconds + i64::from(self.zone) * 60;
        let (day, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, date) = civil(day);
        let weekday = DAYS[day.rem_euclid(7) as usize];
        let month = MONTHS[month as usize - 1];
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let sign = if self.zone < 0 { '-' } else { '+' };
        let zone = self.zone.unsigned_abs();
        format!(
            "{weekday}, {date} {month} {year:04} {hour:02}:{minute:02}:{second:02} {sign}{:02}{:02}",
            zone / 60,
            zone % 60
        )
    }
}

/// Year, month (1 to 12) and day of the month of a day since 1970-01-01, in the Gregorian calendar.
pub fn civil(day: i64) -> (i64, u32, u32) {
    // Years begin in March here, so that the leap day is the last of its year; 400 years are 146,097 days.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let date = (of_year - (153 * march_month + 2) / 5 + 1) as u32;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Month is 1 to 12.
pub fn day_of(year: i64, month: u32, date: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = (i64::from(month) + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + i64::from(date) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

/// Reads a Date field: comments and the day's name are ignored; years of two and three digits, named and military zones
/// are those of RFC 5322 §4.3; seconds and zone may be missing; `Jan 1 2024` is taken for `1 Jan 2024`. `None` if
/// no instant can be made out.
pub fn parse(text: &str) -> Option<DateTime> {
    let text = without_comments(text.get(..200).unwrap_or(text));
    let mut date = None;
    let mut month = None;
    let mut year = None;
    let mut time = None;
    let mut zone = None;
    for word in text.split([' ', '\t', ',', '-']).filter(|word| !word.is_empty()) {
        if word.contains(':') {
            time = Some(clock(word)?);
        } else if word.bytes().all(|byte| byte.is_ascii_digit()) {
            match (date, year, time) {
                (None, ..) if word.len() <= 2 => date = word.parse::<u32>().ok(),
                (_, None, _) => year = Some(full_year(word)?),
                // The hyphen of a western zone has been split away; the next test finds it again.
                (.., Some(_)) => zone = zone.or(Some(-offset(word)?)),
                _ => {}
            }
        } else if let Some(digits) = word.strip_prefix('+') {
            zone = Some(offset(digits)?);
        } else if let (None, Some(named)) = (month, month_named(word)) {
            month = Some(named);
        } else if time.is_some() && zone.is_none() {
            zone = named_zone(word);
        }
    }
    let (date, month, year, time) = (date?, month?, year?, time?);
    if !(1..=31).contains(&date) {
        return None;
    }
    let zone = zone.unwrap_or(0);
    let seconds = day_of(year, month, date) * DAY + time - i64::from(zone) * 60;
    Some(DateTime { seconds, zone })
}

/// `hour ":" minute [":" second]`; a leap second is the next minute's first.
fn clock(word: &str) -> Option<i64> {
    let mut numbers = word
        .split(':')
        .map(|number| number.split('.').next().unwrap_or(number).parse::<i64>());
    let hour = numbers.next()?.ok().filter(|hour| (0..24).contains(hour))?;
    let minute = numbers.next()?.ok().filter(|minute| (0..60).contains(minute))?;
    let second = match numbers.next() {
        Some(second) => second.ok().filter(|second| (0..=60).contains(second))?,
        None => 0,
    };
    Some(hour * 3600 + minute * 60 + second)
}

fn full_year(word: &str) -> Option<i64> {
    let year: i64 = word.get(..word.len().min(6))?.parse().ok()?;
    Some(match word.len() {
        1 | 2 if year < 50 => year + 2000,
        1..=3 => year + 1900,
        _ => year,
    })
}

fn offset(digits: &str) -> Option<i32> {
    let number: i32 = digits.get(..4).unwrap_or(digits).parse().ok()?;
    let minutes = number / 100 * 60 + number % 100;
    (0..=24 * 60).contains(&minutes).then_some(minutes)
}

fn month_named(word: &str) -> Option<u32> {
    let start = word.get(..3)?;
    (1..)
        .zip(MONTHS)
        .find(|(_, name)| name.eq_ignore_ascii_case(start))
        .map(|(number, _)| number)
}

/// `obs-zone`: the military ones were so often wrong that they all mean "unknown", that is +0000.
fn named_zone(word: &str) -> Option<i32> {
    let hours = match word.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        "BST" | "CET" | "MET" => 1,
        "CEST" | "MEST" | "EET" => 2,
        "EEST" | "MSK" => 3,
        "JST" | "KST" => 9,
        _ => 0,
    };
    Some(hours * 60)
}

fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let outside = |c: &char| {
        match c {
            '(' => depth += 1,
            ')' => {
                depth = depth.saturating_sub(1);
                return false;
            }
            _ => {}
        }
        depth == 0
    };
    text.chars().filter(outside).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Option<(i64, i32)> {
        parse(text).map(|date| (date.seconds, date.zone))
    }

    #[test]
    fn dates_of_the_standard() {
        // RFC 5322 §A.1.1, §A.5 (comments and folding), §A.6.2 (obsolete)
        assert_eq!(at("Fri, 21 Nov 1997 09:55:06 -0600"), Some((880_127_706, -360)));
        assert_eq!(
            at("Thu,      13\tFeb 1969 23:32\t-0330 (Newfoundland Time)"),
            Some((-27_723_480, -210))
        );
        assert_eq!(at("21 Nov 97 09:55:06 GMT"), Some((880_106_106, 0)));
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 EST"), Some((784_129_777, -300)));
        assert_eq!(at("1-Jan-2024 00:00:00 +0530"), Some((1_704_047_400, 330)));
        assert_eq!(at("Mon Jan  1 00:00:00 2024"), Some((1_704_067_200, 0)));
        assert_eq!(at("1 Jan 2024 00:00 Z"), Some((1_704_067_200, 0)));
        for bad in [
            "",
            "yesterday",
            "32 Jan 2024 00:00",
            "1 Foo 2024 00:00",
            "1 Jan 2024 25:00",
            "1 Jan 2024",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_day_is_that_of_the_writer() {
        let late = parse("Mon, 1 Jan 2024 23:30:00 -0800").unwrap();
        assert_eq!(late.day(), day_of(2024, 1, 1));
        assert_eq!(late.utc_day(), day_of(2024, 1, 2));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in -2_000_000_000_i64..250_000_000_000, zone in -720..840_i32) {
            let date = DateTime { seconds, zone };
            prop_assert_eq!(parse(&date.rfc5322()), Some(date));
        }

        #[test]
        fn days_and_dates_agree(day in -1_000_000_i64..3_000_000) {
            let (year, month, date) = civil(day);
            prop_assert_eq!(day_of(year, month, date), day);
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
