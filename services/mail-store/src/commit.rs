//! The commit loop: an account's operations, one after the other, merged while they wait.
//!
//! Operations on one account wait in its [`Lane`]. Whoever finds the lane idle starts a task that takes what waits,
//! plans it all against one [`Draft`] and has the engine commit that; meanwhile the next ones gather. So a storm of
//! deliveries to one account costs few commits, and a single delivery is not delayed.
//!
//! Another instance may work on the same account. Nothing is answered from a stale view:
//! * The engine refuses a commit on top of an old version (`Conflict`): the changes in between are read, and
//!   everything is planned again, for as long as [`PATIENCE`] and with random pauses; instances that meet at an account take turns
//!   (`courtesy`).
//! * Receipts and Message-IDs that are probably new are not asked for; a commit that puts what is there is refused (`Known`), and everything
//!   is planned again with all answers.
//! * An operation that fails, or changes nothing, is answered only when the head confirms the version it was planned on
//!   (unless this is known to be the only instance).
//! * When the outcome of a commit is unknown, the head tells: it carries the id of its last commit. If another commit
//!   has followed, the change row of the version in question is compared with ours.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::global;
use opentelemetry::metrics::{Counter, Histogram};
use parking_lot::Mutex;
use postrider_proto::{Failure, Kind};
use postrider_store::account::{Change, ChangeRow, Outcome};
use postrider_store::{AccountEngine, Error};
use postrider_types::{AccountId, CommitId, ContentId, Version};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cache::Account;
use crate::clock;
use crate::draft::{Draft, Sealed};
use crate::failure::{storage, unavailable};
use crate::lookup::{Asking, Questions};
use crate::service::Service;
use crate::state::State;
use crate::weight::Weight;

static COMMITS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    meter
        .u64_counter("mailstore.commits")
        .with_description("Commits that were made")
        .build()
});
static CONFLICTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    meter
        .u64_counter("mailstore.commit.conflicts")
        .with_description("Commits refused for an old version")
        .build()
});
static UNKNOWN: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    meter
        .u64_counter("mailstore.commit.unknown")
        .with_description("Commits of unknown outcome")
        .build()
});
static MERGED: LazyLock<Histogram<u64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    let histogram = meter.u64_histogram("mailstore.commit.operations");
    histogram
        .with_description("Operations merged into one commit")
        .build()
});

/// How long a batch is planned again and again before its callers are told to come again: half of the time they have.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the head is asked for the fate of a commit.
const MAX_QUESTIONS: u32 = 8;
/// The most operations of one account that wait; more are refused for now.
const MAX_WAITING: usize = 4096;
/// The most bytes of content they may hold.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// Rows of changes read in one call when another instance has to be caught up with.
const CATCH_UP: usize = 256;
/// Folder indexes are saved when this many small commits, or large ones of as much effort, have touched them: opening a folder follows
/// those that came since.
const SAVE_EVERY: u32 = 512;

/// One operation on an account.
///
/// `plan` may run several times: it decides by the draft alone, checks everything before its first effect, and has no
/// effect when it fails.
#[async_trait]
pub(crate) trait Operation: Send + Sync + 'static {
    /// What the caller gets.
    type Output: Send + 'static;

    /// What it may put into a commit at most.
    fn weight(&self) -> Weight {
        Weight::ONE
    }

    /// Asks what `plan` wants to know, together with other operations.
    fn look_up(&self, _questions: &mut Questions) {}

    /// Does it to the draft.
    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Self::Output, Failure>;
}

/// Where an account's operations wait.
#[derive(Default)]
pub(crate) struct Lane(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn Job>>,
    bytes: usize,
    running: bool,
}

/// An operation with its caller, whatever its output.
#[async_trait]
trait Job: Send {
    fn weight(&self) -> Weight;
    fn look_up(&self, questions: &mut Questions);
    /// Plans it; false when it failed.
    async fn plan(&mut self, draft: &mut Draft<'_>) -> bool;
    /// Answers the caller with what the last `plan` gave, or with the failure.
    fn answer(self: Box<Self>, failure: Option<&Failure>);
}

struct Task<O: Operation> {
    operation: O,
    result: Option<Result<O::Output, Failure>>,
    caller: oneshot::Sender<Result<O::Output, Failure>>,
}

#[async_trait]
impl<O: Operation> Job for Task<O> {
    fn weight(&self) -> Weight {
        self.operation.weight()
    }

    fn look_up(&self, questions: &mut Questions) {
        self.operation.look_up(questions);
    }

    async fn plan(&mut self, draft: &mut Draft<'_>) -> bool {
        let result = self.operation.plan(draft).await;
        let done = result.is_ok();
        self.result = Some(result);
        done
    }

    fn answer(self: Box<Self>, failure: Option<&Failure>) {
        let never = || Err(Failure::new(Kind::Internal, "the operation was not planned"));
        let result = match failure {
            Some(failure) => Err(failure.clone()),
            None => self.result.unwrap_or_else(never),
        };
        // A caller that has gone away needs no answer.
        let _ = self.caller.send(result);
    }
}

/// Runs an operation on an account: when this returns `Ok`, it is durable. It runs to its end even if the caller goes away.
pub(crate) async fn run<O: Operation>(
    service: &Arc<Service>,
    account: AccountId,
    operation: O,
) -> Result<O::Output, Failure> {
    let entry = service.accounts.get(account);
    let (caller, answer) = oneshot::channel();
    let weight = operation.weight();
    let idle = {
        let mut waiting = entry.lane.0.lock();
        if waiting.jobs.len() >= MAX_WAITING
            || waiting.bytes.saturating_add(weight.content) > MAX_WAITING_BYTES
        {
            return Err(unavailable("too many operations wait for this account"));
        }
        waiting.bytes += weight.content;
        waiting.jobs.push_back(Box::new(Task {
            operation,
            result: None,
            caller,
        }));
        !std::mem::replace(&mut waiting.running, true)
    };
    if idle {
        tokio::spawn(drain(service.clone(), entry));
    }
    answer.await.unwrap_or_else(|_| {
        Err(Failure::new(
            Kind::Internal,
            "the operation was lost; its outcome is unknown",
        ))
    })
}

/// Works until the lane is empty.
async fn drain(service: Arc<Service>, account: Arc<Account>) {
    let running = Running(&account);
    loop {
        account.courtesy.give_way().await;
        let Some(jobs) = account.lane.take_batch(service.most) else {
            break;
        };
        work(&service, &account, jobs).await;
        service.accounts.weigh(&account);
    }
    // The lane went idle under its lock, as the batch turned out empty.
    std::mem::forget(running);
}

/// Frees the lane should the worker die of a defect, so that one bad operation does not stop an account for ever.
struct Running<'a>(&'a Account);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.lane.0.lock() = Waiting::default();
        self.0.set_state(None);
    }
}

impl Lane {
    /// The next operations to merge; `None` leaves the lane idle.
    fn take_batch(&self, most: Weight) -> Option<Vec<Box<dyn Job>>> {
        let mut waiting = self.0.lock();
        let mut batch = Vec::new();
        let mut sum = Weight::default();
        while let Some(job) = waiting.jobs.front() {
            let weight = job.weight();
            sum = sum.and(weight);
            if !sum.fits(most) && !batch.is_empty() {
                break;
            }
            waiting.bytes = waiting.bytes.saturating_sub(weight.content);
            batch.extend(waiting.jobs.pop_front());
        }
        waiting.running = !batch.is_empty();
        waiting.running.then_some(batch)
    }
}

/// Brings a batch to its end and answers its callers.
async fn work(service: &Arc<Service>, account: &Arc<Account>, mut jobs: Vec<Box<dyn Job>>) {
    let gate = account.gate.lock().await;
    let done = attempts(service, account, &mut jobs).await;
    let later = [Kind::Unavailable, Kind::Deadline];
    let never = matches!(&done, Err(failure) if !later.contains(&failure.kind));
    if jobs.len() == 1 || !never {
        drop(gate);
        return settle(service, account, jobs, done).await;
    }
    // What can never be committed (its content is gone, say) must not take with it what happened to wait beside it.
    for job in jobs {
        let mut alone = vec![job];
        let done = attempts(service, account, &mut alone).await;
        settle(service, account, alone, done).await;
    }
}

/// Answers callers.
async fn settle(
    service: &Arc<Service>,
    account: &Account,
    jobs: Vec<Box<dyn Job>>,
    done: Result<Option<Version>, Failure>,
) {
    match done {
        Ok(version) => {
            jobs.into_iter().for_each(|job| job.answer(None));
            if let Some(version) = version {
                service.moved(account, version).await;
            }
        }
        Err(failure) => jobs.into_iter().for_each(|job| job.answer(Some(&failure))),
    }
}

/// Plans and commits until it is done; the new version, if there is one.
async fn attempts(
    service: &Service,
    account: &Account,
    jobs: &mut [Box<dyn Job>],
) -> Result<Option<Version>, Failure> {
    let engine = &*service.engine;
    // Whether the state was read from the engine for this very batch.
    let mut fresh = false;
    let mut asking = Asking::Likely;
    let mut begun = Instant::now();
    let until = begun + PATIENCE;
    let (mut first, mut lost) = (true, 0);
    if account.courtesy.is_shared()
        && let Some(state) = account.state()
        && !is_current(engine, account.id, &state).await?
    {
        // Cheaper than to be refused.
        account.courtesy.met();
        catch_up(engine, account, &state).await?;
        fresh = true;
    }
    while std::mem::take(&mut first) || Instant::now() < until {
        let Some(state) = account.state() else {
            let rows = engine.folders(account.id).await.map_err(storage)?;
            account.set_state(Some(State::new(rows)));
            fresh = true;
            continue;
        };
        let Planned {
            sealed,
            sure,
            left_out,
        } = plan(engine, account.id, &state, jobs, asking).await?;
        if !sure && left_out {
            // No commit will tell whether an operation that had no effect would have had the same answer.
            asking = Asking::All;
            continue;
        }
        if !sure && !fresh && !service.config.sole_instance && !is_current(engine, account.id, &state).await?
        {
            catch_up(engine, account, &state).await?;
            fresh = true;
            continue;
        }
        let Some(Sealed { commit, step }) = sealed else {
            return Ok(None);
        };
        let (version, id, change) = (
            commit.head.version,
            commit.head.last_commit,
            commit.change.clone(),
        );
        let first_content = commit.rows.put_messages.first().map(|row| row.content);
        let outcome = match engine.commit(commit).await {
            Ok(outcome) => outcome,
            Err(Error::Unknown(reason)) => {
                UNKNOWN.add(1, &[]);
                tracing::warn!(account = %account.id, %version, reason, "outcome of a commit unknown, asking");
                match resolve(engine, account.id, id, &change, first_content).await {
                    Ok(outcome) => outcome,
                    // Whatever kept it from finding out: it is not known.
                    Err(error) => {
                        account.set_state(None);
                        return Err(storage(Error::Unknown(error.to_string())));
                    }
                }
            }
            Err(error) => return Err(storage(error)),
        };
        match outcome {
            Outcome::Committed => {
                COMMITS.add(1, &[]);
                MERGED.record(jobs.len() as u64, &[]);
                account.courtesy.committed(begun.elapsed());
                // Readers aside, nobody else holds the state now, so that it is changed in place.
                drop(state);
                account.with_state(|state| state.step(step));
                return Ok(Some(version));
            }
            Outcome::Conflict => {
                CONFLICTS.add(1, &[]);
                tracing::debug!(account = %account.id, %version, lost, "conflict, trying again");
                account.courtesy.met();
                pause(lost).await;
                lost += 1;
                begun = Instant::now();
                catch_up(engine, account, &state).await?;
                fresh = true;
            }
            Outcome::Known => asking = Asking::All,
        }
    }
    tracing::warn!(account = %account.id, lost, "other instances were faster for {PATIENCE:?}");
    Err(unavailable("the account is changed by others all the time"))
}

/// A batch that was planned on top of a state.
struct Planned {
    sealed: Option<Sealed>,
    /// Nothing failed and every operation has an effect, so that the commit itself will prove that the state is current and that nothing
    /// was there that was not asked for.
    sure: bool,
    /// Something was not asked for.
    left_out: bool,
}

/// Plans the batch on top of a state.
async fn plan(
    engine: &dyn AccountEngine,
    account: AccountId,
    state: &State,
    jobs: &mut [Box<dyn Job>],
    asking: Asking,
) -> Result<Planned, Failure> {
    let mut questions = Questions::new(asking);
    jobs.iter().for_each(|job| job.look_up(&mut questions));
    let left_out = questions.left_out();
    let lookups = questions.ask(engine, account).await?;
    let mut draft = Draft::new(engine, account, state, lookups, clock::now());
    let mut sure = true;
    for job in jobs {
        let before = draft.effects();
        let done = job.plan(&mut draft).await;
        debug_assert!(
            done || before == draft.effects(),
            "a failed operation must have no effect"
        );
        sure &= done && before != draft.effects();
    }
    Ok(Planned {
        sealed: draft.seal().await?,
        sure,
        left_out,
    })
}

/// Whether the engine has nothing newer.
pub(crate) async fn is_current(
    engine: &dyn AccountEngine,
    account: AccountId,
    state: &State,
) -> Result<bool, Failure> {
    let head = engine.head(account).await.map_err(storage)?;
    Ok(head.map_or(Version(0), |head| head.version) == state.version())
}

/// Brings the cached state to what the engine has, indexes included as far as the change rows reach.
async fn catch_up(engine: &dyn AccountEngine, account: &Account, state: &Arc<State>) -> Result<(), Failure> {
    let rows = engine.folders(account.id).await.map_err(storage)?;
    let target = rows.as_ref().map_or(Version(0), |(head, _)| head.version);
    let mut changes: Vec<ChangeRow> = Vec::new();
    // Far behind, it is cheaper to load indexes again from their snapshots.
    while changes.len() < 4 * CATCH_UP {
        let after = changes.last().map_or(state.version(), |row| row.version);
        if after >= target {
            break;
        }
        let page = engine
            .changes(account.id, after, CATCH_UP)
            .await
            .map_err(storage)?;
        let last = page.len() < CATCH_UP;
        changes.extend(page);
        if last {
            break;
        }
    }
    account.with_state_if(
        |now| now.version() == state.version(),
        |state| state.advance(rows, changes),
    );
    Ok(())
}

/// Finds out what became of a commit whose outcome is unknown.
async fn resolve(
    engine: &dyn AccountEngine,
    account: AccountId,
    id: CommitId,
    change: &ChangeRow,
    first_content: Option<ContentId>,
) -> Result<Outcome, Error> {
    let mut asked = 0;
    loop {
        match fate(engine, account, id, change, first_content).await {
            Err(error) if error.is_temporary() && asked < MAX_QUESTIONS => {
                asked += 1;
                pause(asked + 2).await;
            }
            result => return result,
        }
    }
}

async fn fate(
    engine: &dyn AccountEngine,
    account: AccountId,
    id: CommitId,
    change: &ChangeRow,
    first_content: Option<ContentId>,
) -> Result<Outcome, Error> {
    let head = engine.head(account).await?;
    let Some(head) = head.filter(|head| head.version >= change.version) else {
        return Ok(Outcome::Conflict);
    };
    if head.version == change.version {
        return Ok(if head.last_commit == id {
            Outcome::Committed
        } else {
            Outcome::Conflict
        });
    }
    // Another commit has followed. Our change row (its millisecond, folders, UIDs and flags) tells whether the version
    // is ours; and should somebody have appended something at the same millisecond, the content there does.
    let before = Version(change.version.0.saturating_sub(1));
    let row = engine.changes(account, before, 1).await?.into_iter().next();
    if row.as_ref() != Some(change) {
        return Ok(Outcome::Conflict);
    }
    let added = change.changes.iter().find_map(|change| match change {
        Change::Added(folder, messages) => messages.first().map(|message| (*folder, message.uid)),
        _ => None,
    });
    if let (Some((folder, uid)), Some(content)) = (added, first_content) {
        let rows = engine.messages_by_uid(account, folder, &[uid]).await?;
        if rows.first().is_some_and(|row| row.content != content) {
            return Ok(Outcome::Conflict);
        }
    }
    Ok(Outcome::Committed)
}

/// Waits a random while that grows with the attempts: 0 to 1 ms first, up to 32 ms. Not longer: who lost has the turn.
async fn pause(attempt: u32) {
    let most = 1000_u64 << attempt.min(5);
    tokio::time::sleep(Duration::from_micros(rand::random_range(0..=most))).await;
}

impl Service {
    /// An account has a new version: tells those who watch it, here and elsewhere, and saves indexes that are due.
    async fn moved(self: &Arc<Self>, account: &Account, version: Version) {
        self.watchers.moved(account.id, version);
        self.hints.announce(account.id, version).await;
        let due = account
            .with_state_if(
                |state| state.has_unsaved(SAVE_EVERY),
                |state| state.take_unsaved(SAVE_EVERY),
            )
            .unwrap_or_default();
        for (folder, index) in due {
            self.save_index(account.id, folder, index);
        }
    }
}
