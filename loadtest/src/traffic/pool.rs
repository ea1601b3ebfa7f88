//! A few megabytes of body lines, made once, from which every body is cut: making a message is copying.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};

use super::dice::Dice;
use super::words;

/// The length a written line aims at, in octets.
const WIDTH: usize = 72;

/// Octets that one line of base64 holds: 76 characters.
const BASE64_LINE: usize = 57;

/// Lines of one kind, each with its CRLF, 78 octets at most (RFC 5322 §2.1.1).
#[derive(Debug)]
pub struct Pool {
    octets: Vec<u8>,
    /// Whether a line may be cut anywhere.
    is_ascii_text: bool,
}

/// English, in ASCII.
pub static ENGLISH: LazyLock<Pool> = LazyLock::new(|| {
    let lines = written(1 << 20, &words::ENGLISH, |word, line| {
        line.extend_from_slice(word.as_bytes())
    });
    Pool {
        octets: lines,
        is_ascii_text: true,
    }
});

/// French and German: UTF-8 as quoted-printable.
pub static EUROPEAN: LazyLock<Pool> =
    LazyLock::new(|| Pool::of(written(256 << 10, &words::EUROPEAN, quoted_printable)));

/// Russian and Japanese: UTF-8 as it is, in 8 bits.
pub static EIGHT_BIT: LazyLock<Pool> = LazyLock::new(|| {
    Pool::of(written(128 << 10, &words::EIGHT_BIT, |word, line| {
        line.extend_from_slice(word.as_bytes());
    }))
});

/// Japanese in ISO-2022-JP; every line begins and ends in ASCII (RFC 1468).
pub static JAPANESE: LazyLock<Pool> = LazyLock::new(|| {
    let mut dice = Dice::new(4, 0, 0);
    let mut octets = Vec::with_capacity(64 << 10);
    while octets.len() < 63 << 10 {
        if let Some(sentence) = dice.one_of(&words::ISO_2022_JP) {
            octets.extend_from_slice(sentence);
        }
        octets.extend_from_slice(b"\r\n");
    }
    Pool::of(octets)
});

/// Russian in KOI8-R as base64.
pub static KOI8_R: LazyLock<Pool> = LazyLock::new(|| {
    let mut dice = Dice::new(5, 0, 0);
    let mut octets = Vec::with_capacity(64 << 10);
    while octets.len() < 63 << 10 {
        if let Some(sentence) = dice.one_of(&words::KOI8_R) {
            octets.extend_from_slice(sentence);
        }
        octets.extend_from_slice(b"\r\n");
    }
    Pool::of(base64_lines(&octets))
});

/// Paragraphs, links and table rows of HTML as quoted-printable.
pub static HTML: LazyLock<Pool> = LazyLock::new(|| {
    let mut dice = Dice::new(6, 0, 0);
    let mut octets = Vec::with_capacity(512 << 10);
    while octets.len() < 511 << 10 {
        let number = dice.below(100_000);
        let word = dice.one_of(&words::ENGLISH).unwrap_or(&"");
        let line = match dice.below(8) {
            0 => format!("<p style=3D\"margin:0 0 1em\">{word} =E2=80=94 {number}</p>\r\n"),
            1 => format!("<a href=3D\"https://news.example/{number}\">{word}</a><br>\r\n"),
            2 => format!("<tr><td>{word}</td><td align=3D\"right\">{number}=C2=A0=E2=82=AC</td></tr>\r\n"),
            _ => format!("{word} and {word} the more {word}, said number {number}.\r\n"),
        };
        octets.extend_from_slice(line.as_bytes());
    }
    Pool::of(octets)
});

/// What cannot be compressed, as base64.
pub static BASE64: LazyLock<Pool> = LazyLock::new(|| {
    let mut dice = Dice::new(7, 0, 0);
    let random: Vec<u8> = (0..192 << 10).flat_map(|_| dice.roll().to_le_bytes()).collect();
    Pool::of(base64_lines(&random))
});

/// Makes all pools, so that no message has to wait for one.
pub fn prepare() {
    for pool in [
        &ENGLISH, &EUROPEAN, &EIGHT_BIT, &JAPANESE, &KOI8_R, &HTML, &BASE64,
    ] {
        LazyLock::force(pool);
    }
}

impl Pool {
    fn of(octets: Vec<u8>) -> Self {
        Self {
            octets,
            is_ascii_text: false,
        }
    }

    /// Appends about `count` octets of whole lines, never more, from a random place on: exactly as many where lines may be
    /// cut, else up to a line fewer. Under 3 octets nothing is appended.
    pub fn fill(&self, dice: &mut Dice, count: usize, out: &mut BytesMut) {
        let end = out.len() + count;
        let start = dice.below(self.octets.len() as u64) as usize;
        let mut rest = self.lines_from(start);
        while out.len() + rest.len() < end {
            out.put_slice(rest);
            rest = &self.octets;
        }
        let left = end - out.len();
        let (fits, _) = rest.split_at_checked(left).unwrap_or_default();
        if self.is_ascii_text && left >= 3 {
            let (text, _) = fits.split_at_checked(left - 2).unwrap_or_default();
            // No half of a line end, and no dot alone on the last line that a reader could take for the end.
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            out.put_slice(text);
            out.put_bytes(b'-', left - 2 - text.len());
            out.put_slice(b"\r\n");
        } else {
            let whole = fits
                .iter()
                .rposition(|octet| *octet == b'\n')
                .map_or(0, |at| at + 1);
            out.put_slice(fits.get(..whole).unwrap_or_default());
        }
    }

    /// From the first line on that begins behind `start`; all of them when there is none.
    fn lines_from(&self, start: usize) -> &[u8] {
        let behind = self.octets.get(start..).unwrap_or_default();
        match behind.iter().position(|octet| *octet == b'\n') {
            Some(at) if at + 1 < behind.len() => behind.get(at + 1..).unwrap_or_default(),
            _ => &self.octets,
        }
    }
}

/// Words in lines and paragraphs; now and then a line that begins as a mailbox file's separator or with a dot.
fn written(size: usize, words: &[&str], encode: impl Fn(&str, &mut Vec<u8>)) -> Vec<u8> {
    let mut dice = Dice::new(3, words.len() as u64, 0);
    let mut octets = Vec::with_capacity(size + 2 * WIDTH);
    let mut line = Vec::new();
    let mut word = Vec::new();
    while octets.len() < size {
        word.clear();
        encode(dice.one_of(words).unwrap_or(&""), &mut word);
        if line.len() + 1 + word.len() > WIDTH {
            octets.extend_from_slice(&line);
            octets.extend_from_slice(b"\r\n");
            line.clear();
            match dice.below(200) {
                0..20 => octets.extend_from_slice(b"\r\n"),
                20 => line.extend_from_slice(b".hidden"),
                21 => line.extend_from_slice(b"From there"),
                _ => {}
            }
        }
        if !line.is_empty() {
            line.push(b' ');
        }
        line.extend_from_slice(&word);
    }
    octets
}

/// RFC 2045 §6.7 for a word: what is not ASCII, and the equals sign.
fn quoted_printable(word: &str, line: &mut Vec<u8>) {
    for octet in word.bytes() {
        if octet.is_ascii() && octet != b'=' {
            line.push(octet);
        } else {
            line.extend_from_slice(format!("={octet:02X}").as_bytes());
        }
    }
}

fn base64_lines(octets: &[u8]) -> Vec<u8> {
    let whole = octets.chunks_exact(BASE64_LINE);
    let mut lines = Vec::with_capacity(whole.len() * 78);
    for chunk in whole {
        lines.extend_from_slice(STANDARD.encode(chunk).as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_lines() {
        let pools: [&Pool; 7] = [
            &ENGLISH, &EUROPEAN, &EIGHT_BIT, &JAPANESE, &KOI8_R, &HTML, &BASE64,
        ];
        let mut dice = Dice::new(1, 1, 1);
        for (which, pool) in pools.into_iter().enumerate() {
            let sizes = (0..200).chain([1000, 5000, 3 << 20]);
            for size in sizes {
                let mut out = BytesMut::from("x");
                pool.fill(&mut dice, size, &mut out);
                let cut = &out[1..];
                assert!(
                    cut.len() <= size && cut.len() + 100 > size,
                    "{which}: {} of {size}",
                    cut.len()
                );
                assert!(cut.is_empty() || cut.ends_with(b"\r\n"));
                assert!(
                    which > 0 || size < 3 || cut.len() == size,
                    "{} of {size}",
                    cut.len()
                );
                for line in cut.split(|octet| *octet == b'\n') {
                    assert!(line.len() <= 79 && (line.is_empty() || line.ends_with(b"\r")));
                    assert!(!line[..line.len().saturating_sub(1)].contains(&b'\r'), "{which}");
                }
            }
        }
    }
}
