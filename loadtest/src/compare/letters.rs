//! Messages for closed loops: made by copying, told apart by Message-ID, subject and sender, no two bodies alike.

use std::fmt::Write as _;

/// From fields differ in so many names, as those of a mailbox do.
pub const SENDERS: u64 = 300;
/// Text to cut bodies from, and by how much each is moved against the one before.
const STOCK: usize = 256 * 1024;
const SHIFT: usize = 7 * 66;

/// Makes messages of one size.
#[derive(Debug)]
pub struct Letters {
    stock: Vec<u8>,
    size: usize,
    /// Of this process and row, so that no Message-ID appears twice on a server that keeps its mail.
    tag: u64,
}

impl Letters {
    /// Messages of about `size` bytes (never under 300).
    pub fn new(size: usize) -> Self {
        let mut stock = Vec::with_capacity(STOCK + size);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        while stock.len() < STOCK + size {
            let line: String = (0..16)
                .map(|_| {
                    // xorshift64: quick, and nothing here needs more than variety.
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    WORDS[(state % WORDS.len() as u64) as usize]
                })
                .collect();
            stock.extend_from_slice(&line.as_bytes()[..64]);
            stock.extend_from_slice(b"\r\n");
        }
        let tag = rand::random();
        Self { stock, size, tag }
    }

    /// Appends message `number` to `out`: CRLF line ends, no line begins with a dot, ends with a line end.
    pub fn write(&self, number: u64, to: &str, out: &mut Vec<u8>) {
        let sender = number % SENDERS;
        self.write_from(number, &format!("sender{sender}@crepes.fr"), to, out);
    }

    /// As [`write`](Self::write), from somebody.
    pub fn write_from(&self, number: u64, from: &str, to: &str, out: &mut Vec<u8>) {
        let begin = out.len();
        let mut header = String::with_capacity(320);
        let (day, hour) = (1 + number / 24 % 28, number % 24);
        let _ = write!(
            header,
            "Date: {day} Nov 2026 {hour:02}:00:00 +0000\r\n\
             From: Sender <{from}>\r\nTo: <{to}>\r\n\
             Subject: Condiments, order {number}\r\nMessage-ID: <{number}.{:x}@crepes.fr>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
            self.tag
        );
        out.extend_from_slice(header.as_bytes());
        // Whole lines of 66 bytes, at least one.
        let lines = (self.size.saturating_sub(out.len() - begin) / 66).max(1);
        let at = (number as usize).wrapping_mul(SHIFT) % (STOCK / 66 * 66);
        let at = at / 66 * 66;
        let length = (lines * 66).min(self.stock.len() - at);
        out.extend_from_slice(&self.stock[at..at + length]);
    }
}

/// Four letters or more each, so that sixteen fill a line of 64.
const WORDS: [&str; 16] = [
    "pickle ",
    "mustard ",
    "ketchup ",
    "relish ",
    "onion ",
    "lettuce ",
    "cheese ",
    "bacon ",
    "sesame ",
    "bun ok ",
    "grill ",
    "charcoal ",
    "napkin ",
    "tray to ",
    "order ",
    "table ",
];

#[cfg(test)]
mod tests {
    use super::Letters;

    #[test]
    fn of_the_size_asked_for_and_all_different() {
        for size in [1024, 4096, 75 << 10] {
            let letters = Letters::new(size);
            let made: std::collections::BTreeSet<Vec<u8>> = (0..1000)
                .map(|number| {
                    let mut out = Vec::new();
                    letters.write(number, "bob@hamburger.edu", &mut out);
                    assert!(
                        out.len() <= size && out.len() + 66 > size,
                        "{} of {size}",
                        out.len()
                    );
                    assert!(out.ends_with(b"\r\n") && !out.windows(3).any(|bytes| bytes == b"\r\n."));
                    out
                })
                .collect();
            assert_eq!(made.len(), 1000);
        }
    }
}
