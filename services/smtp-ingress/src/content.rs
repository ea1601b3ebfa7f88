//! A message on its way in: kept in memory while it is small, streamed to the mail store when it is not.
//!
//! The first octets are backed by a reservation from the process's budget. More is taken only while there is more
//! ([`Budget::try_reserve`] never waits); otherwise the message goes to the store as it comes, which needs no more than
//! what is reserved. So a message that has begun never waits for memory that another such message holds.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postrider_proto::{Failure, Kind};
use postrider_runtime::{Budget, Reservation, Trace};
use postrider_types::{AccountId, ContentId, ReversePath};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::config::Config;
use crate::header::{self, Completion, Facts, Top};
use crate::identity::Fingerprint;
use crate::recipients::{Recipients, first_account};
use crate::store::Store;

/// What a message begins with, and takes more in steps of.
const STEP: u64 = 64 * 1024;
/// Room that the buffer of a message of unknown size begins with.
const ROOM: u64 = 8 * 1024;
/// Pieces that may wait for the store; each has at most the size of a read.
const WAITING_PIECES: usize = 4;
/// Room for what is put on top.
const TOP_ROOM: u64 = 2048;

/// A whole message.
pub(crate) enum Content {
    /// In memory, fields on top included.
    Inline(Bytes),
    /// In the store.
    Stored(ContentId),
}

/// A whole message and what is known of it.
pub(crate) struct Collected {
    pub content: Content,
    /// Octets, fields on top included.
    pub size: u64,
    /// Octets of Return-Path.
    pub skip: u64,
    pub fingerprint: u128,
    pub facts: Facts,
    /// Memory of the budget, held until the message is accepted.
    pub reservations: Vec<Reservation>,
}

/// Takes a message's pieces.
pub(crate) struct Collector {
    store: Store,
    config: Arc<Config>,
    budget: Budget,
    trace: Trace,
    account: Option<AccountId>,
    top: usize,
    skip: u64,
    completion: Option<Completion>,
    fingerprint: Fingerprint,
    reservations: Vec<Reservation>,
    reserved: u64,
    facts: Option<Facts>,
    state: State,
}

enum State {
    Buffer(BytesMut),
    Stream {
        sender: mpsc::Sender<Bytes>,
        task: JoinHandle<Result<ContentId, Failure>>,
        size: u64,
    },
    Failed(Failure),
}

/// What a collector works with.
pub(crate) struct Tools<'a> {
    pub store: &'a Store,
    pub config: &'a Arc<Config>,
    pub budget: &'a Budget,
}

impl Collector {
    /// Waits for memory to begin with. `expected`: the size the client declared, if it did.
    pub(crate) async fn begin(
        tools: Tools<'_>,
        trace: Trace,
        sender: &ReversePath,
        recipients: &Recipients,
        top: Top,
        completion: Option<Completion>,
        expected: Option<u64>,
    ) -> Self {
        let Tools {
            store,
            config,
            budget,
        } = tools;
        let first = expected.map_or(STEP, |size| size.saturating_add(TOP_ROOM).min(STEP));
        let reservation = budget.reserve(first).await;
        // Most messages are much smaller than what is reserved for one of unknown size.
        let room = expected.map_or(ROOM, |_| first);
        let mut buffer = BytesMut::with_capacity(usize::try_from(room).unwrap_or_default());
        buffer.extend_from_slice(top.fields.as_bytes());
        Self {
            store: store.clone(),
            config: config.clone(),
            budget: budget.clone(),
            trace,
            account: first_account(&recipients.locals),
            top: top.fields.len(),
            skip: top.skip,
            completion,
            fingerprint: Fingerprint::new(sender, config.fingerprint_secret),
            reservations: vec![reservation],
            reserved: first,
            facts: None,
            state: State::Buffer(buffer),
        }
    }

    /// Takes the next piece; waits while the store is slower than the client. A failure is reported by `finish`.
    pub(crate) async fn push(&mut self, piece: Bytes) {
        self.fingerprint.update(&piece);
        if let State::Buffer(buffer) = &mut self.state {
            let size = (buffer.len() + piece.len()) as u64;
            if size <= self.config.inline_size
                && reserve(&self.budget, &mut self.reservations, &mut self.reserved, size)
            {
                buffer.extend_from_slice(&piece);
                return;
            }
            self.begin_stream();
        }
        if let State::Stream { sender, size, .. } = &mut self.state {
            *size += piece.len() as u64;
            match tokio::time::timeout(self.config.timeouts.storage, sender.send(piece)).await {
                Ok(Ok(())) => {}
                // The store has ended the call before the message ended: `finish` hears why.
                Ok(Err(_)) => {}
                Err(_) => self.fail(Failure::new(Kind::Deadline, "the mail store takes no more")),
            }
        }
    }

    /// What the header tells; to be asked when the message is whole, before `finish`.
    pub(crate) fn facts(&mut self) -> &Facts {
        let State::Buffer(buffer) = &self.state else {
            return self.facts.get_or_insert_default();
        };
        let message = buffer.get(self.top..).unwrap_or_default();
        self.facts
            .get_or_insert_with(|| header::examine(message, self.completion.as_ref()))
    }

    /// The message is whole. Streamed content is durable when this returns.
    pub(crate) async fn finish(mut self) -> Result<Collected, Failure> {
        self.facts();
        let facts = self.facts.take().unwrap_or_default();
        let (content, size) = match std::mem::replace(&mut self.state, State::Failed(given_up())) {
            State::Buffer(buffer) => {
                let bytes = self.assemble(buffer, &facts);
                let size = bytes.len() as u64;
                (Content::Inline(bytes), size)
            }
            State::Stream { sender, task, size } => {
                drop(sender);
                (
                    Content::Stored(joined(task, self.config.timeouts.storage).await?),
                    size,
                )
            }
            State::Failed(failure) => return Err(failure),
        };
        Ok(Collected {
            content,
            size,
            skip: self.skip,
            fingerprint: self.fingerprint.finish(),
            facts,
            reservations: std::mem::take(&mut self.reservations),
        })
    }

    /// From now on the message goes to the store as it comes.
    fn begin_stream(&mut self) {
        self.facts();
        let facts = self.facts.take().unwrap_or_default();
        let State::Buffer(buffer) = std::mem::replace(&mut self.state, State::Failed(given_up())) else {
            return;
        };
        let first = self.assemble(buffer, &facts);
        self.facts = Some(facts);
        let (sender, receiver) = mpsc::channel(WAITING_PIECES);
        let size = first.len() as u64;
        let most = self.config.message_size.saturating_add(size);
        let (store, account, trace) = (self.store.clone(), self.account, self.trace);
        let task = tokio::spawn(async move {
            use tokio_stream::StreamExt;
            let pieces = tokio_stream::once(first).chain(ReceiverStream::new(receiver));
            store.put_stream(pieces, most, account, trace).await
        });
        self.state = State::Stream { sender, task, size };
    }

    /// Puts what is missing between the fields on top and the message. Rare, so the copy does not matter.
    fn assemble(&self, buffer: BytesMut, facts: &Facts) -> Bytes {
        if facts.insertion.is_empty() {
            return buffer.freeze();
        }
        let (top, message) = buffer.split_at(self.top.min(buffer.len()));
        Bytes::from([top, facts.insertion.as_bytes(), message].concat())
    }

    fn fail(&mut self, failure: Failure) {
        if let State::Stream { task, .. } = &self.state {
            task.abort();
        }
        self.state = State::Failed(failure);
    }
}

impl Drop for Collector {
    /// A stream that just ended would be taken for a whole message, so the call is cancelled first.
    fn drop(&mut self) {
        if let State::Stream { task, .. } = &self.state {
            task.abort();
        }
    }
}

fn given_up() -> Failure {
    Failure::new(Kind::Internal, "the message was given up")
}

/// Whether so many octets in all may be held.
fn reserve(budget: &Budget, reservations: &mut Vec<Reservation>, reserved: &mut u64, size: u64) -> bool {
    while *reserved < size {
        match budget.try_reserve(STEP) {
            Some(reservation) => reservations.push(reservation),
            None => return false,
        }
        *reserved += STEP;
    }
    true
}

async fn joined(
    task: JoinHandle<Result<ContentId, Failure>>,
    deadline: Duration,
) -> Result<ContentId, Failure> {
    let abort = task.abort_handle();
    match tokio::time::timeout(deadline, task).await {
        Ok(Ok(stored)) => stored,
        Ok(Err(_)) => Err(Failure::new(Kind::Internal, "storing the message failed")),
        Err(_) => {
            abort.abort();
            Err(Failure::new(Kind::Deadline, "the mail store does not answer"))
        }
    }
}
