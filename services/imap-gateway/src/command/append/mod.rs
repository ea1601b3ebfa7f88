//! APPEND (RFC 9051 §6.3.12, RFC 3502): messages stream in, then all of them are appended or none.
//!
//! Small messages wait in memory, within a bound for the command; others go to the mail store as they arrive, so that a
//! command of any size takes the memory of a few pieces.

mod binary;

use bytes::{Bytes, BytesMut};
use postrider_imap::command::AppendMessage;
use postrider_imap::response::Code;
use postrider_proto::mailstore::append_message::Content;
use postrider_proto::mailstore::{AppendMessage as NewMessage, AppendMessagesRequest};
use postrider_proto::{Failure, Kind};
use postrider_runtime::Reservation;
use postrider_types::{AccountId, Keyword, Version};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::task::JoinHandle;

use super::Exec;
use crate::answer::{Answer, AnswerCode, Outcome, Stop};
use crate::failure;
use crate::metrics::METRICS;
use crate::store::Store;

/// The largest message that waits in memory.
const INLINE: u64 = 256 << 10;
/// All that wait in memory together: they travel in one request.
const INLINE_TOTAL: u64 = 1 << 20;
/// Pieces on their way to the mail store.
const PIECES: usize = 4;
const NO_ANSWER: &str = "the mail store does not take the message";
/// Messages of one command, as the contract has it.
const MAX_MESSAGES: usize = 1000;

/// An APPEND that is being received.
pub(crate) struct Appending {
    account: AccountId,
    folder: u32,
    store: Store,
    messages: Vec<NewMessage>,
    /// The one whose bytes are coming.
    current: Option<Current>,
    inline: u64,
    total: u64,
    reserved: Vec<Reservation>,
    failure: Option<Failure>,
}

enum Current {
    Inline(NewMessage, BytesMut),
    Streamed(NewMessage, Upload),
}

/// Content on its way to the mail store.
struct Upload {
    store: Store,
    account: AccountId,
    size: u64,
    has_nul: bool,
    pieces: mpsc::Sender<Bytes>,
    stored: JoinHandle<Result<Bytes, Failure>>,
}

impl Exec<'_> {
    /// Whether a message that is announced may be sent.
    pub async fn append_message(
        &mut self,
        appending: &mut Option<Box<Appending>>,
        message: AppendMessage,
    ) -> Result<(), Answer> {
        let size = message.size;
        if appending.is_none() || message.index == 0 {
            let folder = self
                .shared
                .store
                .folder(self.account(), &message.mailbox)
                .await
                .map_err(|failure| failure::destination(&failure))?;
            let store = self.shared.store.clone();
            *appending = Some(Box::new(Appending::new(self.account(), folder.id, store)));
        }
        let Some(appending) = appending else {
            return Err(Answer::no("nothing to append to"));
        };
        if appending.messages.len() >= MAX_MESSAGES {
            return Err(Answer::no("too many messages in one command").with(Code::Limit));
        }
        let total = appending.total.saturating_add(size);
        self.check_quota(total).await?;
        appending.total = total;
        appending.finish_message().await;
        let budget = &self.shared.budget;
        let fits = size <= INLINE && appending.inline + size <= INLINE_TOTAL;
        // Whoever holds some of the budget must not wait for more.
        let reservation = match fits {
            true if appending.reserved.is_empty() => Some(budget.reserve(size).await),
            true => budget.try_reserve(size),
            false => None,
        };
        appending.begin(message, reservation);
        Ok(())
    }

    async fn check_quota(&mut self, more: u64) -> Result<(), Answer> {
        let quota = self.user.quota;
        if quota == 0 {
            return Ok(());
        }
        let account = self.shared.store.account(self.account()).await;
        let used = account.map_err(|failure| failure::answer(&failure))?.used_bytes;
        if used.saturating_add(more) > quota {
            return Err(Answer::no("the mailbox is full").with(Code::OverQuota));
        }
        Ok(())
    }

    /// All messages have come: appends them.
    pub async fn append(&mut self, mut appending: Appending) -> Outcome {
        appending.finish_message().await;
        if let Some(failure) = appending.failure {
            return Err(failure.into());
        }
        let request = AppendMessagesRequest {
            account: self.account().get(),
            folder: appending.folder,
            quota: self.user.quota,
            messages: appending.messages,
        };
        let appended = self.shared.store.append(request).await;
        let appended = appended.map_err(|failure| Stop::Answer(failure::destination(&failure)))?;
        METRICS.appended(appending.total);
        self.shared
            .watcher
            .reached(self.account(), Version(appended.version));
        Ok(Answer::ok("APPEND completed").with_code(AnswerCode::AppendUid {
            validity: appended.uid_validity,
            uids: appended.uids,
        }))
    }
}

impl Appending {
    fn new(account: AccountId, folder: u32, store: Store) -> Self {
        Self {
            account,
            folder,
            store,
            messages: Vec::new(),
            current: None,
            inline: 0,
            total: 0,
            reserved: Vec::new(),
            failure: None,
        }
    }

    /// The next bytes of the message.
    pub async fn data(&mut self, data: Bytes) {
        match &mut self.current {
            Some(Current::Inline(_, content)) => content.extend_from_slice(&data),
            // When the mail store gave up, the upload's end says why.
            Some(Current::Streamed(_, upload)) => {
                upload.has_nul |= binary::has_nul(&data);
                let sent = upload.pieces.send_timeout(data, self.store.patience()).await;
                if let Err(SendTimeoutError::Timeout(_)) = sent {
                    self.current = None;
                    self.failure
                        .get_or_insert_with(|| failure::unavailable(NO_ANSWER));
                }
            }
            None => {}
        }
    }

    fn begin(&mut self, message: AppendMessage, reservation: Option<Reservation>) {
        let AppendMessage {
            flags,
            keywords,
            received,
            size,
            ..
        } = message;
        let new = NewMessage {
            content: None,
            received: received.unwrap_or_else(now),
            flags: u32::from(flags.bits()),
            keywords: keywords.iter().map(Keyword::to_string).collect(),
        };
        self.current = Some(match reservation {
            Some(reservation) => {
                self.reserved.push(reservation);
                self.inline += size;
                // Its announced size is within `INLINE`.
                Current::Inline(new, BytesMut::with_capacity(size as usize))
            }
            None => Current::Streamed(new, Upload::begin(self.store.clone(), self.account, size)),
        });
    }

    /// All bytes of the message have come.
    async fn finish_message(&mut self) {
        let (message, content) = match self.current.take() {
            None => return,
            Some(Current::Inline(message, content)) => {
                let content = if binary::has_nul(&content) {
                    binary::convert(&content)
                } else {
                    Ok(content.freeze())
                };
                (message, content.map(Content::Inline))
            }
            Some(Current::Streamed(message, upload)) => {
                (message, upload.finish().await.map(Content::ContentId))
            }
        };
        match content {
            Ok(content) => self.messages.push(NewMessage {
                content: Some(content),
                ..message
            }),
            Err(failure) => {
                self.failure.get_or_insert(failure);
            }
        }
    }
}

impl Upload {
    fn begin(store: Store, account: AccountId, size: u64) -> Self {
        let (pieces, mut incoming) = mpsc::channel(PIECES);
        let chunks = futures::stream::poll_fn(move |cx| incoming.poll_recv(cx));
        let putting = store.clone();
        let stored = tokio::spawn(async move { putting.put(account, size, chunks).await });
        Self {
            store,
            account,
            size,
            has_nul: false,
            pieces,
            stored,
        }
    }

    async fn finish(self) -> Result<Bytes, Failure> {
        drop(self.pieces);
        let id = match tokio::time::timeout(self.store.patience(), self.stored).await {
            Ok(Ok(stored)) => stored?,
            Ok(Err(error)) => return Err(Failure::new(Kind::Internal, error.to_string())),
            Err(_) => return Err(failure::unavailable(NO_ANSWER)),
        };
        if self.has_nul {
            // Rare, and large: no other command is to make room for it.
            return Box::pin(binary::convert_stored(&self.store, self.account, &id, self.size)).await;
        }
        Ok(id)
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
