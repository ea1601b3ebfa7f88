//! One FETCH response, item by item.

use std::io;
use std::ops::Range;

use bytes::{BufMut, Bytes};
use postrider_imap::command::{FetchItem, Partial, Section, SectionText};
use postrider_imap::response::{FetchLine, Rfc822, Syntax};
use postrider_message::header;
use postrider_proto::{Failure, Kind};
use postrider_runtime::Port;
use postrider_types::{ContentId, ThreadId};

use super::content::{Content, MAX_HEADER, PIECE, clip};
use super::plan::Plan;
use crate::answer::Stop;
use crate::metrics::METRICS;
use crate::rows;

/// A line that was begun.
pub(super) struct Line {
    line: FetchLine,
    /// Where it begins in the output, until some of it has been sent.
    start: Option<usize>,
    /// The message bears `\Recent`.
    recent: bool,
}

/// What a piece of message data is called.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    Section(&'a Section, Option<Partial>),
    Rfc822(Rfc822),
    Binary(&'a [u32], Option<Partial>),
}

impl Name<'_> {
    pub fn partial(&self) -> Option<Partial> {
        match self {
            Name::Section(_, partial) | Name::Binary(_, partial) => *partial,
            Name::Rfc822(_) => None,
        }
    }
}

impl Line {
    pub fn start(port: &mut dyn Port, sequence: u32, syntax: Syntax, recent: bool) -> Self {
        let out = port.output();
        let start = Some(out.len());
        Self {
            recent,
            line: FetchLine::start(out, sequence, syntax),
            start,
        }
    }

    /// Writes the whole line; false when the message turned out to be gone, and nothing was written.
    pub async fn write(
        mut self,
        port: &mut dyn Port,
        plan: &Plan<'_>,
        content: &mut Content<'_>,
        marked: bool,
    ) -> Result<bool, Stop> {
        match self.items(port, plan, content, marked).await {
            Ok(()) => {
                self.line.end(port.output());
                Ok(true)
            }
            Err(Broken::Lost(error)) => Err(error.into()),
            Err(Broken::Failed(failure)) => {
                let Some(start) = self.start else {
                    // A literal was promised that cannot be given.
                    return Err(io::Error::other(failure).into());
                };
                port.output().truncate(start);
                match failure.kind {
                    Kind::NotFound => Ok(false),
                    _ => Err(failure.into()),
                }
            }
        }
    }

    /// Writes the whole line of a FETCH that asks for no message data.
    pub fn write_facts(mut self, port: &mut dyn Port, plan: &Plan<'_>, content: &Content<'_>) {
        if plan.uid {
            self.line.uid(port.output(), content.row.uid);
        }
        for item in plan.items {
            self.fact(port, content, item);
        }
        if plan.modseq {
            self.line.modseq(port.output(), content.row.modseq);
        }
        self.line.end(port.output());
    }

    async fn items(
        &mut self,
        port: &mut dyn Port,
        plan: &Plan<'_>,
        content: &mut Content<'_>,
        marked: bool,
    ) -> Result<(), Broken> {
        if plan.uid {
            self.line.uid(port.output(), content.row.uid);
        }
        for item in plan.items {
            match item {
                FetchItem::Section { section, partial, .. } => {
                    self.section(port, content, section, *partial).await?
                }
                FetchItem::Rfc822 => {
                    let range = Some(0..content.size());
                    self.data(port, content, Name::Rfc822(Rfc822::Message), range)
                        .await?;
                }
                FetchItem::Rfc822Header => {
                    let range = content.structure().map(|root| root.header_range());
                    self.data(port, content, Name::Rfc822(Rfc822::Header), range)
                        .await?;
                }
                FetchItem::Rfc822Text => {
                    let range = content.structure().map(|root| root.body_range());
                    self.data(port, content, Name::Rfc822(Rfc822::Text), range)
                        .await?;
                }
                FetchItem::Binary { part, partial, .. } => self.binary(port, content, part, *partial).await?,
                FetchItem::BinarySize(part) => self.binary_size(port, content, part).await?,
                item => self.fact(port, content, item),
            }
        }
        let tells_flags = marked && !plan.has(&FetchItem::Flags);
        if tells_flags {
            self.flags(port, content);
        }
        if plan.modseq || tells_flags && plan.condstore && !plan.has(&FetchItem::ModSeq) {
            self.line.modseq(port.output(), content.row.modseq);
        }
        Ok(())
    }

    /// An item that is no message data.
    fn fact(&mut self, port: &mut dyn Port, content: &Content<'_>, item: &FetchItem) {
        let (out, row, line) = (port.output(), content.row, &mut self.line);
        match item {
            FetchItem::Uid => line.uid(out, row.uid),
            FetchItem::Flags => self.flags(port, content),
            FetchItem::InternalDate => line.internal_date(out, row.received),
            FetchItem::SaveDate => line.save_date(out, row.saved),
            FetchItem::Rfc822Size => line.size(out, row.size),
            FetchItem::ModSeq => line.modseq(out, row.modseq),
            FetchItem::EmailId => {
                let id = ContentId::from_slice(&row.content_id).unwrap_or_default();
                line.email_id(out, &format!("M{id}"));
            }
            FetchItem::ThreadId => {
                let id = ThreadId::from_slice(&row.thread_id).unwrap_or_default();
                line.thread_id(out, &format!("T{id}"));
            }
            FetchItem::Preview { .. } => {
                line.preview(out, std::str::from_utf8(content.summary().preview).ok());
            }
            FetchItem::Envelope => match content.envelope {
                Some(envelope) => line.written_envelope(out, envelope),
                None => line.envelope(out, content.summary().envelope),
            },
            FetchItem::Body | FetchItem::BodyStructure => {
                let extended = *item == FetchItem::BodyStructure;
                match content.structure() {
                    Some(root) => line.structure(out, root, extended),
                    None => line.structure(out, &Default::default(), extended),
                }
            }
            // Written elsewhere.
            FetchItem::Section { .. }
            | FetchItem::Rfc822
            | FetchItem::Rfc822Header
            | FetchItem::Rfc822Text
            | FetchItem::Binary { .. }
            | FetchItem::BinarySize(_) => {}
        }
    }

    fn flags(&mut self, port: &mut dyn Port, content: &Content<'_>) {
        let (out, flags) = (port.output(), rows::flags(content.row));
        let keywords = rows::keywords(content.row);
        if self.recent {
            self.line.flags_and_recent(out, flags, &keywords);
        } else {
            self.line.flags(out, flags, &keywords);
        }
    }

    async fn section(
        &mut self,
        port: &mut dyn Port,
        content: &mut Content<'_>,
        section: &Section,
        partial: Option<Partial>,
    ) -> Result<(), Broken> {
        let range = content.section(section);
        let name = Name::Section(section, partial);
        let (names, keep) = match &section.text {
            Some(SectionText::HeaderFields(names)) => (names, true),
            Some(SectionText::HeaderFieldsNot(names)) => (names, false),
            _ => return self.data(port, content, name, range).await,
        };
        let Some(range) = range else {
            self.whole(port, name, None);
            return Ok(());
        };
        let block = content.bytes(clip(range, 0, MAX_HEADER)).await?;
        let selected = header::select(&block, names, keep);
        self.whole(port, name, Some(&part_of(&selected, partial)));
        Ok(())
    }

    /// Message data as it is stored: in one piece if it is small, else piece by piece.
    pub async fn data(
        &mut self,
        port: &mut dyn Port,
        content: &mut Content<'_>,
        name: Name<'_>,
        range: Option<Range<u64>>,
    ) -> Result<(), Broken> {
        let Some(range) = range else {
            self.whole(port, name, None);
            return Ok(());
        };
        let range = match name.partial() {
            Some(partial) => clip(range, partial.offset, partial.count),
            None => range,
        };
        let length = range.end.saturating_sub(range.start);
        if length <= PIECE {
            let data = content.bytes(range).await?;
            self.whole(port, name, Some(&data));
            return Ok(());
        }
        // Read before it is announced: most failures show here.
        let mut piece = content.bytes(range.start..range.start + PIECE).await?;
        self.announce(port, name, length);
        let mut at = range.start;
        loop {
            at += piece.len() as u64;
            self.send(port, piece).await?;
            if at >= range.end {
                return Ok(());
            }
            piece = content.bytes(at..range.end.min(at + PIECE)).await?;
        }
    }

    /// Appends an item whose data is at hand; `None` is NIL.
    pub fn whole(&mut self, port: &mut dyn Port, name: Name<'_>, data: Option<&[u8]>) {
        METRICS.fetched(data.map_or(0, <[u8]>::len) as u64);
        let out = port.output();
        let origin = name.partial().map(|partial| partial.offset);
        match name {
            Name::Section(section, _) => self.line.section(out, section, origin, data),
            Name::Rfc822(item) => self.line.rfc822(out, item, data),
            Name::Binary(part, _) => self.line.binary(out, part, origin, data),
        }
    }

    /// Announces data that will follow in pieces.
    pub fn announce(&mut self, port: &mut dyn Port, name: Name<'_>, length: u64) {
        METRICS.fetched(length);
        let out = port.output();
        let origin = name.partial().map(|partial| partial.offset);
        match name {
            Name::Section(section, _) => self.line.section_start(out, section, origin, length),
            Name::Rfc822(item) => self.line.rfc822_start(out, item, length),
            Name::Binary(part, _) => self.line.binary_start(out, part, origin, length),
        }
    }

    /// Sends a piece of announced data.
    pub async fn send(&mut self, port: &mut dyn Port, piece: Bytes) -> Result<(), Broken> {
        self.start = None;
        port.output().put(piece);
        port.flush().await.map_err(Broken::Lost)
    }

    pub fn size_of_part(&mut self, port: &mut dyn Port, part: &[u32], size: u64) {
        self.line.binary_size(port.output(), part, size);
    }
}

/// Why a line could not be written.
pub(super) enum Broken {
    Failed(Failure),
    Lost(io::Error),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Broken::Failed(failure)
    }
}

/// What a partial names of data that is at hand.
pub(super) fn part_of(data: &[u8], partial: Option<Partial>) -> Bytes {
    let Some(partial) = partial else {
        return Bytes::copy_from_slice(data);
    };
    let range = clip(0..data.len() as u64, partial.offset, partial.count);
    // Both ends are within the data.
    let (start, end) = (range.start as usize, range.end as usize);
    Bytes::copy_from_slice(data.get(start..end).unwrap_or_default())
}
