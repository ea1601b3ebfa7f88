//! The answer to EHLO, changed: the protocol's server half offers everything it can.

use bytes::BytesMut;
use postrider_smtp::Reply;

use super::rules::Extension;

/// Takes extensions out of the answer that is the last in `output`.
pub(super) fn leave_out(output: &mut BytesMut, without: &[Extension]) {
    if without.is_empty() {
        return;
    }
    let reply = output.split_off(start_of_last(output));
    let is_kept = |line: &&[u8]| {
        let keyword = line.get(4..).unwrap_or_default();
        let keyword = keyword.split(|octet| matches!(octet, b' ' | b'\r')).next();
        !without
            .iter()
            .any(|extension| Some(extension.keyword().as_bytes()) == keyword)
    };
    let mut lines = reply
        .split_inclusive(|octet| *octet == b'\n')
        .filter(is_kept)
        .peekable();
    while let Some(line) = lines.next() {
        let separator = if lines.peek().is_some() { b"-" } else { b" " };
        output.extend_from_slice(line.get(..3).unwrap_or_default());
        output.extend_from_slice(separator);
        output.extend_from_slice(line.get(4..).unwrap_or_default());
    }
}

/// Says something else than the answer that is the last in `output`.
pub(super) fn replace(output: &mut BytesMut, reply: &Reply) {
    output.truncate(start_of_last(output));
    reply.encode(false, output);
}

/// Where the last reply begins: at the first of the lines at the end that are continued.
fn start_of_last(output: &[u8]) -> usize {
    let mut start = output.len();
    for (index, line) in output.split_inclusive(|octet| *octet == b'\n').rev().enumerate() {
        if index > 0 && line.get(3) != Some(&b'-') {
            break;
        }
        start -= line.len();
    }
    start
}

impl Extension {
    /// As EHLO says it.
    fn keyword(self) -> &'static str {
        match self {
            Self::EightBitMime => "8BITMIME",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::Pipelining => "PIPELINING",
            Self::Chunking => "CHUNKING",
            Self::BinaryMime => "BINARYMIME",
            Self::Size => "SIZE",
            Self::Dsn => "DSN",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Limits => "LIMITS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_go_and_the_reply_stays_whole() {
        let before = "250 2.0.0 reset\r\n";
        let hello = "250-mx Hello\r\n250-SIZE 100\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";
        let mut output = BytesMut::from(format!("{before}{hello}").as_bytes());
        leave_out(&mut output, &[Extension::SmtpUtf8, Extension::Size]);
        assert_eq!(
            output,
            format!("{before}250-mx Hello\r\n250 8BITMIME\r\n").as_bytes()
        );
        replace(&mut output, &Reply::plain(451, "a\nb"));
        assert_eq!(output, format!("{before}451-a\r\n451 b\r\n").as_bytes());
        let mut helo = BytesMut::from("250 mx Hello\r\n");
        leave_out(&mut helo, &[Extension::Size]);
        assert_eq!(&helo[..], b"250 mx Hello\r\n");
    }
}
