//! A snapshot of INBOX.

use std::fmt::Write;

use bytes::BytesMut;
use postrider_index::UidSet;
use postrider_pop3::server::Maildrop;
use postrider_types::{ContentId, Uid};

/// The messages of an INBOX as they were at login, in ascending UID order.
#[derive(Debug, Default)]
pub struct Inbox {
    pub(crate) uid_validity: u32,
    pub(crate) messages: Vec<Message>,
}

/// A message: 32 bytes, so that a large maildrop can be held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) content: ContentId,
    pub(crate) size: u64,
    pub(crate) uid: Uid,
}

impl Inbox {
    /// A message by its place.
    pub(crate) fn message(&self, place: usize) -> Option<Message> {
        self.messages.get(place).copied()
    }

    /// The UIDs of messages by their places.
    pub(crate) fn uids(&self, places: impl Iterator<Item = usize>) -> UidSet {
        let mut uids = UidSet::default();
        for message in places.filter_map(|place| self.message(place)) {
            uids.insert(message.uid);
        }
        uids
    }
}

impl Maildrop for Inbox {
    fn len(&self) -> usize {
        self.messages.len()
    }

    fn size(&self, place: usize) -> u64 {
        self.message(place).map_or(0, |message| message.size)
    }

    fn write_unique_id(&self, place: usize, output: &mut BytesMut) {
        if let Some(Message { content, uid, .. }) = self.message(place) {
            // At most 32 + 1 + 10 + 1 + 10 characters, all of them allowed. Writing into memory cannot fail.
            let _ = write!(output, "{content}.{}.{uid}", self.uid_validity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_one_message_have_ids_of_their_own() {
        let content = ContentId::from_bytes([0xab; 16]);
        let message = |uid| Message {
            content,
            size: 5,
            uid: Uid(uid),
        };
        let inbox = Inbox {
            uid_validity: u32::MAX,
            messages: vec![message(1), message(u32::MAX)],
        };
        let id = |place| {
            let mut output = BytesMut::new();
            inbox.write_unique_id(place, &mut output);
            String::from_utf8(output.to_vec()).unwrap()
        };
        assert_eq!(id(0), "abababababababababababababababab.4294967295.1");
        assert_ne!(id(0), id(1));
        assert!(id(1).len() <= 70 && id(1).bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(
            inbox.uids([1, 0, 7].into_iter()).iter().collect::<Vec<_>>(),
            [Uid(1), Uid(u32::MAX)]
        );
        assert_eq!(size_of::<Message>(), 32);
    }

    #[test]
    fn a_session_without_a_maildrop_is_small() {
        let session = size_of::<postrider_pop3::server::Server<Inbox>>();
        assert!(session <= 640, "{session} bytes");
        let conversation = size_of::<crate::conversation::Conversation>();
        assert!(conversation <= 256, "{conversation} bytes");
    }
}
