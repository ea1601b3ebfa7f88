//! From the contract's fields to types that cannot be wrong.

use bytes::Bytes;
use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_proto::mailstore::ReadContentRequest;
use postrider_store::content::ContentRange;
use postrider_types::{AccountId, ContentId, DeliveryId, Flags, FolderId, Keyword};

use crate::content::MAX_READ;
use crate::failure::{invalid, no_such_folder};

pub(crate) fn account(id: u64) -> Result<AccountId, Failure> {
    if id > i64::MAX as u64 {
        return Err(invalid("an account id has 63 bits"));
    }
    Ok(AccountId::new(id))
}

pub(crate) fn content(bytes: &[u8]) -> Result<ContentId, Failure> {
    ContentId::from_slice(bytes).ok_or_else(|| invalid("a content id has 16 bytes"))
}

/// What to read of a content; a length of 0 is the most there can be.
pub(crate) fn content_range(range: &ReadContentRequest) -> Result<ContentRange, Failure> {
    let length = if range.length == 0 { MAX_READ } else { range.length };
    Ok(ContentRange {
        content: content(&range.content_id)?,
        offset: range.offset,
        length: length.min(MAX_READ),
    })
}

/// The id to store inline content under; a fresh one unless it is given.
pub(crate) fn inline_id(bytes: &[u8]) -> Result<ContentId, Failure> {
    if bytes.is_empty() {
        Ok(ContentId::generate())
    } else {
        content(bytes)
    }
}

pub(crate) fn delivery(bytes: &[u8]) -> Result<DeliveryId, Failure> {
    DeliveryId::from_slice(bytes).ok_or_else(|| invalid("a delivery id has 16 bytes"))
}

pub(crate) fn folder(id: u32) -> Result<FolderId, Failure> {
    if id == 0 {
        Err(no_such_folder())
    } else {
        Ok(FolderId(id))
    }
}

pub(crate) fn flags(bits: u32) -> Result<Flags, Failure> {
    let flags = u8::try_from(bits)
        .map(Flags::from_bits)
        .ok()
        .filter(|flags| u32::from(flags.bits()) == bits);
    flags.ok_or_else(|| invalid("unknown system flags"))
}

pub(crate) fn keyword(text: &str) -> Result<Keyword, Failure> {
    Keyword::new(text).map_err(|error| invalid(error.to_string()))
}

/// Keywords in the order rows have them, without repetition.
pub(crate) fn keywords(texts: &[String]) -> Result<Vec<Keyword>, Failure> {
    // Bounded before anything is done with them; repetitions count.
    if texts.len() > 4 * Keyword::MAX_PER_MESSAGE {
        return Err(too_many_keywords());
    }
    let mut keywords = texts
        .iter()
        .map(|text| keyword(text))
        .collect::<Result<Vec<_>, _>>()?;
    keywords.sort();
    keywords.dedup();
    if keywords.len() > Keyword::MAX_PER_MESSAGE {
        return Err(too_many_keywords());
    }
    Ok(keywords)
}

pub(crate) fn uids(bytes: &[u8]) -> Result<UidSet, Failure> {
    UidSet::from_bytes(bytes).map_err(|error| invalid(error.to_string()))
}

/// A set where no bytes stand for "all".
pub(crate) fn uids_or_all(bytes: &[u8]) -> Result<Option<UidSet>, Failure> {
    if bytes.is_empty() {
        Ok(None)
    } else {
        uids(bytes).map(Some)
    }
}

/// Message bytes sent inline.
pub(crate) fn inline(data: Bytes) -> Result<Bytes, Failure> {
    const MAX_INLINE: usize = 1 << 20;
    if data.len() > MAX_INLINE {
        return Err(invalid(
            "inline content has at most 1 MiB; put larger messages first",
        ));
    }
    Ok(data)
}

/// A time in milliseconds since the Unix epoch, as engines can keep it.
pub(crate) fn time(millis: u64) -> Result<u64, Failure> {
    if millis > i64::MAX as u64 {
        Err(invalid("a time is out of range"))
    } else {
        Ok(millis)
    }
}

fn too_many_keywords() -> Failure {
    invalid(format!(
        "a message bears at most {} keywords",
        Keyword::MAX_PER_MESSAGE
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(account(1 << 63).is_err() && account(7).is_ok());
        assert!(content(&[0; 15]).is_err() && content(&[0; 16]).is_ok());
        assert!(delivery(&[]).is_err());
        assert!(flags(32).is_err() && flags(256 + 1).is_err());
        assert_eq!(flags(31), Ok(Flags::from_bits(31)));
        assert!(uids(b"junk").is_err());
        assert_eq!(uids_or_all(b""), Ok(None));
        assert!(inline(Bytes::from(vec![0; (1 << 20) + 1])).is_err());
    }

    #[test]
    fn keywords_are_sorted_and_bounded() {
        let texts = ["b", "A", "B"].map(String::from);
        let sorted: Vec<String> = keywords(&texts)
            .expect("they are atoms")
            .iter()
            .map(Keyword::to_string)
            .collect();
        assert_eq!(sorted, ["A", "b"]);
        let many: Vec<String> = (0..65).map(|at| format!("k{at}")).collect();
        assert!(keywords(&many).is_err());
    }
}
