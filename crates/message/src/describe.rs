//! The structure scanner: a message goes in, in pieces of any size, its description comes out.
//!
//! It works by lines and keeps only the header block of the part it is in, the open levels, and the description so far,
//! all of them bounded, so memory does not grow with the message. The result does not depend on how the message was cut into pieces.
//!
//! Reading is tolerant, since what cannot be understood still has to be stored and shown:
//! * lines end with LF, with or without CR;
//! * a header ends with an empty line, at a line that can be neither field nor continuation, at a delimiter, or at the end;
//! * a delimiter line is `--boundary` or `--boundary--` and white space, nothing else, so boundaries that begin alike are told
//!   apart; inner levels are asked first; an outer delimiter ends inner levels that were not closed;
//! * a multipart without usable boundary, and a message that is transfer-encoded, are leaves.

mod fields;
mod preview;

use memchr::{memchr, memchr_iter};

use crate::description::{Description, Facts, MAX_DEPTH, MAX_PARTS, Part};
use crate::header::{self, Line};
use crate::transfer::Encoding;
use preview::Preview;

/// Most of one part's header that is remembered; what is behind it is stepped over.
const MAX_HEADER: usize = 256 * 1024;
/// Most of all headers together; parts behind it have their offsets only.
const MAX_HEADERS: usize = 512 * 1024;
/// Longest boundary: RFC 2046 §5.1.1 allows 70, agents write more.
const MAX_BOUNDARY: usize = 250;
/// Longest delimiter line, white space behind it included.
const MAX_DELIMITER: usize = 600;
/// Longest line of a message without its line end (RFC 5322 §2.1.1).
const MAX_LINE: u64 = 998;

/// Describes a whole message.
pub fn describe(message: &[u8]) -> Description {
    let mut describer = Describer::new();
    describer.push(message);
    describer.finish()
}

/// The scanner. See the module's documentation for how it reads.
#[derive(Debug)]
pub struct Describer {
    mode: Mode,
    /// Open levels, the root first; never empty before `finish`.
    stack: Vec<Level>,
    /// How many of them have an open boundary.
    boundaries: usize,
    parts: usize,
    lines: Lines,
    /// The beginning of a line that cannot be judged before more of it has come.
    held: Vec<u8>,
    /// No more will come: `held` is a whole line.
    last: bool,
    /// What is remembered of the header being read, and what still may be of all.
    block: Vec<u8>,
    block_room: usize,
    facts: Facts,
    top: fields::Top,
    preview: Preview,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Header {
        /// A field has begun.
        has_field: bool,
        /// At the first line.
        first: bool,
        /// Inside a line that is judged already.
        inside: bool,
    },
    Body,
}

const HEADER: Mode = Mode::Header {
    has_field: false,
    first: true,
    inside: false,
};

/// Where lines are, up to what has been taken.
#[derive(Debug, Default)]
struct Lines {
    /// Bytes taken.
    offset: u64,
    /// Line ends taken.
    count: u64,
    /// Bytes of the line that has begun.
    column: u64,
    /// The last byte taken is CR.
    after_cr: bool,
    /// Bytes of the last line end: 0 before the first, then 1 or 2.
    last_end: u64,
    /// The last whole line was empty.
    last_empty: bool,
}

/// A part being read.
#[derive(Debug)]
struct Level {
    part: Part,
    /// The boundary of a multipart until its closing delimiter.
    boundary: Option<Vec<u8>>,
    /// `multipart/digest`: parts are messages by default (RFC 2046 §5.1.5).
    digest: bool,
    /// The root part of the message or of an embedded one.
    is_message: bool,
    /// Lines before its body.
    lines_before: u64,
}

impl Default for Describer {
    fn default() -> Self {
        Self::new()
    }
}

impl Describer {
    /// At the start of a message.
    pub fn new() -> Self {
        Self {
            mode: HEADER,
            stack: vec![Level::new(0, true)],
            boundaries: 0,
            parts: 1,
            lines: Lines::default(),
            held: Vec::new(),
            last: false,
            block: Vec::new(),
            block_room: MAX_HEADERS,
            facts: Facts::default(),
            top: fields::Top::default(),
            preview: Preview::default(),
        }
    }

    /// Takes the next piece of the message.
    pub fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let taken = match self.mode {
                Mode::Header { inside: true, .. } => self.rest_of_field(piece),
                Mode::Header { has_field, first, .. } => self.header_line(piece, has_field, first),
                Mode::Body if self.at_possible_delimiter(piece) => self.possible_delimiter(piece),
                Mode::Body => self.content(piece),
            };
            piece = piece.get(taken..).unwrap_or_default();
        }
    }

    /// The message ends here.
    pub fn finish(mut self) -> Description {
        self.last = true;
        let held = std::mem::take(&mut self.held);
        self.push(&held);
        self.end_headers();
        let end = self.lines.offset;
        let unterminated = u64::from(self.lines.column > 0);
        while self.stack.len() > 1 {
            self.end_part(end, self.lines.count + unterminated);
        }
        let structure = self
            .stack
            .pop()
            .map(|root| self.ended(root, end, self.lines.count + unterminated));
        self.facts.lines = self.lines.count + unterminated;
        Description {
            size: end,
            envelope: self.top.envelope,
            structure: structure.unwrap_or_default(),
            preview: self.preview.finish(),
            message_id: self.top.message_id,
            references: self.top.references,
            facts: self.facts,
        }
    }

    // Header

    fn header_line(&mut self, piece: &[u8], has_field: bool, first: bool) -> usize {
        let Some((joined, complete, taken)) = gather(&mut self.held, piece, header::MAX_NAME, self.last)
        else {
            return piece.len();
        };
        let line = joined.as_deref().unwrap_or(&piece[..taken]);
        if complete && let Some(delimiter) = self.delimiter(line) {
            self.end_headers();
            self.at_delimiter(delimiter, line);
            return taken;
        }
        match header::classify(line, has_field, first) {
            Line::Empty => {
                self.take_header(line);
                self.end_header();
            }
            Line::Other => {
                self.end_header();
                // Now it is read again, as content.
                match &joined {
                    Some(line) => self.push(line),
                    None => return 0,
                }
            }
            kind => {
                self.take_header(line);
                let has_field = has_field || kind == Line::Field;
                self.mode = Mode::Header {
                    has_field,
                    first: false,
                    inside: !line.ends_with(b"\n"),
                };
            }
        }
        taken
    }

    fn rest_of_field(&mut self, piece: &[u8]) -> usize {
        let taken = memchr(b'\n', piece).map_or(piece.len(), |newline| newline + 1);
        let run = &piece[..taken];
        self.take_header(run);
        if run.ends_with(b"\n")
            && let Mode::Header { inside, .. } = &mut self.mode
        {
            *inside = false;
        }
        taken
    }

    /// Takes a run within one line of a header.
    fn take_header(&mut self, run: &[u8]) {
        let room = self.block_room.min(MAX_HEADER - self.block.len());
        let kept = run.get(..room).unwrap_or(run);
        self.facts.cut |= kept.len() < run.len();
        self.block.extend_from_slice(kept);
        self.block_room -= kept.len();
        self.facts.nul |= memchr(0, run).is_some();
        let long = self.lines.take(run, false).long;
        self.facts.long_lines |= long;
        if let Some(level) = self.stack.last_mut() {
            level.part.long_header_lines |= long;
            if !run.is_ascii() {
                level.part.eight_bit_header = true;
                self.facts.eight_bit_header = true;
            }
        }
    }

    /// The header of the innermost part ends at what has been taken; decides what its body is.
    fn end_header(&mut self) {
        self.mode = Mode::Body;
        let block = std::mem::take(&mut self.block);
        let in_digest = self
            .stack
            .iter()
            .rev()
            .nth(1)
            .is_some_and(|parent| parent.digest && parent.boundary.is_some());
        let depth = self.stack.len();
        let Some(level) = self.stack.last_mut() else {
            return;
        };
        level.part.body_start = self.lines.offset;
        level.lines_before = self.lines.count;
        fields::read_part(&block, in_digest && !level.is_message, &mut level.part);
        if depth == 1 {
            self.top.read(&block);
            self.facts.received = self.top.received;
        } else if level.is_message
            && let Some(parent) = self.stack.iter_mut().rev().nth(1)
        {
            parent.part.envelope = Some(Box::new(self.top.read_embedded(&block)));
        }
        self.reuse(block);
        self.begin_body(depth);
    }

    /// Ends the header, and where an embedded message should begin here, its empty header too.
    fn end_headers(&mut self) {
        while self.mode != Mode::Body {
            self.end_header();
        }
    }

    fn begin_body(&mut self, depth: usize) {
        let Some(level) = self.stack.last_mut() else {
            return;
        };
        let part = &level.part;
        let boundary = match part.media_type.as_str() {
            "multipart" => part
                .param("boundary")
                .map(|text| text.trim_end().as_bytes().to_vec()),
            _ => None,
        };
        if let Some(boundary) = boundary.filter(|it| (1..=MAX_BOUNDARY).contains(&it.len())) {
            if depth < MAX_DEPTH {
                level.digest = part.subtype == "digest";
                level.boundary = Some(boundary);
                self.boundaries += 1;
            } else {
                self.facts.cut = true;
            }
        } else if part.media_type == "message" && matches!(part.subtype.as_str(), "rfc822" | "global") {
            if Encoding::from_name(&part.encoding) != Some(Encoding::Identity) {
                return;
            }
            if depth < MAX_DEPTH && self.parts + 1 < MAX_PARTS {
                self.begin_part(true);
            } else {
                self.facts.cut = true;
            }
        } else if part.media_type == "text" {
            self.preview.begin(part);
        }
    }

    /// A part begins at what has been taken.
    fn begin_part(&mut self, is_message: bool) {
        self.parts += 1;
        self.stack.push(Level::new(self.lines.offset, is_message));
        self.mode = HEADER;
    }

    /// The block's room is used again, unless an unusual header made it large.
    fn reuse(&mut self, mut block: Vec<u8>) {
        if block.capacity() <= 16 * 1024 {
            block.clear();
            self.block = block;
        }
    }

    // Body

    fn at_possible_delimiter(&self, piece: &[u8]) -> bool {
        self.boundaries > 0
            && self.lines.column == 0
            && (!self.held.is_empty() || piece.first() == Some(&b'-'))
    }

    fn possible_delimiter(&mut self, piece: &[u8]) -> usize {
        let Some((line, complete, taken)) = gather(&mut self.held, piece, MAX_DELIMITER, self.last) else {
            return piece.len();
        };
        let line = line.as_deref().unwrap_or(&piece[..taken]);
        if let Some(delimiter) = self.delimiter(line).filter(|_| complete) {
            self.at_delimiter(delimiter, line);
        } else {
            self.content(line);
        }
        taken
    }

    /// Takes content up to the next line that may be a delimiter. The first line has been judged, or there is nothing to judge.
    fn content(&mut self, piece: &[u8]) -> usize {
        let run = self.lines.take(piece, self.boundaries > 0);
        let taken = &piece[..run.taken];
        self.facts.long_lines |= run.long;
        let nul = memchr(0, taken).is_some();
        self.facts.nul |= nul;
        let high = if taken.is_ascii() {
            0
        } else {
            taken.iter().filter(|byte| !byte.is_ascii()).count()
        };
        self.facts.eight_bit_body |= high > 0;
        if let Some(level) = self.stack.last_mut() {
            level.part.unsafe_lines |= nul || run.long;
            level.part.high_octets += high as u64;
        }
        self.preview.push(taken);
        run.taken
    }

    /// Which level's delimiter the line is.
    fn delimiter(&self, line: &[u8]) -> Option<Delimiter> {
        if self.boundaries == 0 {
            return None;
        }
        let rest = line.trim_ascii_end().strip_prefix(b"--")?;
        self.stack.iter().enumerate().rev().find_map(|(level, it)| {
            let behind = rest.strip_prefix(it.boundary.as_deref()?)?;
            (behind.is_empty() || behind == b"--").then_some(Delimiter {
                level,
                closes: !behind.is_empty(),
            })
        })
    }

    fn at_delimiter(&mut self, delimiter: Delimiter, line: &[u8]) {
        let end = self.lines.offset - self.lines.last_end;
        let count = self.lines.count - u64::from(self.lines.last_empty);
        while self.stack.len() > delimiter.level + 1 {
            self.end_part(end, count);
        }
        self.lines.take(line, false);
        self.mode = Mode::Body;
        if delimiter.closes {
            if let Some(level) = self.stack.last_mut() {
                level.boundary = None;
                self.boundaries -= 1;
            }
        } else if self.parts + 1 < MAX_PARTS {
            self.begin_part(false);
        } else {
            self.begin_opaque();
        }
    }

    /// Everything from here to the end is one part that is not looked into.
    fn begin_opaque(&mut self) {
        self.facts.cut = true;
        self.parts += 1;
        self.boundaries = 0;
        self.stack.iter_mut().for_each(|level| level.boundary = None);
        let mut level = Level::new(self.lines.offset, false);
        level.part.body_start = self.lines.offset;
        level.lines_before = self.lines.count;
        level.part.media_type = "application".into();
        level.part.subtype = "octet-stream".into();
        level.part.encoding = "binary".into();
        self.stack.push(level);
    }

    /// The innermost part, which is not the root, ends at `end`; `count` lines end before that.
    fn end_part(&mut self, end: u64, count: u64) {
        let Some(level) = self.stack.pop() else { return };
        if level.boundary.is_some() {
            self.boundaries -= 1;
        }
        let part = self.ended(level, end, count);
        if let Some(parent) = self.stack.last_mut() {
            parent.part.children.push(part);
        }
    }

    fn ended(&mut self, level: Level, end: u64, count: u64) -> Part {
        let mut part = level.part;
        self.preview.end();
        // The line end before a delimiter may belong to the part's own header, or to a child's.
        let least = part
            .children
            .last()
            .map_or(part.body_start, |child| child.body_end);
        part.body_end = end.max(least);
        let count = if part.body_end > end {
            self.lines.count
        } else {
            count
        };
        part.lines = if part.size() == 0 {
            0
        } else {
            count.saturating_sub(level.lines_before)
        };
        part
    }
}

impl Level {
    fn new(start: u64, is_message: bool) -> Self {
        let part = Part {
            header_start: start,
            ..Part::default()
        };
        Self {
            part,
            boundary: None,
            digest: false,
            is_message,
            lines_before: 0,
        }
    }
}

impl Lines {
    /// Takes a run; when watching, only up to a line that begins with `-`, its first line apart.
    #[inline]
    fn take(&mut self, run: &[u8], watching: bool) -> Taken {
        let mut taken = run.len();
        let mut long = false;
        let mut begin = 0;
        let mut last = None;
        let mut column = self.column;
        for newline in memchr_iter(b'\n', run) {
            let length = column + (newline - begin) as u64;
            if length > MAX_LINE {
                let cr = newline > 0 && run[newline - 1] == b'\r' || newline == 0 && self.after_cr;
                long |= length - u64::from(cr) > MAX_LINE;
            }
            last = Some((newline, length));
            self.count += 1;
            column = 0;
            begin = newline + 1;
            if watching && run.get(begin) == Some(&b'-') {
                taken = begin;
                break;
            }
        }
        if let Some((newline, length)) = last {
            let cr = if newline > 0 {
                run[newline - 1] == b'\r'
            } else {
                self.after_cr
            };
            self.last_end = 1 + u64::from(cr);
            self.last_empty = length == u64::from(cr);
        }
        self.column = column + (taken - begin) as u64;
        self.after_cr = run.get(..taken).and_then(<[u8]>::last) == Some(&b'\r');
        self.offset += taken as u64;
        // A line that has not ended is long before its line end can make it shorter.
        long |= self.column > MAX_LINE + 1;
        Taken { taken, long }
    }
}

struct Taken {
    taken: usize,
    long: bool,
}

struct Delimiter {
    level: usize,
    closes: bool,
}

/// Brings together the line at the start of `piece`, up to its line end or `limit` bytes. `None`: it is not whole, all of the piece
/// is held. Else the line (where it is not simply the beginning of `piece`), whether it has ended, and how much of
/// `piece` it took.
fn gather(
    held: &mut Vec<u8>,
    piece: &[u8],
    limit: usize,
    last: bool,
) -> Option<(Option<Vec<u8>>, bool, usize)> {
    let near = &piece[..piece.len().min(limit - held.len())];
    let newline = memchr(b'\n', near);
    let taken = newline.map_or(near.len(), |newline| newline + 1);
    let complete = newline.is_some() || (last && taken == piece.len());
    let full = held.len() + taken == limit;
    if held.is_empty() && (complete || full) {
        return Some((None, complete, taken));
    }
    held.extend_from_slice(&piece[..taken]);
    (complete || full).then(|| (Some(std::mem::take(held)), complete, taken))
}

#[cfg(test)]
mod tests;
