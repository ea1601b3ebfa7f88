//! A message's content on its way out: read in pieces, never whole, and converted where the other side needs that.

use bytes::Bytes;
use postrider_message::sevenbit::Converter;
use postrider_message::{Describer, Description};
use postrider_proto::mailstore::ReadContentRequest;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::{Failure, Kind, Link};
use postrider_runtime::{Budget, Reservation, Trace};
use postrider_types::ContentId;
use tonic::Request;

/// Bytes read at a time.
pub const PIECE: u64 = 256 * 1024;

/// How a message is changed for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change {
    /// Not at all.
    #[default]
    None,
    /// Everything becomes 7-bit (RFC 6152 §3).
    SevenBit,
    /// Headers become ASCII; the body stays 8-bit.
    AsciiHeader,
}

/// Reads a range of a content in order, holding the budget for one piece; or gives it from memory where it is at hand.
pub struct Reader {
    at_hand: Option<Bytes>,
    store: MailStoreClient<Link>,
    budget: Budget,
    content: ContentId,
    at: u64,
    end: u64,
    held: Option<Reservation>,
    trace: Option<Trace>,
}

impl Reader {
    /// Reads from `at` up to `end`.
    pub fn new(store: MailStoreClient<Link>, budget: Budget, content: ContentId, at: u64, end: u64) -> Self {
        Self {
            at_hand: None,
            store,
            budget,
            content,
            at,
            end,
            held: None,
            trace: None,
        }
    }

    /// The whole content may be at hand already.
    #[must_use]
    pub fn with(self, at_hand: Option<Bytes>) -> Self {
        Self { at_hand, ..self }
    }

    /// Reads within a trace.
    #[must_use]
    pub fn traced(self, trace: Option<Trace>) -> Self {
        Self { trace, ..self }
    }

    /// The next piece, empty at the end. The piece before it must not be kept.
    pub async fn next(&mut self) -> Result<Bytes, Failure> {
        let wanted = self.end.saturating_sub(self.at).min(PIECE);
        if wanted == 0 {
            self.held = None;
            return Ok(Bytes::new());
        }
        let piece = self.read(self.at, wanted).await?;
        if piece.is_empty() {
            let text = format!("content {} ends before its size", self.content);
            return Err(Failure::new(Kind::Internal, text));
        }
        self.at += piece.len() as u64;
        Ok(piece)
    }

    /// Bytes from an offset, at most so many.
    pub async fn read(&mut self, offset: u64, length: u64) -> Result<Bytes, Failure> {
        let length = length.min(PIECE);
        if let Some(whole) = &self.at_hand {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
            return Ok(whole.slice(place(offset)..place(offset.saturating_add(length))));
        }
        // The piece before has been written by now.
        self.held = None;
        self.held = Some(self.budget.reserve(length).await);
        let request = ReadContentRequest {
            content_id: self.content.as_bytes().to_vec().into(),
            offset,
            length,
        };
        let mut request = Request::new(request);
        if let Some(trace) = &self.trace {
            trace.tell(request.metadata_mut().as_mut());
        }
        Ok(self.store.read_content(request).await?.into_inner().data)
    }
}

/// What is sent: the content, as it is or changed.
pub enum Source {
    /// As it is.
    Plain(Reader),
    /// Changed.
    Changed {
        /// Reads what the converter wants.
        reader: Reader,
        /// Says what it wants.
        converter: Box<Converter>,
    },
}

impl Source {
    /// Begins to read. A change reads the content twice: it has to be known before it can be changed.
    pub async fn open(mut reader: Reader, change: Change, skip: u64) -> Result<Self, Failure> {
        if change == Change::None {
            return Ok(Self::Plain(reader));
        }
        let description = describe(&mut reader, skip).await?;
        let converter = match change {
            Change::AsciiHeader => Converter::for_eight_bit(&description, skip),
            _ => Converter::skipping(&description, skip),
        };
        let converter = converter.map_err(|error| Failure::new(Kind::Invalid, error.to_string()))?;
        Ok(Self::Changed {
            reader,
            converter: Box::new(converter),
        })
    }

    /// Whether nothing follows what was given.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Plain(reader) => reader.at >= reader.end,
            Self::Changed { converter, .. } => converter.wants().is_none(),
        }
    }

    /// The next piece, empty at the end.
    pub async fn next(&mut self) -> Result<Bytes, Failure> {
        let (reader, converter) = match self {
            Self::Plain(reader) => return reader.next().await,
            Self::Changed { reader, converter } => (reader, converter),
        };
        let mut out = Vec::new();
        while out.is_empty() {
            let Some(range) = converter.wants() else { break };
            let piece = reader
                .read(range.start, range.end.saturating_sub(range.start))
                .await?;
            if piece.is_empty() {
                return Err(Failure::new(
                    Kind::Internal,
                    "the content is shorter than described",
                ));
            }
            let pushed = converter.push(&piece, &mut out);
            pushed.map_err(|error| Failure::new(Kind::Invalid, error.to_string()))?;
        }
        Ok(out.into())
    }
}

/// Describes a content from its very beginning, whatever is skipped later.
async fn describe(reader: &mut Reader, skip: u64) -> Result<Description, Failure> {
    let mut describer = Describer::new();
    let (mut at, end) = (0, reader.end.max(skip));
    while at < end {
        let piece = reader.read(at, end - at).await?;
        if piece.is_empty() {
            break;
        }
        describer.push(&piece);
        at += piece.len() as u64;
    }
    Ok(describer.finish())
}
