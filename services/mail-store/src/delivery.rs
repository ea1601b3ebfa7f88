//! Delivery: one message to many accounts, each exactly once.
//!
//! A message to one account travels inside the commit that appends it; a message to many is stored once and referred
//! to by every commit, which run in parallel. Each commit writes a receipt under the delivery id; a retry finds it,
//! see [`crate::lookup`].

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use opentelemetry::global;
use opentelemetry::metrics::Counter;
use postrider_proto::Failure;
use postrider_store::account::Receipt;
use postrider_types::{AccountId, ContentId, DeliveryId, Flags, FolderId, Keyword, Uid, Version};

use crate::clock::millis;
use crate::commit::Operation;
use crate::content::Described;
use crate::draft::{Draft, NewMessage};
use crate::failure::{invalid, storage};
use crate::lookup::Questions;
use crate::names;
use crate::service::Service;
use crate::weight::Weight;

static DELIVERIES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    meter
        .u64_counter("mailstore.deliveries")
        .with_description("Messages appended to accounts by delivery")
        .build()
});

/// The most recipients of one request.
pub(crate) const MAX_RECIPIENTS: usize = 1000;
/// How many of their commits run at once.
const PARALLEL: usize = 64;

/// Where a message's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Here, to be stored under this id.
    Inline(ContentId, Bytes),
    /// Stored before.
    Stored(ContentId),
}

/// One recipient.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    pub account: AccountId,
    pub delivery: DeliveryId,
    /// Empty: INBOX.
    pub folder: String,
    /// In bytes; 0: none.
    pub quota: u64,
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub folder: FolderId,
    pub uid: Uid,
    pub version: Version,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    Now(Place),
    Earlier(Place),
    OverQuota,
}

impl Service {
    /// Delivers a message; a result for each recipient, in their order. Fails as a whole only when nothing was done.
    pub async fn deliver(
        self: &Arc<Self>,
        source: Source,
        received: u64,
        recipients: Vec<Recipient>,
    ) -> Result<(ContentId, Vec<Result<Delivered, Failure>>), Failure> {
        if recipients.is_empty() || recipients.len() > MAX_RECIPIENTS {
            return Err(invalid(format!(
                "a message is delivered to 1 to {MAX_RECIPIENTS} recipients"
            )));
        }
        let (content, message, mut data) = match source {
            Source::Inline(id, data) => (id, Arc::new(Described::of(&data)), Some(data)),
            Source::Stored(id) => (id, self.described(id).await?, None),
        };
        if recipients.len() > 1
            && let Some(data) = data.take()
        {
            self.contents.put(content, data).await.map_err(storage)?;
        }
        let one = |recipient: Recipient| {
            let operation = Deliver {
                content,
                data: data.clone(),
                message: message.clone(),
                received,
                expires_in: millis(self.config.receipt_retention),
                recipient,
            };
            self.run(operation.recipient.account, operation)
        };
        let results: Vec<_> = match <[Recipient; 1]>::try_from(recipients) {
            Ok([recipient]) => vec![one(recipient).await],
            Err(recipients) => {
                futures::stream::iter(recipients)
                    .map(one)
                    .buffered(PARALLEL)
                    .collect()
                    .await
            }
        };
        let new = results
            .iter()
            .filter(|result| matches!(result, Ok(Delivered::Now(_))))
            .count();
        DELIVERIES.add(new as u64, &[]);
        Ok((content, results))
    }
}

/// The delivery to one recipient.
struct Deliver {
    content: ContentId,
    data: Option<Bytes>,
    message: Arc<Described>,
    received: u64,
    expires_in: u64,
    recipient: Recipient,
}

#[async_trait]
impl Operation for Deliver {
    type Output = Delivered;

    fn weight(&self) -> Weight {
        // Beside the message: its receipt.
        self.message.weight(self.data.as_ref(), 1)
    }

    fn look_up(&self, questions: &mut Questions) {
        questions.delivery(self.recipient.delivery);
        self.message.look_up(questions);
    }

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Delivered, Failure> {
        let Recipient {
            delivery,
            quota,
            flags,
            keywords,
            ..
        } = &self.recipient;
        if let Some(Receipt {
            folder, uid, version, ..
        }) = draft.receipt(*delivery)
        {
            return Ok(Delivered::Earlier(Place { folder, uid, version }));
        }
        if *quota > 0 && draft.head().used.saturating_add(self.message.size) > *quota {
            return Ok(Delivered::OverQuota);
        }
        let folder = self.folder(draft)?;
        let thread = self.message.join_thread(self.content, draft);
        let message = NewMessage {
            content: self.content,
            thread,
            size: self.message.size,
            received: self.received,
            flags: *flags,
            keywords: keywords.clone(),
        };
        let uid = draft.add_message(folder, message)?;
        draft.describe(self.content, self.message.description.clone());
        if let Some(data) = &self.data {
            draft.store(self.content, data.clone());
        }
        let version = draft.version();
        let expires = draft.now().saturating_add(self.expires_in);
        draft.add_receipt(Receipt {
            delivery: *delivery,
            version,
            folder,
            uid,
            expires,
        });
        Ok(Delivered::Now(Place { folder, uid, version }))
    }
}

impl Deliver {
    /// The folder asked for if it can take a message, else INBOX: a rule that names a folder which was removed or
    /// renamed must not lose mail.
    fn folder(&self, draft: &Draft<'_>) -> Result<FolderId, Failure> {
        let asked = &self.recipient.folder;
        let named = if asked.is_empty() {
            None
        } else {
            names::parse(asked).ok()
        };
        let named = named.and_then(|name| draft.folder_named(&name)).map(|row| row.id);
        let able = named
            .filter(|id| draft.has_uids(*id, 1).is_ok())
            .unwrap_or(FolderId::INBOX);
        draft.has_uids(able, 1)?;
        Ok(able)
    }
}
