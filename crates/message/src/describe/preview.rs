//! The first words of a message, for a list of messages.

use crate::description::{MAX_PREVIEW, Part};
use crate::text::PartText;

/// Most raw octets looked at for a preview: of text as it is, of encoded text, and of HTML, whose head may be long.
const MAX_PLAIN: usize = 1024;
const MAX_ENCODED: usize = 3 * 1024;
const MAX_HTML: usize = 16 * 1024;
/// Text parts tried before a message is taken to say nothing.
const MAX_TRIES: u32 = 8;

/// Collects the beginning of text parts until one has text.
#[derive(Debug, Default)]
pub(super) struct Preview {
    part: Option<PartText>,
    room: usize,
    tries: u32,
    decoded: String,
    text: String,
}

impl Preview {
    /// The body of a text part begins.
    pub fn begin(&mut self, part: &Part) {
        let attached = part
            .disposition
            .as_ref()
            .is_some_and(|it| it.kind == "attachment");
        if self.text.is_empty() && self.tries < MAX_TRIES && !attached {
            self.tries += 1;
            self.room = match (part.subtype.as_str(), part.encoding.as_str()) {
                ("html", _) => MAX_HTML,
                (_, "base64" | "quoted-printable") => MAX_ENCODED,
                _ => MAX_PLAIN,
            };
            self.part = PartText::new(part);
        }
    }

    /// Content of the part that was begun last, if any of it is wanted.
    #[inline]
    pub fn push(&mut self, content: &[u8]) {
        if self.part.is_some() {
            self.collect(content);
        }
    }

    fn collect(&mut self, content: &[u8]) {
        let Some(part) = &mut self.part else { return };
        let wanted = content.get(..self.room).unwrap_or(content);
        part.push(wanted, &mut self.decoded);
        self.room -= wanted.len();
        if self.room == 0 {
            self.end();
        }
    }

    /// The part ends.
    pub fn end(&mut self) {
        if let Some(part) = self.part.take() {
            part.finish(&mut self.decoded);
            self.text = one_line(&self.decoded);
            self.decoded = String::new();
        }
    }

    /// What was found.
    pub fn finish(mut self) -> String {
        self.end();
        self.text
    }
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_PREVIEW));
    let mut room = MAX_PREVIEW;
    for word in text
        .split(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}')
        .filter(|word| !word.is_empty())
    {
        if !line.is_empty() {
            if room < 2 {
                break;
            }
            line.push(' ');
            room -= 1;
        }
        for c in word.chars().take(room) {
            line.push(c);
            room -= 1;
        }
        if room == 0 {
            break;
        }
    }
    line
}
