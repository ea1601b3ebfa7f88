//! BINARY and BINARY.SIZE (RFC 3516): parts with their transfer encoding undone.

use std::ops::Range;

use bytes::Bytes;
use postrider_imap::command::{PartPath, Partial};
use postrider_message::Kind;
use postrider_message::transfer::{Decoder, Encoding};
use postrider_runtime::Port;

use super::content::{Content, PIECE, clip};
use super::line::{Broken, Line, Name, part_of};

/// Encoded bytes that are decoded at once; more is decoded piece by piece, twice: first to count.
const AT_ONCE: u64 = 4 * PIECE;

impl Line {
    pub(super) async fn binary(
        &mut self,
        port: &mut dyn Port,
        content: &mut Content<'_>,
        path: &PartPath,
        partial: Option<Partial>,
    ) -> Result<(), Broken> {
        let name = Name::Binary(path, partial);
        let Some(range) = content.part(path) else {
            self.whole(port, name, None);
            return Ok(());
        };
        let Some(encoding) = encoding(content, path) else {
            content.has_unknown_encoding = true;
            return Ok(());
        };
        if encoding == Encoding::Identity {
            return self.data(port, content, name, Some(range)).await;
        }
        if range.end - range.start <= AT_ONCE {
            let encoded = content.bytes(range).await?;
            let decoded = postrider_message::transfer::decode(encoding, &encoded);
            self.whole(port, name, Some(&part_of(&decoded, partial)));
            return Ok(());
        }
        let size = count(content, range.clone(), encoding).await?;
        let wanted = partial.map_or(0..size, |partial| clip(0..size, partial.offset, partial.count));
        self.announce(port, name, wanted.end - wanted.start);
        let mut decoding = Decoding::new(content, range, encoding);
        while let Some((at, decoded)) = decoding.next().await? {
            let behind = at + decoded.len() as u64;
            let (start, end) = (wanted.start.max(at), wanted.end.min(behind));
            if start < end {
                // Both are within the piece.
                let piece = decoded.get((start - at) as usize..(end - at) as usize);
                self.send(port, Bytes::copy_from_slice(piece.unwrap_or_default()))
                    .await?;
            }
            if behind >= wanted.end {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn binary_size(
        &mut self,
        port: &mut dyn Port,
        content: &mut Content<'_>,
        path: &PartPath,
    ) -> Result<(), Broken> {
        let Some(range) = content.part(path) else {
            self.size_of_part(port, path, 0);
            return Ok(());
        };
        let Some(encoding) = encoding(content, path) else {
            content.has_unknown_encoding = true;
            return Ok(());
        };
        let size = match encoding {
            Encoding::Identity => range.end - range.start,
            encoding => count(content, range, encoding).await?,
        };
        self.size_of_part(port, path, size);
        Ok(())
    }
}

/// How a part is encoded; `None`: in a way that is not known. What has parts of its own is not encoded (RFC 2045 §6.4).
fn encoding(content: &Content<'_>, path: &PartPath) -> Option<Encoding> {
    if path.is_empty() {
        return Some(Encoding::Identity);
    }
    let part = content.structure()?.find(path)?;
    match part.kind() {
        Kind::Multipart | Kind::Message => Some(Encoding::Identity),
        Kind::Text | Kind::Other => Encoding::from_name(&part.encoding),
    }
}

/// Decoded bytes of a part.
async fn count(content: &mut Content<'_>, range: Range<u64>, encoding: Encoding) -> Result<u64, Broken> {
    let mut decoding = Decoding::new(content, range, encoding);
    let mut size = 0;
    while let Some((at, decoded)) = decoding.next().await? {
        size = at + decoded.len() as u64;
    }
    Ok(size)
}

/// Decodes a part piece by piece.
struct Decoding<'a, 'b> {
    content: &'a mut Content<'b>,
    left: Range<u64>,
    decoder: Option<Decoder>,
    at: u64,
}

impl<'a, 'b> Decoding<'a, 'b> {
    fn new(content: &'a mut Content<'b>, range: Range<u64>, encoding: Encoding) -> Self {
        Self {
            content,
            left: range,
            decoder: Some(Decoder::new(encoding)),
            at: 0,
        }
    }

    /// The next decoded bytes, and where they begin.
    async fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, Broken> {
        let mut decoded = Vec::new();
        if self.left.is_empty() {
            let Some(decoder) = self.decoder.take() else {
                return Ok(None);
            };
            decoder.finish(&mut decoded);
        } else if let Some(decoder) = &mut self.decoder {
            let end = self.left.end.min(self.left.start + PIECE);
            let piece = self.content.bytes(self.left.start..end).await?;
            self.left.start = end;
            decoder.push(&piece, &mut decoded);
        }
        let at = self.at;
        self.at += decoded.len() as u64;
        Ok(Some((at, decoded)))
    }
}
