//! Amounts as people read them: three significant digits and a unit.

/// A whole number with a comma every three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration given in microseconds: `850 µs`, `12.3 ms`, `1.20 s`.
pub fn micros(micros: f64) -> String {
    match micros {
        us if us < 999.5 => format!("{} µs", three_digits(us)),
        us if us < 999_500.0 => format!("{} ms", three_digits(us / 1e3)),
        us => format!("{} s", three_digits(us / 1e6)),
    }
}

/// A duration of a run in seconds: `45 s`, `2 min`, `10 min 30 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let two = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {smaller}"),
    };
    match whole {
        0 => format!("{} s", three_digits(seconds.max(0.0))),
        1..60 => format!("{whole} s"),
        60..3_600 => two(whole / 60, "min", whole % 60, "s"),
        _ => two(whole / 3_600, "h", whole % 3_600 / 60, "min"),
    }
}

/// A moment of a run: `0:42`, `12:05`, `1:02:03`.
pub fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Bytes in binary units: `512 B`, `1.50 MiB`.
pub fn bytes(bytes: f64) -> String {
    let mut scaled = bytes;
    let mut units = ["B", "KiB", "MiB", "GiB"].iter();
    let mut unit = units.next().copied().unwrap_or("B");
    for larger in units {
        if scaled < 999.5 {
            break;
        }
        scaled /= 1024.0;
        unit = larger;
    }
    format!("{} {unit}", three_digits(scaled))
}

/// Any other number with three significant digits: `0.250`, `12.3`, `48,200`.
pub fn number(number: f64) -> String {
    if number < 0.0 {
        return format!("-{}", three_digits(-number));
    }
    three_digits(number)
}

/// A share as per cent: `0 %`, `0.013 %`, `100 %`.
pub fn share(share: f64) -> String {
    format!("{} %", three_digits(share * 100.0))
}

fn three_digits(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        n if !n.is_finite() => "–".to_owned(),
        n if n < 0.000_095 => format!("{n:.1e}"),
        n if n < 0.0095 => trimmed(format!("{n:.5}")),
        n if n < 0.9995 => trimmed(format!("{n:.3}")),
        n if n < 9.995 => trimmed(format!("{n:.2}")),
        n if n < 99.95 => trimmed(format!("{n:.1}")),
        n => count(n.round() as u64),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(micros(850.0), "850 µs");
        assert_eq!(micros(999.7), "1 ms");
        assert_eq!(micros(12_345.0), "12.3 ms");
        assert_eq!(micros(61_000_000.0), "61 s");
        assert_eq!(duration(630.0), "10 min 30 s");
        assert_eq!(duration(7_500.0), "2 h 5 min");
        assert_eq!(clock(3_723.4), "1:02:03");
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(1_572_864.0), "1.5 MiB");
        assert_eq!(number(-0.25), "-0.25");
        assert_eq!(share(0.00013), "0.013 %");
        assert_eq!(number(f64::NAN), "–");
    }
}
