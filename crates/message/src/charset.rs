//! Charsets to UTF-8, by the tables of the WHATWG Encoding Standard: names are looked up without regard to case, octets
//! that mean nothing become U+FFFD, an unknown charset is read as UTF-8 if it is, else as windows-1252.

use encoding_rs::{CoderResult, Encoding, UTF_8, WINDOWS_1252};

/// Text of a header as it stands: UTF-8, or else windows-1252; without NUL.
pub fn header_text(octets: &[u8]) -> String {
    let mut text = match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
    };
    if text.contains('\0') {
        text.retain(|c| c != '\0');
    }
    text
}

/// All octets of a text in the named charset.
pub fn decode(name: &str, octets: &[u8]) -> String {
    match lookup(name) {
        Some(encoding) => encoding.decode_without_bom_handling(octets).0.into_owned(),
        None => header_text(octets),
    }
}

fn lookup(name: &str) -> Option<&'static Encoding> {
    let name = name.trim();
    // US-ASCII and UTF-8 are said of text in any charset; what the octets look like decides.
    if name.is_empty() || ["us-ascii", "ascii", "unknown-8bit", "x-unknown"].iter().any(|it| name.eq_ignore_ascii_case(it)) {
        return None;
    }
    Encoding::for_label_no_replacement(name.as_bytes())
}

/// A streaming decoder of one text.
#[derive(Debug)]
pub struct Decoder {
    /// The charset, or `None` while it still has to be guessed from the first octets above 127.
    decoder: Option<encoding_rs::Decoder>,
}

impl Decoder {
    /// For the named charset. An unknown one is guessed from the first piece that has octets above 127.
    pub fn new(name: &str) -> Self {
        Self { decoder: lookup(name).map(Encoding::new_decoder_without_bom_handling) }
    }

    /// Decodes a piece to the end of `out`.
    pub fn push(&mut self, octets: &[u8], out: &mut String) {
        self.run(octets, out, false);
    }

    /// Whatever an unfinished last character is worth.
    pub fn finish(mut self, out: &mut String) {
        self.run(b"", out, true);
    }

    fn run(&mut self, mut octets: &[u8], out: &mut String, last: bool) {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => {
                if let (true, Ok(text)) = (octets.is_ascii(), std::str::from_utf8(octets)) {
                    out.push_str(text);
                    return;
                }
                self.decoder.insert(guess(octets).new_decoder_without_bom_handling())
            }
        };
        loop {
            let room = decoder.max_utf8_buffer_length(octets.len()).unwrap_or(octets.len());
            out.reserve(room);
            let (result, read, _) = decoder.decode_to_string(octets, out, last);
            octets = octets.get(read..).unwrap_or_default();
            if result == CoderResult::InputEmpty {
                return;
            }
        }
    }
}

/// UTF-8 where the piece could be the beginning of such text.
fn guess(octets: &[u8]) -> &'static Encoding {
    match std::str::from_utf8(octets) {
        Err(error) if error.error_len().is_some() => WINDOWS_1252,
        _ => UTF_8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_charsets() {
        assert_eq!(decode("ISO-8859-1", b"caf\xe9"), "café");
        assert_eq!(decode("utf-8", "π".as_bytes()), "π");
        assert_eq!(decode("iso-2022-jp", b"\x1b$B4A;z\x1b(B"), "漢字");
        assert_eq!(decode("gb2312", b"\xc4\xe3\xba\xc3"), "你好");
        assert_eq!(decode("no-such-charset", b"caf\xe9"), "café");
        assert_eq!(decode("us-ascii", "π".as_bytes()), "π");
    }

    #[test]
    fn a_character_may_be_cut_anywhere() {
        for name in ["utf-8", "us-ascii"] {
            let mut decoder = Decoder::new(name);
            let mut out = String::new();
            for octet in "aπ漢b".as_bytes() {
                decoder.push(std::slice::from_ref(octet), &mut out);
            }
            decoder.finish(&mut out);
            assert_eq!(out, "aπ漢b");
        }
    }
}
