//! Messages read before they are asked for: who asks for one after the other will ask for the next.
//!
//! One question to the mail store then serves many RETR. What is held is bounded twice: a session holds no more than one piece
//! would be, and only so many sessions hold anything.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use postrider_proto::Failure;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::maildrop::{Inbox, Message};
use crate::store::{PIECE, Store};

/// Messages read at a time.
const MESSAGES: usize = 64;
/// Sessions that hold messages at a time (32 MiB).
pub(crate) const SESSIONS: usize = 512;

/// Whole messages that are likely to be wanted next, by their places.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// The one that was asked for last.
    last: Option<usize>,
    held: VecDeque<(usize, Bytes)>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Ahead {
    /// The first piece of a message, which is held or read, perhaps with those behind it.
    pub async fn first_piece(
        &mut self,
        store: &Store,
        sessions: &Arc<Semaphore>,
        inbox: &Inbox,
        place: usize,
        message: Message,
    ) -> Result<Bytes, Failure> {
        let in_order = place
            .checked_sub(1)
            .is_some_and(|before| self.last == Some(before));
        self.last = Some(place);
        while let Some((held, piece)) = self.held.pop_front() {
            if held == place {
                self.make_room();
                return Ok(piece);
            }
        }
        self.make_room();
        if !in_order || message.size > PIECE {
            return store.read(message.content, 0).await;
        }
        self.permit = sessions.clone().try_acquire_owned().ok();
        if self.permit.is_none() {
            return store.read(message.content, 0).await;
        }
        let mut left = PIECE;
        let next = (place..).map_while(|place| inbox.message(place)).take(MESSAGES);
        let next = next.take_while(|message| match left.checked_sub(message.size) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        });
        let contents = next.map(|message| message.content).collect();
        let pieces = store.read_many(contents).await?;
        self.held = (place..).zip(pieces).collect();
        let first = self.held.pop_front().map(|(_, piece)| piece);
        self.make_room();
        Ok(first.unwrap_or_default())
    }

    /// Lets another session hold messages when this one holds none.
    fn make_room(&mut self) {
        if self.held.is_empty() {
            self.held = VecDeque::new();
            self.permit = None;
        }
    }
}
