//! Whatever the engine does to its calls, and wherever a worker dies: no unit is lost, no outcome is told twice or told
//! differently, nothing cancelled is sent, and a unit that is done stays done.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use postrider_types::{Address, ContentId, ReversePath, UnitId};
use proptest::prelude::*;

use super::memory::Holders;
use crate::memory::Fault;
use crate::suite::{TestClock, new_unit};
use crate::{
    Claimed, Destination, Error, Memory, NewUnit, Notice, NoticeKind, Outcome, Queue, RecipientState, Report,
    RetryPolicy, Settings, Verb,
};

/// A small generator, so that a failing case is repeated exactly.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What the world has seen.
#[derive(Default)]
struct World {
    /// Notifications that were made: what they say, and about which unit.
    made: HashMap<UnitId, (UnitId, Notice)>,
    /// Those that came out of the queue, and so were in it.
    told: HashMap<UnitId, (UnitId, Notice)>,
    /// Units that were recorded as finished.
    done: HashSet<UnitId>,
    cancelled: HashSet<UnitId>,
    /// What a recipient was last recorded as.
    recorded: HashMap<(UnitId, usize), RecipientState>,
}

struct Run {
    queue: Queue,
    clock: TestClock,
    holders: Arc<Holders>,
    dice: Arc<Mutex<Dice>>,
    world: World,
}

impl Run {
    /// `faults` of a hundred calls fail in one of three ways; `atomic`: the engine changes rows and notices in one step.
    fn new(seed: u64, faults: u64, atomic: bool) -> (Self, Arc<Mutex<u64>>) {
        let (clock, holders) = (TestClock::default(), Arc::new(Holders::default()));
        let dice = Arc::new(Mutex::new(Dice(seed)));
        let rate = Arc::new(Mutex::new(faults));
        let (rolled, of) = (dice.clone(), rate.clone());
        let decide = Arc::new(move |_: &'static str| {
            let mut dice = rolled.lock();
            if dice.roll(100) >= *of.lock() {
                return None;
            }
            Some([Fault::Fail, Fault::UnknownUndone, Fault::UnknownDone][dice.roll(3) as usize])
        });
        let engine = Memory::new(holders.clone(), clock.clock()).with_faults(decide);
        let engine = Arc::new(if atomic { engine.atomic() } else { engine });
        let retry = RetryPolicy {
            give_up: Duration::from_secs(6 * 3600),
            ..RetryPolicy::default()
        };
        let settings = Settings {
            retry,
            ..Settings::default()
        };
        let queue = Queue::new(engine.clone(), engine, settings, clock.clock());
        (
            Self {
                queue,
                clock,
                holders,
                dice,
                world: World::default(),
            },
            rate,
        )
    }

    fn roll(&self, sides: u64) -> u64 {
        self.dice.lock().roll(sides)
    }

    /// Puts a unit in, again and again until it is known to be in.
    async fn enqueue(&self, unit: NewUnit) {
        loop {
            match self.queue.enqueue(vec![unit.clone()]).await {
                Ok(()) => return,
                Err(error) => assert!(error.is_temporary(), "{error}"),
            }
        }
    }

    /// Takes what is due and tries it, dying now and then.
    async fn work(&mut self) {
        let Some(Ok(due)) = self.queue.take(10).now_or_never() else {
            return;
        };
        for wake_up in due {
            let Ok(Claimed::Yes(claim)) = self.queue.claim(wake_up).await else {
                continue;
            };
            let unit = claim.unit().clone();
            let id = unit.new.id;
            assert!(!self.world.done.contains(&id), "{id} is done, and sent again");
            assert!(!self.world.cancelled.contains(&id), "{id} is cancelled, and sent");
            if let Some(made) = self.world.made.get(&id) {
                self.world.told.insert(id, made.clone());
            }
            for (at, recipient) in unit.new.recipients.iter().enumerate() {
                // What was recorded is not forgotten.
                if let Some(before) = self.world.recorded.get(&(id, at)) {
                    assert_eq!(*before, recipient.state, "{id} {at}");
                }
            }
            if self.roll(12) == 0 {
                continue;
            }
            let report = self.attempt(&unit, claim.only_tells());
            let verdict = self.queue.judge(&claim, &report);
            let after = verdict.unit.clone();
            let notices = verdict.notices.clone();
            if self.roll(12) == 0 {
                continue;
            }
            let finished = if !notices.is_empty() && self.roll(6) == 0 {
                self.queue
                    .finish_owing(&claim, &verdict, Duration::from_secs(60))
                    .await
            } else {
                let tell = |notice| self.tell(&unit, notice);
                let units: Vec<NewUnit> = notices.iter().map(tell).collect();
                let done = self.queue.finish(&claim, &verdict, &units).await;
                if done == Ok(true) && after.pending().next().is_none() {
                    self.world.done.insert(id);
                }
                done
            };
            if finished == Ok(true) {
                let states = after
                    .new
                    .recipients
                    .iter()
                    .map(|recipient| recipient.state)
                    .enumerate();
                let finals = states.filter(|(_, state)| *state != RecipientState::Pending);
                self.world
                    .recorded
                    .extend(finals.map(|(at, state)| ((id, at), state)));
            }
        }
    }

    fn attempt(&self, unit: &crate::Unit, only_tells: bool) -> Report {
        if only_tells {
            return Report::default();
        }
        let outcome = |_| match self.roll(4) {
            0 => Outcome::Failed,
            1 => Outcome::Relayed,
            _ => Outcome::Later,
        };
        let recipients = unit
            .pending()
            .map(|at| (at, outcome(at), "as rolled".to_owned()))
            .collect();
        Report {
            began: self.queue.now(),
            reply: "as rolled".into(),
            recipients,
            rest_at_once: false,
        }
    }

    fn tell(&mut self, about: &crate::Unit, notice: &Notice) -> NewUnit {
        assert!(!about.new.sender.is_null());
        let before = self.world.made.insert(notice.id, (about.new.id, notice.clone()));
        assert!(before.is_none_or(|(_, before)| before == *notice || notice.kind == NoticeKind::Delayed));
        let mut unit = new_unit(ContentId::generate(), "crepes.fr", 1);
        (unit.id, unit.sender, unit.priority) = (notice.id, ReversePath::NULL, crate::Priority::Low);
        unit
    }

    /// Operators meddle.
    async fn meddle(&mut self, id: UnitId) {
        let verb = match self.roll(12) {
            0 => Verb::Hold,
            1..4 => Verb::Release,
            4 | 5 => Verb::Retry,
            6 => Verb::Reroute("127.0.0.1:25".into()),
            7 => Verb::Cancel,
            _ => return,
        };
        match self.queue.act(id, &verb).await {
            Ok(_) if verb == Verb::Cancel => drop(self.world.cancelled.insert(id)),
            Ok(_) | Err(Error::NotFound(_) | Error::Refused(_)) => {}
            Err(error) => assert!(error.is_temporary(), "{error}"),
        }
    }

    async fn simulate(&mut self, units: usize, faults: &Mutex<u64>) {
        let mut ids = Vec::new();
        for at in 0..units {
            let mut unit = new_unit(ContentId::generate(), "hamburger.edu", 1 + at % 3);
            for (at, recipient) in unit.recipients.iter_mut().enumerate() {
                recipient.notify.success = at % 2 == 1;
                recipient.notify.failure = at < 2;
            }
            ids.push(unit.id);
            self.enqueue(unit).await;
        }
        for round in 0..400 {
            if round == 300 {
                // The weather clears: everything must come to an end now.
                *faults.lock() = 0;
                for id in &ids {
                    let _ = self.queue.act(*id, &Verb::Release).await;
                }
            }
            self.work().await;
            if round < 300 {
                let id = ids[self.roll(ids.len() as u64) as usize];
                self.meddle(id).await;
            }
            self.clock.advance(Duration::from_secs(self.roll(240)));
            if round % 10 == 0 {
                let _ = self.queue.reconcile().await;
            }
        }
        self.check().await;
    }

    async fn check(&self) {
        let left = self.queue.list(None, 10_000).await.unwrap().items;
        assert!(left.is_empty(), "{left:#?}");
        assert_eq!(self.holders.count(), 0, "final units hold nothing");
        let mut told: HashMap<(UnitId, NoticeKind, u32), UnitId> = HashMap::new();
        for (id, (about, notice)) in &self.world.told {
            for at in &notice.recipients {
                let earlier = told.insert((*about, notice.kind, *at), *id);
                assert!(
                    earlier.is_none(),
                    "{about} {at} was told twice: {earlier:?} and {id}"
                );
                let state = self.world.recorded.get(&(*about, *at as usize));
                let fits = match notice.kind {
                    NoticeKind::Failed => state == Some(&RecipientState::Failed),
                    NoticeKind::Relayed | NoticeKind::Delivered => state == Some(&RecipientState::Delivered),
                    NoticeKind::Delayed => true,
                };
                assert!(
                    fits || state.is_none(),
                    "{about} {at}: told {:?}, recorded {state:?}",
                    notice.kind
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_sent_after_a_cancel(seed: u64, faults in 0u64..30, atomic: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut run, rate) = Run::new(seed, faults, atomic);
            run.simulate(6, &rate).await;
        });
    }

    #[test]
    fn local_units_are_settled_in_any_order(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (run, _) = Run::new(seed, 0, true);
            let mut unit = new_unit(ContentId::generate(), "crepes.fr", 4);
            unit.destination = Destination::Local;
            unit.sender = ReversePath(Some(Address::new("a@b.example").unwrap()));
            let mut deliveries = Vec::new();
            for recipient in &mut unit.recipients {
                let delivery = postrider_types::DeliveryId::generate();
                let account = postrider_types::AccountId::new(1);
                recipient.local = Some(crate::LocalDelivery { account, delivery, quota: 0 });
                deliveries.push(delivery);
            }
            let id = unit.id;
            run.enqueue(unit).await;
            while !deliveries.is_empty() {
                let at = run.roll(deliveries.len() as u64) as usize;
                let delivery = deliveries.swap_remove(at);
                run.queue.settle_local(id, &[delivery]).await.unwrap();
                let left = run.queue.get(id).await.map_or(0, |unit| unit.pending().count());
                assert_eq!(left, deliveries.len());
            }
            assert_eq!(run.queue.get(id).await, Err(Error::NotFound(id)));
            assert_eq!(run.holders.count(), 0);
        });
    }
}
