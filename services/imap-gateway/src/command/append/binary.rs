//! Messages with NUL (RFC 3516 §4.2): `BODY[…]` cannot send them, so the parts that have any are encoded before the message
//! is stored. Decoded, every part is the same, octet for octet.

use bytes::Bytes;
use postrider_message::sevenbit::Converter;
use postrider_message::{Describer, describe};
use postrider_proto::{Failure, Kind};
use postrider_types::AccountId;
use tokio::sync::mpsc;

use crate::failure::damaged;
use crate::store::Store;

/// Bytes read at a time.
const PIECE: u64 = 256 << 10;

/// Whether bytes can only be sent as a literal8.
pub(super) fn has_nul(bytes: &[u8]) -> bool {
    memchr::memchr(0, bytes).is_some()
}

/// Converts a message in memory.
pub(super) fn convert(message: &[u8]) -> Result<Bytes, Failure> {
    let mut converter = Converter::for_eight_bit(&describe(message), 0).map_err(impossible)?;
    let mut out = Vec::with_capacity(message.len() * 3 / 2);
    while let Some(range) = converter.wants() {
        // What describes the message is its own length.
        let (start, end) = (range.start as usize, range.end as usize);
        let bytes = message.get(start..end).unwrap_or_default();
        converter.push(bytes, &mut out).map_err(impossible)?;
    }
    Ok(out.into())
}

/// Converts a message that is stored already: the id of what it became.
pub(super) async fn convert_stored(
    store: &Store,
    account: AccountId,
    id: &Bytes,
    size: u64,
) -> Result<Bytes, Failure> {
    let mut describer = Describer::new();
    let mut at = 0;
    while at < size {
        let piece = read(store, id, at, size).await?;
        at += piece.len() as u64;
        describer.push(&piece);
    }
    let converter = Converter::for_eight_bit(&describer.finish(), 0).map_err(impossible)?;
    let (pieces, mut incoming) = mpsc::channel(2);
    let chunks = futures::stream::poll_fn(move |cx| incoming.poll_recv(cx));
    // Nothing more than base64 makes of it.
    let put = store.put(account, size.saturating_mul(2), chunks);
    let (stored, converted) = tokio::join!(put, send(store, id, converter, pieces));
    converted.and(stored)
}

async fn send(
    store: &Store,
    id: &Bytes,
    mut converter: Converter,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), Failure> {
    while let Some(range) = converter.wants() {
        let piece = read(store, id, range.start, range.end).await?;
        let mut out = Vec::with_capacity(piece.len());
        converter.push(&piece, &mut out).map_err(impossible)?;
        // When the mail store gave up, its own answer says why.
        if !out.is_empty() && pieces.send(out.into()).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn read(store: &Store, id: &Bytes, at: u64, end: u64) -> Result<Bytes, Failure> {
    let piece = store.content(id, at, PIECE.min(end - at)).await?;
    if piece.is_empty() {
        return Err(damaged("a stored message is shorter than was sent"));
    }
    Ok(piece)
}

fn impossible(error: postrider_message::Error) -> Failure {
    Failure::new(
        Kind::Invalid,
        format!("a message with NUL that cannot be encoded: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_with_nul_are_encoded_and_others_stay() {
        let message =
            b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\xe4\r\n";
        let converted = convert(message).unwrap();
        assert!(!has_nul(&converted));
        let description = describe(&converted);
        let body = description.structure.body_range();
        let body = converted.slice(body.start as usize..body.end as usize);
        let decoded = postrider_message::transfer::decode(
            postrider_message::transfer::Encoding::from_name(&description.structure.encoding).unwrap(),
            &body,
        );
        assert_eq!(decoded, b"\0\xe4\r\n");
    }
}
