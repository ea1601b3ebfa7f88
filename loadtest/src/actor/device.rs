//! Standing IMAP devices: each is a task that is nearly always idle.
//!
//! ```text
//! due ─▶ LOGIN ─▶ SELECT, or QRESYNC when it was there before ─▶ fetch what is new ─▶ IDLE ─▶ … ─▶ stays, or leaves for a while
//!  ▲                                                                 ▲                 │ EXISTS, or something to do
//!  └── a while later: away, or the connection broke                  └─────────────────┘
//! ```

mod action;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_imap::Command;
use postrider_imap::command::{Fetch, FetchItem, Section, SectionText};
use postrider_imap::set::{MessageSet, SeqNumber, SeqRange, SequenceSet};
use tokio_util::task::TaskTracker;

use super::view::View;
use super::{World, exponential};
use crate::ledger::FIELD;
use crate::net::{Failure, Imap};
use crate::operation::{Operation, Outcome};
use crate::profile::Devices;
use crate::traffic::Dice;

/// How long a device idles before it says so again: RFC 2177 asks for less than 29 minutes.
const IDLE: Duration = Duration::from_secs(25 * 60);

/// How often a device asks where there is no IDLE.
const ASK: Duration = Duration::from_secs(30);

/// How long a device that comes and goes stays, and is away; on average. In a short run it is less, so that it does come back.
const STAY: Duration = Duration::from_secs(45);
const AWAY: Duration = Duration::from_secs(15);

/// The longest time between attempts to connect again.
const MOST_BACK_OFF: Duration = Duration::from_secs(60);

/// How many of the newest messages a device looks at when it opens a mailbox for the first time.
const LOOKS_AT: u32 = 20;

/// How long a device that leaves waits for the goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Connects the devices of this part, spread over the first tenth of the run, and returns when all have gone.
pub async fn play(world: Arc<World>, devices: &Devices, index: usize) {
    if world.target.imap.is_none() {
        return;
    }
    let tasks = TaskTracker::new();
    let (part, parts) = world.part;
    let mine = |number: &u32| number % parts.max(1) == part.saturating_sub(1);
    let spread = world.recorder.length() / 10;
    for number in (0..devices.population).filter(mine) {
        let share = (f64::from(number) + 0.5) / f64::from(devices.population.max(1));
        let due = world.recorder.begin() + spread.mul_f64(share);
        let device = Device::new(world.clone(), devices, index, number, due);
        tasks.spawn(device.live(due));
    }
    tasks.close();
    tasks.wait().await;
}

/// One device.
struct Device {
    world: Arc<World>,
    index: usize,
    number: u32,
    /// The rank of its account, and its address.
    rank: u64,
    account: String,
    dice: Dice,
    /// Whether it comes and goes.
    returns: bool,
    /// Mean time between actions; `None`: there are none.
    pause: Option<Duration>,
    next_action: Instant,
    view: View,
    /// Whether it knows the mailbox from before.
    knows: bool,
    /// Actions so far.
    acted: usize,
    appended: u64,
    /// Mailboxes it has made, or found.
    made: Vec<&'static str>,
}

/// How a session ended, other than by breaking.
enum Left {
    /// The run is over.
    ForGood,
    /// It will be back.
    ForAWhile,
}

impl Device {
    fn new(world: Arc<World>, devices: &Devices, index: usize, number: u32, due: Instant) -> Self {
        let mut dice = Dice::new(world.seed, index as u64 + 1000, u64::from(number));
        let rank = u64::from(number) % world.target.accounts.count.max(1);
        let returns = dice.chance(devices.returning);
        let per_second = devices.actions_per_hour / 3600.0;
        let pause = (per_second > 0.0).then(|| Duration::from_secs_f64((1.0 / per_second).min(1e9)));
        let mut device = Self {
            account: world.target.accounts.address(rank),
            world,
            index,
            number,
            rank,
            dice,
            returns,
            pause,
            next_action: due,
            view: View::default(),
            knows: false,
            acted: 0,
            appended: 0,
            made: Vec::new(),
        };
        device.plan_action();
        device
    }

    /// Connects again and again until the run ends.
    async fn live(mut self, begin: Instant) {
        let mut due = begin;
        let mut breaks = 0;
        while self.world.sleep_until(due).await {
            let came = Instant::now();
            // Boxed: a device that waits to come back holds nothing of a session.
            let wait = match Box::pin(self.session(due)).await {
                Ok(Left::ForGood) => return,
                Ok(Left::ForAWhile) => {
                    let away = AWAY.min(self.world.recorder.length() / 24);
                    exponential(&mut self.dice, away).min(10 * away)
                }
                Err(_) => {
                    breaks = if came.elapsed() > MOST_BACK_OFF {
                        0
                    } else {
                        breaks + 1
                    };
                    let wait = Duration::from_secs(1 << breaks.min(6)).min(MOST_BACK_OFF);
                    wait.mul_f64(0.5 + 0.5 * self.dice.share())
                }
            };
            due = Instant::now() + wait;
        }
    }

    /// From login to logout. An error is that of a connection which is of no more use.
    async fn session(&mut self, due: Instant) -> Result<Left, Failure> {
        let world = self.world.clone();
        let login = Box::pin(Imap::login(&world.target, &self.account));
        let mut imap = world.timed(Operation::ImapLogin, due, login).await?;
        Box::pin(self.open(&mut imap)).await?;
        let mean = STAY.min(world.recorder.length() / 8);
        let stay = exponential(&mut self.dice, mean).min(10 * mean);
        let leaves = self.returns.then(|| Instant::now() + stay);
        loop {
            if self.view.has_news() {
                Box::pin(self.fetch_new(&mut imap)).await?;
            } else if self.world.stop.is_cancelled() {
                goodbye(imap).await;
                return Ok(Left::ForGood);
            } else if leaves.is_some_and(|leaves| leaves <= Instant::now()) {
                goodbye(imap).await;
                return Ok(Left::ForAWhile);
            } else if self.next_action <= Instant::now() {
                let intended = self.next_action;
                self.plan_action();
                Box::pin(self.act(&mut imap, intended)).await?;
            } else {
                let next = leaves.map_or(self.next_action, |leaves| leaves.min(self.next_action));
                self.watch(&mut imap, next).await?;
            }
        }
    }

    /// SELECT, or QRESYNC when it was here before and the server can.
    async fn open(&mut self, imap: &mut Imap) -> Result<(), Failure> {
        let world = self.world.clone();
        let resync = self.knows && imap.features().qresync && self.view.selected.highest_modseq > 0;
        if imap.features().qresync && self.returns || resync {
            survived(imap.enable_qresync().await)?;
        }
        let now = Instant::now();
        let selected = if resync {
            let known = self.view.selected;
            let view = &mut self.view;
            let resync = imap.resync("INBOX", known, |response| view.note(response));
            world.timed(Operation::ImapResync, now, resync).await?
        } else {
            let select = imap.select("INBOX", false);
            world.timed(Operation::ImapSelect, now, select).await?
        };
        self.view.opened(selected);
        if self.view.last_uid == 0 {
            let newest = selected.exists.saturating_sub(LOOKS_AT - 1).max(1);
            if selected.exists > 0 {
                self.fetch(imap, false, newest).await?;
            }
            self.view.last_uid = self.view.last_uid.max(selected.uid_next.saturating_sub(1));
        } else if selected.uid_next > self.view.last_uid + 1 {
            self.fetch(imap, true, self.view.last_uid + 1).await?;
        }
        self.knows = true;
        Ok(())
    }

    /// Fetches what was announced; now and then reads the first of it.
    async fn fetch_new(&mut self, imap: &mut Imap) -> Result<(), Failure> {
        let first = self.fetch(imap, true, self.view.last_uid + 1).await?;
        self.view.caught_up();
        if let Some(uid) = first
            && self.dice.chance(0.5)
        {
            self.read(imap, uid, Instant::now()).await?;
            self.mark(imap, uid, Instant::now()).await?;
        }
        Ok(())
    }

    /// Fetches metadata from a UID or sequence number on, and records how long the news took. The first UID that is new.
    async fn fetch(&mut self, imap: &mut Imap, by_uid: bool, from: u32) -> Result<Option<u32>, Failure> {
        let command = Command::Fetch(Fetch {
            uid: by_uid,
            set: from_on(from),
            items: vec![
                FetchItem::Uid,
                FetchItem::Flags,
                FetchItem::Envelope,
                FetchItem::Section {
                    section: Section {
                        text: Some(SectionText::HeaderFields(vec![FIELD.to_owned()])),
                        ..Section::default()
                    },
                    partial: None,
                    peek: true,
                },
            ],
            changed_since: None,
            vanished: false,
        });
        let world = self.world.clone();
        let view = &mut self.view;
        let mut first = None;
        let fetching = imap.each(&command, |response| {
            view.note(&response);
            let Some(new) = view.fetched(&response) else {
                return;
            };
            first = first.or(Some(new.uid));
            if let (Some(id), Some(told)) = (new.id, new.told)
                && let Some(answered) = world.recent.told(id, told)
            {
                let recorder = &world.recorder;
                recorder.offered(Operation::ImapPush, answered);
                recorder.ended_at(Operation::ImapPush, answered, told, Outcome::Done);
            }
        });
        survived(world.timed(Operation::ImapFetch, Instant::now(), fetching).await)?;
        Ok(first)
    }

    /// Waits for news, something to do, or the end of the run.
    async fn watch(&mut self, imap: &mut Imap, next: Instant) -> Result<(), Failure> {
        let view = &mut self.view;
        if !imap.features().idle {
            let until = next.min(Instant::now() + ASK);
            self.world.sleep_until(until).await;
            let asking = imap.each(&Command::Noop, |response| view.note(&response));
            return survived(asking.await).map(drop);
        }
        imap.idle(|response| view.note(&response)).await?;
        let until = next.min(Instant::now() + IDLE);
        while !view.has_news() {
            let response = tokio::select! {
                response = imap.wait(until) => response?,
                () = self.world.stop.cancelled() => None,
            };
            match response {
                Some(response) => view.note(&response),
                None => break,
            }
        }
        imap.done(|response| view.note(&response)).await
    }

    fn plan_action(&mut self) {
        let far = Duration::from_secs(1 << 30);
        let wait = self
            .pause
            .map_or(far, |pause| exponential(&mut self.dice, pause).min(far));
        // From when the last one was due: a slow server is not asked less often.
        self.next_action += wait;
    }
}

/// A refusal is recorded, and no reason to leave.
fn survived<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.is_broken() => Err(failure),
        Err(_) => Ok(None),
    }
}

/// Everything from a number on. A server may answer with the last message although it is before that (RFC 9051 §9, `seq-range`).
fn from_on(first: u32) -> MessageSet {
    let range = SeqRange {
        first: NonZeroU32::new(first).map_or(SeqNumber::Star, SeqNumber::Number),
        last: SeqNumber::Star,
    };
    SequenceSet::new([range]).map_or(MessageSet::Saved, MessageSet::Numbers)
}

async fn goodbye(imap: Imap) {
    // Whether it comes or not, the connection closes.
    let _ = tokio::time::timeout(GOODBYE, imap.logout()).await;
}
