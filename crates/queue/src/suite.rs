//! The contract suite: what every engine must do. An engine's tests call [`queue_suite!`](crate::queue_suite) with a
//! function that makes an empty engine.
//!
//! Everything here panics when the engine breaks the contract: it is test code.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use postrider_types::{AccountId, Address, ContentId, DeliveryId, Domain, ReversePath, UnitId};

use crate::engine::{Change, Lane, Suspension, Units, WakeUp, WakeUps, Written};
use crate::{
    Claimed, Clock, Destination, Error, LocalDelivery, NewUnit, Notify, Outcome, Priority, Queue, Recipient,
    RecipientState, Report, Settings, Settled, State, Unit, Verb,
};

/// A clock that tests move.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicU64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_800_000_000_000)))
    }
}

impl TestClock {
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn advance(&self, time: Duration) {
        self.0
            .fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let time = self.0.clone();
        Arc::new(move || time.load(Ordering::SeqCst))
    }
}

/// An empty engine, and what the suite needs to know of its surroundings.
pub struct Fixture {
    pub units: Arc<dyn Units>,
    pub wake_ups: Arc<dyn WakeUps>,
    pub clock: TestClock,
    /// Puts a content that units can hold.
    pub put_content: Box<dyn Fn() -> BoxFuture<'static, ContentId> + Send + Sync>,
    /// How many units hold a content.
    pub holders: Box<dyn Fn(ContentId) -> BoxFuture<'static, usize> + Send + Sync>,
    /// How long what was said needs to arrive, where it goes through a network.
    pub settle: Duration,
    /// What must stay alive meanwhile.
    pub keep: Box<dyn Send + Sync>,
}

impl Fixture {
    pub fn queue(&self) -> Queue {
        Queue::new(
            self.units.clone(),
            self.wake_ups.clone(),
            Settings::default(),
            self.clock.clock(),
        )
    }

    async fn unit(&self, domain: &str) -> NewUnit {
        new_unit((self.put_content)().await, domain, 1)
    }

    async fn row(&self, domain: &str) -> Unit {
        let new = self.unit(domain).await;
        crate::machine::fresh(new, &Settings::default().retry, self.clock.now()).unwrap()
    }

    async fn take(&self, limit: usize) -> Vec<WakeUp> {
        let taken = tokio::time::timeout(
            Duration::from_secs(5) + self.settle * 20,
            self.wake_ups.take(limit),
        )
        .await;
        taken.expect("a wake-up is due").unwrap()
    }

    async fn takes_nothing(&self) {
        let taken =
            tokio::time::timeout(self.settle.max(Duration::from_millis(50)), self.wake_ups.take(10)).await;
        assert!(taken.is_err(), "nothing is due: {taken:?}");
    }

    async fn claim(&self, row: &Unit) -> Option<Unit> {
        let now = self.clock.now();
        self.units
            .claim(row.new.id, row.generation, now, now + 60_000)
            .await
            .unwrap()
    }
}

/// A unit with so many recipients at a domain.
pub fn new_unit(content: ContentId, domain: &str, recipients: usize) -> NewUnit {
    let recipient = |at| Recipient {
        address: Address::new(&format!("r{at}@{domain}")).unwrap(),
        original: String::new(),
        notify: Notify::default(),
        state: RecipientState::Pending,
        last_reply: String::new(),
        local: None,
    };
    NewUnit {
        id: UnitId::generate(),
        content,
        skip: 0,
        size: 100,
        sender: ReversePath(Some(Address::new("alice@crepes.fr").unwrap())),
        destination: Destination::Remote(Domain::new(domain).unwrap()),
        recipients: (0..recipients).map(recipient).collect(),
        priority: Priority::Normal,
        eight_bit: false,
        utf8: false,
        envelope_id: String::new(),
        return_full: false,
        submitter: Some(AccountId::new(7)),
        trace: String::new(),
        message_id: "1@crepes.fr".into(),
        not_before: 0,
    }
}

fn removal(row: &Unit) -> Change {
    let Unit { new, generation, .. } = row;
    Change {
        id: new.id,
        expected: *generation,
        content: new.content,
        due: row.next_attempt,
        row: None,
        inserts: Vec::new(),
    }
}

/// Stamps every case of the suite out as a test. The argument is an `async fn() -> Fixture`.
#[macro_export]
macro_rules! queue_suite {
    ($make:path) => {
        $crate::queue_suite!(@ $make:
            inserting_is_idempotent, a_content_comes_with_its_units, of_many_claims_one_is_given, a_lapsed_claim_is_given_again, a_claim_can_be_renewed,
            a_claim_is_given_back, changes_compare_generations, a_removed_unit_stays_removed, notices_come_with_the_change,
            pages_show_every_unit_once, overdue_units_are_found, counts_follow, suspensions_persist, wake_ups_wait_until_due,
            first_attempts_do_not_wait_behind_retries, a_dropped_take_loses_nothing, cancelled_is_never_claimed,
            a_unit_runs_to_its_end, a_failure_is_told_once, a_suspended_domain_waits, local_units_are_settled,
            everything_of_a_unit_is_kept);
    };
    (@ $make:path: $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::suite::$case($make().await).await;
            }
        )*
    };
}

pub async fn inserting_is_idempotent(fixture: Fixture) {
    let (one, two) = (fixture.row("a.example").await, fixture.row("b.example").await);
    fixture.units.insert(vec![one.clone()], None).await.unwrap();
    let changed = Unit {
        attempts: 9,
        ..one.clone()
    };
    fixture
        .units
        .insert(vec![changed, two.clone()], None)
        .await
        .unwrap();
    assert_eq!(fixture.units.get(one.new.id).await.unwrap(), Some(one.clone()));
    assert_eq!(fixture.units.get(two.new.id).await.unwrap(), Some(two));
    assert_eq!((fixture.holders)(one.new.content).await, 1);
    assert_eq!(fixture.units.get(UnitId::generate()).await.unwrap(), None);
}

pub async fn a_content_comes_with_its_units(fixture: Fixture) {
    let (mut one, mut two) = (fixture.row("a.example").await, fixture.row("b.example").await);
    let content = ContentId::generate();
    (one.new.content, two.new.content) = (content, content);
    let body = Bytes::from_static(b"Do you like ketchup?\r\n");
    let rows = vec![one.clone(), two.clone()];
    for _ in 0..2 {
        let inserted = fixture.units.insert(rows.clone(), Some(body.clone())).await;
        assert_eq!(inserted, Ok(()), "the same again is no error");
    }
    assert_eq!((fixture.holders)(content).await, 2);
    for row in rows {
        assert!(
            fixture
                .units
                .body(row.new.id)
                .is_none_or(|at_hand| at_hand == body)
        );
        let claimed = fixture.claim(&row).await.unwrap();
        assert_eq!(claimed.new, row.new);
        let held = Unit {
            state: State::Held,
            generation: claimed.generation + 1,
            ..claimed.clone()
        };
        let change = Change {
            row: Some(held),
            ..removal(&claimed)
        };
        assert_eq!(fixture.units.apply(change).await, Ok(Written::Yes));
        let left = fixture.units.get(row.new.id).await.unwrap().unwrap();
        assert_eq!(left.state, State::Held, "and not the row as it was put in");
    }
}

pub async fn everything_of_a_unit_is_kept(fixture: Fixture) {
    let mut row = fixture.row("a.example").await;
    row.new.recipients[0].notify = Notify {
        success: true,
        failure: false,
        delay: true,
    };
    row.new.recipients[0].original = "rfc822;r0+40a.example".into();
    row.new.recipients[0].last_reply = "451 4.3.0 later".into();
    row.new.sender = ReversePath::NULL;
    (row.new.skip, row.new.size, row.new.priority) = (31, 4096, Priority::Low);
    (row.new.eight_bit, row.new.utf8, row.new.return_full) = (true, true, true);
    (row.new.envelope_id, row.new.trace) = ("QQ314159".into(), "00-1-2-01".into());
    (row.attempts, row.last_attempt, row.warned, row.owed) = (3, 5, true, vec![0]);
    (row.last_reply, row.reroute) = ("no route".into(), "127.0.0.1:25".into());
    let mut local = fixture.row("b.example").await;
    local.new.destination = Destination::Local;
    local.new.recipients[0].state = RecipientState::Failed;
    local.new.recipients[0].local = Some(LocalDelivery {
        account: AccountId::new(3),
        delivery: DeliveryId::generate(),
        quota: 5,
    });
    (local.state, local.next_attempt) = (State::Held, 0);
    for row in [row, local] {
        fixture.units.insert(vec![row.clone()], None).await.unwrap();
        assert_eq!(fixture.units.get(row.new.id).await.unwrap(), Some(row));
    }
}

pub async fn of_many_claims_one_is_given(fixture: Fixture) {
    let row = fixture.row("a.example").await;
    fixture.units.insert(vec![row.clone()], None).await.unwrap();
    let claims = (0..16).map(|_| fixture.claim(&row));
    let given: Vec<Unit> = futures::future::join_all(claims)
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].state, State::Sending);
    assert!(given[0].generation > row.generation);
    assert_eq!(
        fixture.units.get(row.new.id).await.unwrap(),
        Some(given[0].clone())
    );
    assert_eq!(fixture.claim(&given[0]).await, None);
}

pub async fn a_lapsed_claim_is_given_again(fixture: Fixture) {
    let row = fixture.row("a.example").await;
    fixture.units.insert(vec![row.clone()], None).await.unwrap();
    let first = fixture.claim(&row).await.unwrap();
    fixture.clock.advance(Duration::from_secs(61));
    let second = fixture.claim(&first).await.unwrap();
    assert!(second.generation > first.generation);
    assert_eq!(fixture.units.apply(removal(&first)).await.unwrap(), Written::No);
    assert_eq!(
        fixture
            .units
            .renew(row.new.id, first.generation, u64::MAX / 4)
            .await
            .unwrap(),
        Written::No
    );
    assert_eq!(
        fixture
            .units
            .unclaim(row.new.id, first.generation, 0)
            .await
            .unwrap(),
        None
    );
    assert_eq!(fixture.units.apply(removal(&second)).await.unwrap(), Written::Yes);
}

pub async fn a_claim_can_be_renewed(fixture: Fixture) {
    let row = fixture.row("a.example").await;
    fixture.units.insert(vec![row.clone()], None).await.unwrap();
    let claim = fixture.claim(&row).await.unwrap();
    let lease = fixture.clock.now() + 600_000;
    assert_eq!(
        fixture
            .units
            .renew(row.new.id, claim.generation, lease)
            .await
            .unwrap(),
        Written::Yes
    );
    fixture.clock.advance(Duration::from_secs(61));
    assert_eq!(fixture.claim(&claim).await, None);
    assert_eq!(fixture.units.apply(removal(&claim)).await.unwrap(), Written::Yes);
}

pub async fn a_claim_is_given_back(fixture: Fixture) {
    let row = fixture.row("a.example").await;
    fixture.units.insert(vec![row.clone()], None).await.unwrap();
    for wait in [0, 60_000] {
        let before = fixture.units.get(row.new.id).await.unwrap().unwrap();
        let claim = fixture.claim(&before).await.unwrap();
        let due = fixture.clock.now() + wait;
        let generation = fixture
            .units
            .unclaim(row.new.id, claim.generation, due)
            .await
            .unwrap()
            .unwrap();
        let after = fixture.units.get(row.new.id).await.unwrap().unwrap();
        assert_eq!(
            (after.state, after.generation, after.lease),
            (State::Queued, generation, 0)
        );
        assert!(after.next_attempt <= due && after.attempts == 0);
        assert_eq!(fixture.units.apply(removal(&claim)).await.unwrap(), Written::No);
    }
}

pub async fn changes_compare_generations(fixture: Fixture) {
    let row = fixture.row("a.example").await;
    fixture.units.insert(vec![row.clone()], None).await.unwrap();
    let next = Unit {
        generation: row.generation + 1,
        attempts: 1,
        ..row.clone()
    };
    let change = Change {
        row: Some(next.clone()),
        ..removal(&row)
    };
    let tries = (0..8).map(|_| fixture.units.apply(change.clone()));
    let written = futures::future::join_all(tries).await;
    assert_eq!(
        written
            .iter()
            .filter(|written| **written == Ok(Written::Yes))
            .count(),
        1
    );
    assert_eq!(fixture.units.get(row.new.id).await.unwrap(), Some(next));
    assert_eq!(fixture.units.apply(removal(&row)).await.unwrap(), Written::No);
}

pub async fn a_removed_unit_stays_removed(fixture: Fixture) {
    let row = fixture.row("a.example").await;
    fixture.units.insert(vec![row.clone()], None).await.unwrap();
    assert_eq!(fixture.units.apply(removal(&row)).await.unwrap(), Written::Yes);
    assert_eq!((fixture.holders)(row.new.content).await, 0);
    assert_eq!(fixture.units.apply(removal(&row)).await.unwrap(), Written::No);
    fixture.units.insert(vec![row.clone()], None).await.unwrap();
    assert_eq!(
        fixture.units.get(row.new.id).await.unwrap(),
        None,
        "a repeated insertion must not bring it back"
    );
    assert_eq!((fixture.holders)(row.new.content).await, 0);
}

pub async fn notices_come_with_the_change(fixture: Fixture) {
    let (row, notice) = (fixture.row("a.example").await, fixture.row("b.example").await);
    fixture.units.insert(vec![row.clone()], None).await.unwrap();
    let change = Change {
        inserts: vec![notice.clone()],
        ..removal(&row)
    };
    assert_eq!(fixture.units.apply(change.clone()).await.unwrap(), Written::Yes);
    assert_eq!(fixture.units.apply(change).await.unwrap(), Written::No);
    assert_eq!(
        fixture.units.get(notice.new.id).await.unwrap(),
        Some(notice.clone())
    );
    assert_eq!((fixture.holders)(notice.new.content).await, 1);
}

pub async fn pages_show_every_unit_once(fixture: Fixture) {
    let mut ids = HashSet::new();
    for _ in 0..25 {
        let row = fixture.row("a.example").await;
        ids.insert(row.new.id);
        fixture.units.insert(vec![row], None).await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = fixture.units.page(cursor, 10).await.unwrap();
        assert!(page.items.len() <= 10);
        seen.extend(page.items.iter().map(|unit| unit.new.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), ids);
}

pub async fn overdue_units_are_found(fixture: Fixture) {
    let mut rows = Vec::new();
    for _ in 0..12 {
        rows.push(fixture.row("a.example").await);
    }
    rows[3].next_attempt += 1_000_000;
    rows[4].state = State::Held;
    rows[5].attempts = 2;
    fixture.units.insert(rows.clone(), None).await.unwrap();
    let alive = fixture.claim(&rows[6]).await.unwrap();
    let lapsing = fixture.claim(&rows[7]).await.unwrap();
    fixture.clock.advance(Duration::from_secs(120));
    let lease = fixture.clock.now() + 60_000;
    fixture
        .units
        .renew(alive.new.id, alive.generation, lease)
        .await
        .unwrap();
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = fixture
            .units
            .overdue(fixture.clock.now(), cursor, 5)
            .await
            .unwrap();
        found.extend(
            page.items
                .into_iter()
                .map(|wake_up| (wake_up.unit, wake_up.generation)),
        );
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let mut expected: Vec<_> = [0, 1, 2, 5, 8, 9, 10, 11]
        .iter()
        .map(|at: &usize| (rows[*at].new.id, 1))
        .collect();
    expected.push((lapsing.new.id, lapsing.generation));
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

pub async fn counts_follow(fixture: Fixture) {
    let queue = fixture.queue();
    let counts = fixture.units.counts().await.unwrap();
    assert_eq!(
        (counts.queued, counts.sending, counts.held, counts.oldest),
        (0, 0, 0, 0)
    );
    let oldest = fixture.clock.now();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let unit = fixture.unit("a.example").await;
        ids.push(unit.id);
        queue.enqueue(vec![unit.clone()]).await.unwrap();
        queue.enqueue(vec![unit]).await.unwrap();
        fixture.clock.advance(Duration::from_millis(5));
    }
    queue.act(ids[1], &Verb::Hold).await.unwrap();
    queue.act(ids[2], &Verb::Cancel).await.unwrap();
    let row = queue.get(ids[3]).await.unwrap();
    fixture.claim(&row).await.unwrap();
    let counts = fixture.units.counts().await.unwrap();
    assert_eq!(
        (counts.queued, counts.sending, counts.held, counts.oldest),
        (2, 1, 1, oldest)
    );
    queue.act(ids[1], &Verb::Release).await.unwrap();
    assert_eq!(fixture.units.counts().await.unwrap().queued, 3);
}

pub async fn suspensions_persist(fixture: Fixture) {
    let (one, two) = (
        Domain::new("a.example").unwrap(),
        Domain::new("b.example").unwrap(),
    );
    let suspension = |reason: &str| Suspension {
        reason: reason.into(),
        since: 5,
    };
    fixture
        .units
        .suspend(two.clone(), Some(suspension("old")))
        .await
        .unwrap();
    fixture
        .units
        .suspend(two.clone(), Some(suspension("new")))
        .await
        .unwrap();
    fixture
        .units
        .suspend(one.clone(), Some(suspension("why")))
        .await
        .unwrap();
    let all = fixture.units.suspensions().await.unwrap();
    assert_eq!(
        all,
        [(one.clone(), suspension("why")), (two.clone(), suspension("new"))]
    );
    fixture.units.suspend(one.clone(), None).await.unwrap();
    fixture.units.suspend(one, None).await.unwrap();
    assert_eq!(
        fixture.units.suspensions().await.unwrap(),
        [(two, suspension("new"))]
    );
}

pub async fn wake_ups_wait_until_due(fixture: Fixture) {
    let queue = fixture.queue();
    let (now, mut later) = (fixture.unit("a.example").await, fixture.unit("a.example").await);
    later.not_before = fixture.clock.now() + 3_600_000;
    let ids = (now.id, later.id);
    queue.enqueue(vec![now, later]).await.unwrap();
    assert_eq!(
        fixture
            .take(10)
            .await
            .iter()
            .map(|wake_up| wake_up.unit)
            .collect::<Vec<_>>(),
        [ids.0]
    );
    fixture.takes_nothing().await;
    fixture.clock.advance(Duration::from_secs(3601));
    assert_eq!(
        fixture
            .take(10)
            .await
            .iter()
            .map(|wake_up| wake_up.unit)
            .collect::<Vec<_>>(),
        [ids.1]
    );
}

pub async fn first_attempts_do_not_wait_behind_retries(fixture: Fixture) {
    let mut rows = Vec::new();
    for at in 0..40 {
        let mut row = fixture.row("a.example").await;
        (row.attempts, row.next_attempt) = (1, row.next_attempt - 1000 + at);
        rows.push(row);
    }
    let mut fresh = fixture.row("b.example").await;
    fresh.next_attempt = fixture.clock.now();
    rows.push(fresh.clone());
    fixture.units.insert(rows.clone(), None).await.unwrap();
    fixture
        .wake_ups
        .schedule(rows.iter().map(WakeUp::of).collect())
        .await
        .unwrap();
    tokio::time::sleep(fixture.settle).await;
    let first: Vec<WakeUp> = fixture.take(8).await;
    assert!(
        first.iter().any(|wake_up| wake_up.unit == fresh.new.id),
        "{first:?}"
    );
    assert!(
        first.iter().any(|wake_up| wake_up.lane == Lane::Later),
        "{first:?}"
    );
}

pub async fn a_dropped_take_loses_nothing(fixture: Fixture) {
    let queue = fixture.queue();
    for _ in 0..20 {
        let waiting = {
            let wake_ups = fixture.wake_ups.clone();
            tokio::spawn(async move { wake_ups.take(1).await })
        };
        tokio::task::yield_now().await;
        let unit = fixture.unit("a.example").await;
        let id = unit.id;
        queue.enqueue(vec![unit]).await.unwrap();
        waiting.abort();
        match waiting.await {
            Ok(taken) => assert_eq!(taken.unwrap()[0].unit, id),
            Err(_) => assert_eq!(fixture.take(1).await[0].unit, id),
        }
    }
}

pub async fn cancelled_is_never_claimed(fixture: Fixture) {
    let queue = fixture.queue();
    for round in 0..60 {
        let unit = fixture.unit("a.example").await;
        let id = unit.id;
        queue.enqueue(vec![unit]).await.unwrap();
        let wake_up = fixture.take(1).await.remove(0);
        let (cancelling, claiming) = (queue.clone(), queue.clone());
        let cancel = tokio::spawn(async move { cancelling.act(id, &Verb::Cancel).await });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        let claim = tokio::spawn(async move { claiming.claim(wake_up).await.unwrap() });
        let (cancelled, claimed) = (cancel.await.unwrap(), claim.await.unwrap());
        match (cancelled, claimed) {
            (Ok(_), Claimed::Yes(_)) => panic!("cancelled and claimed"),
            (Ok(unit), _) => assert_eq!(unit.state, State::Cancelled),
            (Err(Error::Refused(_)), Claimed::Yes(claim)) => {
                queue.give_back(claim, Duration::ZERO).await.unwrap();
                queue.act(id, &Verb::Cancel).await.unwrap();
                let wake_up = fixture.take(1).await.remove(0);
                assert!(matches!(queue.claim(wake_up).await.unwrap(), Claimed::Stale));
            }
            (other, claimed) => panic!("{other:?} {claimed:?}"),
        }
    }
}

async fn attempt(queue: &Queue, fixture: &Fixture, outcome: Outcome, reply: &str) -> Vec<crate::Notice> {
    let wake_up = fixture.take(1).await.remove(0);
    let Claimed::Yes(claim) = queue.claim(wake_up).await.unwrap() else {
        panic!("it is free")
    };
    let recipients = claim
        .unit()
        .pending()
        .map(|at| (at, outcome, reply.to_owned()))
        .collect();
    let began = if claim.only_tells() { 0 } else { queue.now() };
    let verdict = queue.judge(
        &claim,
        &Report {
            began,
            reply: reply.into(),
            recipients,
            rest_at_once: false,
        },
    );
    let notices = verdict.notices.clone();
    let mut units = Vec::new();
    for notice in &notices {
        let mut unit = fixture.unit("crepes.fr").await;
        (unit.id, unit.sender) = (notice.id, ReversePath::NULL);
        units.push(unit);
    }
    assert!(queue.finish(&claim, &verdict, &units).await.unwrap());
    notices
}

pub async fn a_unit_runs_to_its_end(fixture: Fixture) {
    let queue = fixture.queue();
    let unit = fixture.unit("a.example").await;
    let (id, content) = (unit.id, unit.content);
    queue.enqueue(vec![unit]).await.unwrap();
    assert!(
        attempt(&queue, &fixture, Outcome::Later, "451 later")
            .await
            .is_empty()
    );
    let deferred = queue.get(id).await.unwrap();
    assert_eq!((deferred.state, deferred.attempts), (State::Queued, 1));
    assert_eq!(deferred.new.recipients[0].last_reply, "451 later");
    fixture.takes_nothing().await;
    fixture.clock.advance(Duration::from_secs(180));
    assert!(
        attempt(&queue, &fixture, Outcome::Delivered, "250 ok")
            .await
            .is_empty()
    );
    assert_eq!(queue.get(id).await, Err(Error::NotFound(id)));
    assert_eq!((fixture.holders)(content).await, 0);
}

pub async fn a_failure_is_told_once(fixture: Fixture) {
    let queue = fixture.queue();
    let unit = fixture.unit("a.example").await;
    let id = unit.id;
    queue.enqueue(vec![unit]).await.unwrap();
    let notices = attempt(&queue, &fixture, Outcome::Failed, "550 no").await;
    assert_eq!(notices.len(), 1);
    assert_eq!(queue.get(id).await, Err(Error::NotFound(id)));
    let notice = queue.get(notices[0].id).await.unwrap();
    assert_eq!(
        notice.new.id.as_bytes()[..6],
        id.as_bytes()[..6],
        "in order of time"
    );
    // A notification that fails is not told of.
    assert!(
        attempt(&queue, &fixture, Outcome::Failed, "550 no")
            .await
            .is_empty()
    );
    assert_eq!(
        queue.get(notices[0].id).await,
        Err(Error::NotFound(notices[0].id))
    );
}

pub async fn a_suspended_domain_waits(fixture: Fixture) {
    let queue = fixture.queue();
    let domain = Domain::new("a.example").unwrap();
    queue.suspend(domain.clone(), "maintenance").await.unwrap();
    let unit = fixture.unit("a.example").await;
    queue.enqueue(vec![unit.clone()]).await.unwrap();
    let wake_up = fixture.take(1).await.remove(0);
    assert!(matches!(queue.claim(wake_up).await.unwrap(), Claimed::Suspended));
    assert_eq!(queue.get(unit.id).await.unwrap().state, State::Queued);
    fixture.clock.advance(Duration::from_secs(1));
    queue.resume(domain).await.unwrap();
    let wake_up = fixture.take(1).await.remove(0);
    assert!(matches!(queue.claim(wake_up).await.unwrap(), Claimed::Yes(_)));
}

pub async fn local_units_are_settled(fixture: Fixture) {
    let queue = fixture.queue();
    let mut unit = new_unit((fixture.put_content)().await, "crepes.fr", 3);
    unit.destination = Destination::Local;
    let deliveries: Vec<DeliveryId> = (0..3).map(|_| DeliveryId::generate()).collect();
    for (recipient, delivery) in unit.recipients.iter_mut().zip(&deliveries) {
        recipient.local = Some(LocalDelivery {
            account: AccountId::new(1),
            delivery: *delivery,
            quota: 0,
        });
    }
    let (id, content) = (unit.id, unit.content);
    queue.enqueue(vec![unit]).await.unwrap();
    assert_eq!(
        queue.settle_local(id, &deliveries[..2]).await.unwrap(),
        Settled::Yes
    );
    assert_eq!(
        queue.settle_local(id, &deliveries[..1]).await.unwrap(),
        Settled::Yes
    );
    assert_eq!(queue.get(id).await.unwrap().pending().collect::<Vec<_>>(), [2]);
    let row = queue.get(id).await.unwrap();
    let claim = fixture.claim(&row).await.unwrap();
    assert_eq!(
        queue.settle_local(id, &deliveries[2..]).await.unwrap(),
        Settled::Taken
    );
    fixture.units.unclaim(id, claim.generation, 0).await.unwrap();
    assert_eq!(
        queue.settle_local(id, &deliveries[2..]).await.unwrap(),
        Settled::Yes
    );
    assert_eq!(queue.get(id).await, Err(Error::NotFound(id)));
    assert_eq!((fixture.holders)(content).await, 0);
    assert_eq!(queue.settle_local(id, &deliveries).await.unwrap(), Settled::Yes);
}
