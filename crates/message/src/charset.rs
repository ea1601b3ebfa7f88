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
    if name.is_empty()
        || ["us-ascii", "ascii", "unknown-8bit", "x-unknown"]
            .iter()
            .any(|it| name.eq_ignore_ascii_case(it))
    {
        return None;
    }
    Encoding::for_label_no_replacement(name.as_bytes())
}

/// A streaming decoder of one text.
#[derive(Debug)]
pub struct Decoder {
    /// The charset, or `None` while it has to be guessed from the first character outside ASCII.
    decoder: Option<encoding_rs::Decoder>,
    /// The beginning of that character.
    held: Vec<u8>,
}

impl Decoder {
    /// For the named charset. For an unknown one, the first character outside ASCII tells UTF-8 from windows-1252.
    pub fn new(name: &str) -> Self {
        Self {
            decoder: lookup(name).map(Encoding::new_decoder_without_bom_handling),
            held: Vec::new(),
        }
    }

    /// Decodes a piece to the end of `out`.
    pub fn push(&mut self, octets: &[u8], out: &mut String) {
        self.run(octets, out, false);
    }

    /// Whatever an unfinished last character is worth.
    pub fn finish(mut self, out: &mut String) {
        self.run(b"", out, true);
    }

    fn run(&mut self, octets: &[u8], out: &mut String, last: bool) {
        if let Some(decoder) = &mut self.decoder {
            return run(decoder, octets, out, last);
        }
        let mut rest = octets;
        if self.held.is_empty() {
            let ascii = octets
                .iter()
                .position(|octet| !octet.is_ascii())
                .unwrap_or(octets.len());
            let (head, tail) = octets.split_at(ascii);
            out.push_str(std::str::from_utf8(head).unwrap_or_default());
            rest = tail;
        }
        let (first, rest) = rest.split_at(rest.len().min(4 - self.held.len()));
        self.held.extend_from_slice(first);
        let encoding = match std::str::from_utf8(&self.held) {
            Err(error) if error.valid_up_to() > 0 => UTF_8,
            Err(error) if error.error_len().is_some() || last => WINDOWS_1252,
            Ok(text) if !text.is_empty() => UTF_8,
            _ => return,
        };
        let decoder = self.decoder.insert(encoding.new_decoder_without_bom_handling());
        run(decoder, &std::mem::take(&mut self.held), out, false);
        run(decoder, rest, out, last);
    }
}

fn run(decoder: &mut encoding_rs::Decoder, mut octets: &[u8], out: &mut String, last: bool) {
    loop {
        out.reserve(
            decoder
                .max_utf8_buffer_length(octets.len())
                .unwrap_or(octets.len()),
        );
        let (result, read, _) = decoder.decode_to_string(octets, out, last);
        octets = octets.get(read..).unwrap_or_default();
        if result == CoderResult::InputEmpty {
            return;
        }
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
        let mut decoder = Decoder::new("");
        let mut out = String::new();
        b"caf\xe9\xe9"
            .iter()
            .for_each(|octet| decoder.push(std::slice::from_ref(octet), &mut out));
        decoder.finish(&mut out);
        assert_eq!(out, "caféé");
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
