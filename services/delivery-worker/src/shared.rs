//! What all parts of a worker use.

use std::sync::Arc;
use std::time::Duration;

use postrider_proto::Link;
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_queue::engine::WakeUp;
use postrider_queue::{Claim, Claimed, Queue, Report, Ticket};
use postrider_runtime::{Budget, Trace};
use postrider_smtp::client;
use postrider_types::ContentId;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::content::Reader;
use crate::keep::{Keeper, Kept};
use crate::record::Record;
use crate::resolve::{Resolver, Trouble};
use crate::settings::Settings;
use crate::site::Site;
use crate::{attempt, notify};

/// When a unit is looked at again whose row did not answer.
pub const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long to wait until an outcome that could not be recorded is recorded again: at first, and at most.
const RECORD_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Outcomes recorded beside their connections at most: what a crash makes us send twice.
pub const RECORDING: usize = 256;

/// What all parts of a worker use.
pub struct Shared {
    pub queue: Queue,
    pub settings: Settings,
    pub store: MailStoreClient<Link>,
    pub directory: DirectoryClient<Link>,
    pub record: Record,
    pub budget: Budget,
    pub resolver: Resolver,
    /// How connections speak, with STARTTLS as configured, and without it.
    pub speech: Speech,
    pub tls: Arc<rustls::ClientConfig>,
    /// Connections to all sites together.
    pub connections: Arc<Semaphore>,
    /// Sites that get one more connection, which they have counted already.
    pub grow: mpsc::Sender<Arc<Site>>,
    /// Claims that are being sent.
    pub keeper: Arc<Keeper>,
    /// Outcomes that are being recorded while their connections go on.
    pub recording: Arc<Semaphore>,
    /// Attempts and connections under way.
    pub tasks: TaskTracker,
    /// No new work.
    pub drain: CancellationToken,
    /// No work at all: what is still under way is given up.
    pub stop: CancellationToken,
}

/// The two ways to speak.
pub struct Speech {
    pub usual: Arc<client::Config>,
    pub clear: Arc<client::Config>,
}

impl Shared {
    /// Claims a unit that is about to be tried. `None`: it is not to be tried, or not by us.
    pub async fn claim(self: &Arc<Self>, wake_up: WakeUp) -> Option<Claim> {
        match self.queue.claim(wake_up.clone()).await {
            Ok(Claimed::Yes(claim)) if claim.only_tells() => {
                self.finish(claim, Report::default()).await;
                None
            }
            Ok(Claimed::Yes(claim)) => Some(claim),
            Ok(Claimed::Stale | Claimed::Suspended) => None,
            Err(error) => {
                tracing::warn!(%error, "a unit could not be claimed; it is tried again");
                self.queue.again(wake_up, ASK_AGAIN).await;
                None
            }
        }
    }

    /// Records what an attempt brought, with the notifications that follow from it.
    ///
    /// While that cannot be recorded (a full disk, say) it is tried again for as long as the worker runs, and the claim is
    /// kept: a unit whose outcome is forgotten is sent again, and again, by whoever claims it next.
    pub async fn finish(self: &Arc<Self>, claim: Claim, report: Report) {
        let verdict = self.queue.judge(&claim, &report);
        let after = &verdict.unit;
        let unit = after.new.id;
        let notifications = if verdict.notices.is_empty() {
            Ok(Vec::new())
        } else {
            notify::compose(self, after, &verdict.notices).await
        };
        let (mut wait, mut kept) = (RECORD_AGAIN.0, None);
        let done = loop {
            let done = match &notifications {
                Ok(notifications) => self.queue.finish(&claim, &verdict, notifications).await,
                Err(_) => {
                    self.queue
                        .finish_owing(&claim, &verdict, self.settings.owed)
                        .await
                }
            };
            match done {
                Err(error) if error.is_temporary() && !self.stop.is_cancelled() => {
                    tracing::warn!(%unit, %error, "an outcome cannot be recorded; it is tried again");
                    kept.get_or_insert_with(|| self.keep(claim.ticket()));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.stop.cancelled() => {}
                    }
                    wait = (wait * 2).min(RECORD_AGAIN.1);
                }
                done => break done,
            }
        };
        if matches!(done, Ok(true)) {
            self.record.report(after, &report);
        }
        match &notifications {
            Ok(_) if matches!(done, Ok(true)) => {
                for notice in &verdict.notices {
                    let kind = notify::kind_name(notice.kind);
                    self.record.notified(after, kind, format!("unit {}", notice.id));
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%unit, %error, "a notification could not be made now; it stays owed");
            }
        }
        log_finish(unit, done);
    }

    /// As [`Shared::finish`], beside the connection, which can go on with its next message meanwhile. Waits only while too
    /// many others are being recorded.
    pub async fn finish_aside(self: &Arc<Self>, claim: Claim, report: Report, kept: Kept) {
        let place = self.recording.clone().acquire_owned().await;
        let shared = self.clone();
        self.tasks.spawn(async move {
            shared.finish(claim, report).await;
            drop((kept, place));
        });
    }

    /// The whole unit failed, or has to wait, for one reason.
    pub async fn finish_all(self: &Arc<Self>, claim: Claim, began: u64, trouble: &Trouble) {
        use postrider_queue::Outcome;
        let outcome = if trouble.permanent {
            Outcome::Failed
        } else {
            Outcome::Later
        };
        let report = attempt::same_for_all(claim.unit(), began, outcome, &trouble.reply);
        self.finish(claim, report).await;
    }

    /// Gives a claim back untried.
    pub async fn give_back(&self, claim: Claim) {
        if let Err(error) = self.queue.give_back(claim, Duration::ZERO).await {
            tracing::warn!(%error, "a claim could not be given back; its lease will pass");
        }
    }

    /// Reads a content.
    pub fn reader(&self, content: ContentId, at: u64, end: u64) -> Reader {
        Reader::new(self.store.clone(), self.budget.clone(), content, at, end)
    }

    /// Renews a claim for as long as the guard lives.
    pub fn keep(&self, ticket: Ticket) -> Kept {
        self.keeper.keep(ticket)
    }
}

/// A span of the message's trace for an attempt, and the trace below it; neither for a message that is not traced.
pub fn span(claim: &Claim, host: &str) -> (tracing::Span, Option<Trace>) {
    let new = &claim.unit().new;
    match new.trace.parse::<Trace>() {
        Ok(trace) if trace.is_sampled() => {
            let make =
                || tracing::info_span!("attempt", unit = %new.id, host, attempts = claim.unit().attempts);
            let (span, below) = trace.span(make);
            (span, Some(below))
        }
        _ => (tracing::Span::none(), None),
    }
}

fn log_finish(unit: postrider_types::UnitId, done: postrider_queue::Result<bool>) {
    match done {
        Ok(true) => {}
        Ok(false) => tracing::warn!(%unit, "the claim was lost before its outcome was recorded"),
        Err(error) => {
            tracing::error!(%unit, %error, "an outcome could not be recorded; the unit is tried again")
        }
    }
}
