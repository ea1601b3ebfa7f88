//! Looking at a dialogue while it happens.

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// This half.
    Sent,
    /// The other half.
    Received,
}

/// Hears every line of a session, for `--show-dialogue` and the queue's trace. Credentials are replaced by `****`.
pub trait Observer: Send {
    /// A command or reply line, without its CRLF.
    fn line(&mut self, direction: Direction, line: &[u8]);

    /// Message content as it passes, before dot-stuffing or after unstuffing. Pieces end anywhere.
    fn content(&mut self, direction: Direction, piece: &[u8]) {
        let _ = (direction, piece);
    }
}

/// Shows the lines of encoded text to an observer.
pub(crate) fn show(observer: &mut Option<Box<dyn Observer>>, direction: Direction, lines: &[u8]) {
    let Some(observer) = observer else { return };
    for line in lines.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            observer.line(direction, line);
        }
    }
}
