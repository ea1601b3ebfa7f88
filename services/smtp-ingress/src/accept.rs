//! The acceptance rule: 250 means that every accepted recipient is durable.
//!
//! A local recipient is durable when the account's log holds the message, a remote one when its unit is in the queue. SMTP
//! answers a message once for all its recipients, and the sender repeats what was not answered with 250. So two things must
//! not happen: 250 while a recipient has nothing durable (lost), and a refusal while some recipient has the message
//! (doubled by the repetition). With one target neither can, because one thing is done or not done. With several, some of
//! them may fail after others have succeeded, and nothing makes several accounts and a queue one transaction. Hence
//! *intent first*:
//!
//! 1. The content is stored. Alone it is garbage that is swept: nothing has happened yet. (A small one for remote
//!    recipients only goes into the queue with its units.)
//! 2. **One** call puts all units into the queue: the remote ones, due now, and one local unit with all local recipients,
//!    due in a minute. All or none: before it nothing has happened, after it every recipient is durable. From here on the
//!    answer is 250.
//! 3. The local recipients are delivered to, each under the delivery id that stands in the unit, and those who have it are
//!    taken out of the unit. Whoever is left there (temporary failure, crash of this process) gets it from a worker under
//!    the same id, so nobody gets it twice; whoever never gets it (over quota to the end) fails there, and the sender is
//!    notified.
//!
//! A single local target is delivered to directly, in one commit. If that cannot finish in time it becomes a local unit
//! with the same delivery id. If that fails too while the outcome is unknown, it is tried again for a moment
//! ([`Timeouts::settling`](crate::config::Timeouts::settling)). Only then is the answer 451; [`crate::identity`] keeps the ids for
//! the sender's next attempt, and the other instances are told, since it may come to any of them. The same holds for several local
//! recipients while the queue is away: they
//! are delivered to directly, and if not all of them can be, 451 is followed by a repetition that finds the receipts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use postrider_proto::mailstore::deliver_request::Content as Given;
use postrider_proto::mailstore::deliver_result::Outcome;
use postrider_proto::mailstore::{DeliverRecipient, DeliverRequest, DeliverResult};
use postrider_proto::{Failure, Kind};
use postrider_queue::{Error as QueueError, NewUnit};
use postrider_runtime::Trace;
use postrider_runtime::journal::{Journal, Step};
use postrider_smtp::Reply;
use postrider_types::{ContentId, FolderId, ReversePath};

use crate::config::Config;
use crate::content::Content;
use crate::identity::{Seed, Unresolved};
use crate::outbound::Outbound;
use crate::plan::{Envelope, Plan, local_unit};
use crate::recipients::{Local, Recipients, first_account};
use crate::replies;
use crate::store::Store;

/// How long the queue is taken to be away after it was.
const AWAY: Duration = Duration::from_secs(5);
/// How often an enqueue whose outcome is unknown is repeated at once.
const TRIES: usize = 3;
/// Between two looks at what is not known.
const LOOK: Duration = Duration::from_secs(2);

/// A message that is whole and may be accepted.
pub(crate) struct Message {
    pub content: Content,
    pub envelope: Envelope,
    pub fingerprint: u128,
    /// For its ids, unless it is the repetition of one that was not resolved.
    pub seed: Seed,
    pub trace: Trace,
    /// Where it came from, for the journal.
    pub detail: String,
}

/// What has become of a message.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub content: ContentId,
}

/// Why a message is not accepted.
#[derive(Debug)]
struct Refused {
    reply: Reply,
    /// Something may have been done all the same.
    unresolved: bool,
}

impl Refused {
    fn clean(reply: Reply) -> Self {
        Self {
            reply,
            unresolved: false,
        }
    }

    fn unresolved() -> Self {
        Self {
            reply: replies::try_later(),
            unresolved: true,
        }
    }
}

/// What has become of a message to one local recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It is durable.
    Yes,
    /// This attempt did nothing.
    No,
    /// Nobody knows.
    Unknown,
}

pub(crate) struct Acceptor {
    store: Store,
    outbound: Arc<dyn Outbound>,
    journal: Arc<dyn Journal>,
    config: Arc<Config>,
    pub(crate) unresolved: Unresolved,
    /// The queue was away; until when that is believed, in milliseconds since the Unix epoch.
    queue_away_until: AtomicU64,
}

/// A message under way through the rule.
struct Work<'a> {
    content: Content,
    /// The id of content that is delivered without having been stored before.
    inline_id: ContentId,
    envelope: &'a Envelope,
    trace: &'a Trace,
    seed: Seed,
    received: u64,
}

impl Acceptor {
    pub(crate) fn new(
        store: Store,
        outbound: Arc<dyn Outbound>,
        journal: Arc<dyn Journal>,
        config: Arc<Config>,
        unresolved: Unresolved,
    ) -> Self {
        let queue_away_until = AtomicU64::new(0);
        Self {
            store,
            outbound,
            journal,
            config,
            unresolved,
            queue_away_until,
        }
    }

    /// Whether the queue is known to be away: remote recipients are then refused for now at RCPT already.
    pub(crate) fn queue_is_away(&self) -> bool {
        let until = self.queue_away_until.load(Ordering::Relaxed);
        until != 0 && millis() < until
    }

    /// Accepts a message for its recipients, or says what to answer instead.
    pub(crate) async fn accept(&self, message: Message, recipients: Recipients) -> Result<Accepted, Reply> {
        let Message {
            content,
            envelope,
            fingerprint,
            seed,
            trace,
            detail,
        } = message;
        // The content is this attempt's own: its `Received:` differs from an earlier one's, so its id does too.
        let inline_id = seed.content();
        let fresh = seed;
        let seed = self.unresolved.seed(fingerprint, fresh);
        let plan = Plan::new(recipients, &envelope.sender);
        let id = match &content {
            Content::Inline(_) => inline_id,
            Content::Stored(id) => *id,
        };
        let mut work = Work {
            content,
            inline_id,
            envelope: &envelope,
            trace: &trace,
            seed,
            received: millis(),
        };
        let done = self.carry_out(&mut work, &plan).await;
        let id = match &work.content {
            Content::Inline(_) => id,
            Content::Stored(id) => *id,
        };
        match done {
            Ok(()) => {
                if seed != fresh {
                    self.unresolved.forget(fingerprint);
                }
                self.note(&work, "accepted", id, "", detail);
                Ok(Accepted { content: id })
            }
            Err(refused) => {
                // What an earlier attempt may have done is not undone by a refusal of this one.
                if refused.unresolved || (seed != fresh && refused.reply.is_temporary()) {
                    self.unresolved.keep(fingerprint, seed);
                } else if seed != fresh {
                    self.unresolved.forget(fingerprint);
                }
                self.note(&work, "refused", id, "", format!("{detail}: {}", refused.reply));
                Err(refused.reply)
            }
        }
    }

    async fn carry_out(&self, work: &mut Work<'_>, plan: &Plan) -> Result<(), Refused> {
        match (&plan.direct[..], plan.needs_queue()) {
            ([], false) => Err(Refused::clean(replies::try_later())),
            ([only], false) => self.deliver_one(work, only).await,
            ([], true) => self.enqueue_all(work, plan).await,
            (several, _) => self.intent_first(work, plan, several).await,
        }
    }

    /// Nobody is delivered to here: the content and its units are one step of the queue.
    async fn enqueue_all(&self, work: &mut Work<'_>, plan: &Plan) -> Result<(), Refused> {
        let (content, body) = match &work.content {
            Content::Stored(id) => (*id, None),
            Content::Inline(bytes) => (work.inline_id, Some(bytes.clone())),
        };
        let units = plan.units(work.envelope, content, &work.seed);
        self.enqueue(work, units, body).await
    }

    /// One local target and nothing else.
    async fn deliver_one(&self, work: &mut Work<'_>, local: &Local) -> Result<(), Refused> {
        let until = Instant::now() + self.config.timeouts.settling;
        let mut unknown = false;
        loop {
            match self.deliver_or_queue(work, local).await? {
                Taken::Yes => return Ok(()),
                Taken::No => {}
                Taken::Unknown => unknown = true,
            }
            if !unknown || Instant::now() >= until {
                return Err(Refused::unresolved());
            }
            tracing::debug!(account = %local.account, "whether a message was delivered is not known yet");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tries to deliver to one local target; what cannot be done in time becomes a unit. An error is certain.
    async fn deliver_or_queue(&self, work: &mut Work<'_>, local: &Local) -> Result<Taken, Refused> {
        let alone = std::slice::from_ref(local);
        let (why, mut taken) = match self.deliver(work, alone).await {
            Ok(mut results) => {
                let result = results.pop().unwrap_or_default();
                match result.outcome() {
                    Outcome::Delivered | Outcome::AlreadyDelivered => return Ok(Taken::Yes),
                    Outcome::OverQuota => {
                        let never = local.quota > 0 && work.envelope.size > local.quota;
                        let reply = if never {
                            replies::larger_than_mailbox()
                        } else {
                            replies::mailbox_full()
                        };
                        return Err(Refused::clean(reply));
                    }
                    Outcome::Unknown => (result.detail, Taken::Unknown),
                    Outcome::Temporary | Outcome::Unspecified => (result.detail, Taken::No),
                }
            }
            Err(failure) if failure.kind == Kind::Invalid => return Err(Refused::clean(refusal(&failure))),
            Err(failure) if failure.kind == Kind::Deadline => (failure.message, Taken::Unknown),
            Err(failure) => (failure.message, Taken::No),
        };
        tracing::debug!(account = %local.account, why, "local delivery goes to the queue");
        // The delivery may still succeed, or have succeeded: the unit has its id, so it happens once.
        let Ok(content) = self.stored(work, alone).await else {
            return Ok(taken);
        };
        let due = work
            .received
            .saturating_add(as_millis(self.config.timeouts.delivery));
        let unit = local_unit("late", alone, work.envelope, content, &work.seed, due);
        match self.enqueue(work, vec![unit], None).await {
            Ok(()) => return Ok(Taken::Yes),
            Err(refused) if refused.unresolved => taken = Taken::Unknown,
            Err(_) => {}
        }
        Ok(taken)
    }

    /// Several targets, at least one of them local.
    async fn intent_first(&self, work: &mut Work<'_>, plan: &Plan, locals: &[Local]) -> Result<(), Refused> {
        let content = self.stored(work, locals).await?;
        if !plan.needs_queue() && self.queue_is_away() {
            return self.deliver_without_queue(work, locals).await;
        }
        let due = work
            .received
            .saturating_add(as_millis(self.config.timeouts.intent));
        let intent = local_unit("intent", locals, work.envelope, content, &work.seed, due);
        let intent_id = intent.id;
        let mut units = plan.units(work.envelope, content, &work.seed);
        units.push(intent);
        match self.enqueue(work, units, None).await {
            Ok(()) => {}
            Err(refused) if plan.needs_queue() || refused.unresolved => return Err(refused),
            Err(_) => return self.deliver_without_queue(work, locals).await,
        }
        // Every recipient is durable; whatever fails from here on is the queue's to repeat.
        match self.deliver(work, locals).await {
            Ok(results) => {
                let delivered: Vec<_> = locals
                    .iter()
                    .zip(&results)
                    .filter(|(_, result)| is_delivered(result))
                    .map(|(local, _)| work.seed.delivery(local.account))
                    .collect();
                let settling = self.outbound.settle_local(intent_id, &delivered);
                match tokio::time::timeout(self.config.timeouts.delivery, settling).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(unit = %intent_id, %error, "the queue will find the receipts")
                    }
                    Err(_) => tracing::warn!(unit = %intent_id, "the queue will find the receipts"),
                }
            }
            Err(failure) => {
                tracing::debug!(unit = %intent_id, %failure, "local deliveries are left to the queue")
            }
        }
        Ok(())
    }

    /// Several local targets while the queue is away.
    async fn deliver_without_queue(&self, work: &mut Work<'_>, locals: &[Local]) -> Result<(), Refused> {
        let results = self
            .deliver(work, locals)
            .await
            .map_err(|_| Refused::unresolved())?;
        if results.len() == locals.len() && results.iter().all(is_delivered) {
            return Ok(());
        }
        Err(Refused::unresolved())
    }

    /// Puts content for these accounts into the store, unless it is there; its id.
    async fn stored(&self, work: &mut Work<'_>, locals: &[Local]) -> Result<ContentId, Refused> {
        let bytes = match &work.content {
            Content::Stored(id) => return Ok(*id),
            Content::Inline(bytes) => bytes.clone(),
        };
        let stored = self
            .store
            .put(
                bytes,
                first_account(locals),
                work.trace,
                self.config.timeouts.storage,
            )
            .await;
        let id = stored.map_err(|failure| {
            tracing::warn!(%failure, "a message could not be stored");
            Refused::clean(refusal(&failure))
        })?;
        work.content = Content::Stored(id);
        Ok(id)
    }

    /// Delivers to accounts; the results in the order of `locals`.
    async fn deliver(&self, work: &Work<'_>, locals: &[Local]) -> Result<Vec<DeliverResult>, Failure> {
        let (given, inline_id) = match &work.content {
            Content::Inline(bytes) => (Given::Inline(bytes.clone()), work.inline_id.as_bytes().to_vec()),
            Content::Stored(id) => (Given::ContentId(id.as_bytes().to_vec().into()), Vec::new()),
        };
        let recipient = |local: &Local| DeliverRecipient {
            account: local.account.get(),
            delivery_id: work.seed.delivery(local.account).as_bytes().to_vec().into(),
            quota: local.quota,
            ..DeliverRecipient::default()
        };
        let request = DeliverRequest {
            content: Some(given),
            recipients: locals.iter().map(recipient).collect(),
            received: work.received,
            inline_id: inline_id.into(),
        };
        let answer = self
            .store
            .deliver(request, work.trace, self.config.timeouts.delivery)
            .await?;
        let id = ContentId::from_slice(&answer.content_id).unwrap_or_default();
        for (local, result) in locals.iter().zip(&answer.results) {
            let (step, detail) = match result.outcome() {
                Outcome::Delivered => ("stored", place(result.folder, result.uid)),
                Outcome::AlreadyDelivered => ("stored", "by an earlier attempt".into()),
                Outcome::OverQuota => ("deferred", "over quota".into()),
                Outcome::Temporary | Outcome::Unknown | Outcome::Unspecified => {
                    ("deferred", result.detail.clone())
                }
            };
            self.note(work, step, id, &local.recipient.address.to_string(), detail);
        }
        Ok(answer.results)
    }

    /// Puts units into the queue: all of them or none.
    async fn enqueue(
        &self,
        work: &Work<'_>,
        units: Vec<NewUnit>,
        body: Option<Bytes>,
    ) -> Result<(), Refused> {
        let steps: Vec<Step> = units.iter().flat_map(|unit| queued_steps(work, unit)).collect();
        let until = Instant::now() + self.config.timeouts.settling;
        let mut unknown = false;
        for attempt in 1.. {
            let call = self.outbound.enqueue(units.clone(), body.clone());
            let outcome = tokio::time::timeout(self.config.timeouts.storage, call).await;
            let again = match outcome {
                Ok(Ok(())) => {
                    self.queue_away_until.store(0, Ordering::Relaxed);
                    steps.into_iter().for_each(|step| self.journal.record(step));
                    return Ok(());
                }
                // Units are known by their ids, so the same call may be repeated.
                Ok(Err(QueueError::Unknown(why))) => {
                    tracing::warn!(why, "asking the queue again");
                    unknown = true;
                    attempt < TRIES
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the queue takes nothing");
                    false
                }
                Err(_) => {
                    unknown = true;
                    false
                }
            };
            if !again {
                if !unknown || Instant::now() >= until {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        self.queue_away_until
            .store(millis().saturating_add(as_millis(AWAY)), Ordering::Relaxed);
        Err(Refused {
            reply: replies::try_later(),
            unresolved: unknown,
        })
    }

    /// Records that a recipient was refused before there was a message.
    pub(crate) fn note_refused(&self, sender: &ReversePath, to: String, trace: &Trace, detail: String) {
        let from = sender.0.as_ref().map(ToString::to_string).unwrap_or_default();
        self.journal.record(Step {
            step: "refused".into(),
            from,
            to,
            detail,
            trace: trace.id(),
            ..Step::default()
        });
    }

    fn note(&self, work: &Work<'_>, step: &str, content: ContentId, to: &str, detail: String) {
        self.journal.record(Step {
            content: content.to_string(),
            to: to.into(),
            detail,
            ..step_of(work, step)
        });
    }
}

/// Where a message is, for people.
fn place(folder: u32, uid: u32) -> String {
    match FolderId(folder) {
        FolderId::INBOX => format!("INBOX, UID {uid}"),
        other => format!("folder {other}, UID {uid}"),
    }
}

fn step_of(work: &Work<'_>, step: &str) -> Step {
    Step {
        step: step.into(),
        message_id: work.envelope.message_id.clone(),
        from: work
            .envelope
            .sender
            .0
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        trace: work.trace.id(),
        ..Step::default()
    }
}

/// One step for each recipient.
fn queued_steps(work: &Work<'_>, unit: &NewUnit) -> Vec<Step> {
    let detail = match &unit.destination {
        postrider_queue::Destination::Remote(domain) => format!("for {domain}"),
        postrider_queue::Destination::Local => "for a mailbox here".to_owned(),
    };
    let step = |recipient: &postrider_queue::Recipient| Step {
        content: unit.content.to_string(),
        unit: unit.id.to_string(),
        to: recipient.address.to_string(),
        detail: detail.clone(),
        ..step_of(work, "queued")
    };
    unit.recipients.iter().map(step).collect()
}

fn is_delivered(result: &DeliverResult) -> bool {
    matches!(result.outcome(), Outcome::Delivered | Outcome::AlreadyDelivered)
}

/// What a failure of the mail store is to the sender. Only what can never succeed is refused for good.
pub(crate) fn refusal(failure: &Failure) -> Reply {
    if failure.kind == Kind::Invalid {
        replies::too_large()
    } else {
        replies::try_later()
    }
}

fn as_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, as_millis)
}
