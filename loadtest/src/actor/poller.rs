//! Programs that poll maildrops: one session per arrival.
//!
//! ```text
//! due ─▶ Line ─▶ USER, PASS ─▶ UIDL ─▶ RETR … ─▶ (drain: sightings durable ─▶ DELE …) ─▶ QUIT ─▶ (sightings durable: deleted)
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::World;
use super::line::{Entry, GRACE, Line};
use crate::ledger::{Digester, Place, Sighting};
use crate::net::{Failure, Pop3};
use crate::operation::{Operation, Outcome};
use crate::profile::Pollers;
use crate::traffic::Dice;

/// The most messages that one poll reads.
const MOST_MESSAGES: usize = 100;

/// The most maildrops of which the newest message is remembered, so that it is not read again.
const MOST_REMEMBERED: usize = 1_000_000;

/// Chance that says whose maildrop is polled.
const OF_POLL: u64 = 200;

/// Polls what is due until the run ends.
pub async fn play(world: Arc<World>, pollers: &Pollers, index: usize) {
    if world.target.pop3.is_none() {
        return;
    }
    let schedule = world.schedule(&pollers.rate, pollers.arrivals, index);
    // More sessions than maildrops would only keep one another out.
    let accounts = u32::try_from(world.target.accounts.count).unwrap_or(u32::MAX);
    let connections = pollers.connections.min(accounts).max(1);
    let poller = Arc::new(Poller {
        line: Line::new(connections),
        connections,
        drain: pollers.drain,
        index,
        open: Mutex::default(),
        newest: Mutex::default(),
        tasks: TaskTracker::new(),
        world,
    });
    let begin = poller.world.recorder.begin();
    for arrival in schedule {
        let intended = begin + arrival.at;
        if !poller.world.arrives(intended).await {
            break;
        }
        poller.due(Poll {
            number: arrival.number,
            intended,
        });
    }
    poller.world.stop.cancelled().await;
    poller.tasks.close();
    if tokio::time::timeout(GRACE, poller.tasks.wait()).await.is_err() {
        poller
            .line
            .clear()
            .into_iter()
            .for_each(|poll| poller.dropped(poll));
        poller.tasks.wait().await;
    }
}

#[derive(Debug)]
struct Poller {
    world: Arc<World>,
    index: usize,
    drain: bool,
    /// Sessions at once, at most; no more than there are maildrops.
    connections: u32,
    line: Line<Poll>,
    /// Maildrops that a session has open: a second one would be refused, which says nothing about the server.
    open: Mutex<HashSet<u64>>,
    /// The newest message read in a maildrop that keeps its messages.
    newest: Mutex<HashMap<u64, String>>,
    tasks: TaskTracker,
}

#[derive(Debug, Clone, Copy)]
struct Poll {
    number: u64,
    intended: Instant,
}

/// A message that was read and is to be deleted.
#[derive(Debug)]
struct Read {
    number: usize,
    sighting: Sighting,
}

impl Poller {
    fn due(self: &Arc<Self>, poll: Poll) {
        self.world.recorder.offered(Operation::Pop3Login, poll.intended);
        match self.line.enter(poll) {
            Entry::Now(poll) => {
                let poller = self.clone();
                self.tasks.spawn(async move {
                    let mut next = Some(poll);
                    while let Some(poll) = next {
                        let rank = poller.choose(poll);
                        // What failed has been recorded; a connection that is dropped closes.
                        let _ = Box::pin(poller.poll(poll, rank)).await;
                        poller.open.lock().remove(&rank);
                        next = poller.line.next();
                    }
                });
            }
            Entry::Waits => {}
            Entry::Full(poll) => self.dropped(poll),
        }
    }

    fn dropped(&self, poll: Poll) {
        let recorder = &self.world.recorder;
        recorder.ended(Operation::Pop3Login, poll.intended, Outcome::Broken);
    }

    /// A maildrop that no other session of this actor has open. Of as many in a row as there are sessions, one is free.
    fn choose(&self, poll: Poll) -> u64 {
        let accounts = self.world.target.accounts.count.max(1);
        let mut dice = Dice::new(self.world.seed, OF_POLL + self.index as u64, poll.number);
        let mut open = self.open.lock();
        let mut rank = dice.below(accounts);
        for _ in 0..self.connections {
            if open.insert(rank) {
                break;
            }
            rank = (rank + 1) % accounts;
        }
        rank
    }

    async fn poll(&self, poll: Poll, rank: u64) -> Result<(), Failure> {
        let world = &self.world;
        let account = world.target.accounts.address(rank);
        let login = Box::pin(Pop3::login(&world.target, &account)).await;
        world
            .recorder
            .ended(Operation::Pop3Login, poll.intended, crate::net::outcome(&login));
        let mut pop3 = login?;
        let now = Instant::now();
        let listed = world.timed(Operation::Pop3List, now, pop3.uidl()).await?;
        let read = self.read(&mut pop3, &account, self.wanted(rank, listed)).await?;
        let deleted = if self.drain {
            self.mark_deleted(&mut pop3, read).await?
        } else {
            Vec::new()
        };
        world
            .timed(Operation::Pop3Update, Instant::now(), pop3.quit())
            .await?;
        self.sighted(deleted).await
    }

    /// Which of the messages to read: the oldest ones when they are drained, those that are new when they are kept.
    fn wanted(&self, rank: u64, mut listed: Vec<(usize, String)>) -> Vec<(usize, String)> {
        if self.drain {
            listed.truncate(MOST_MESSAGES);
            return listed;
        }
        let Some((_, newest)) = listed.last() else {
            return listed;
        };
        let mut known = self.newest.lock();
        let room = known.len() < MOST_REMEMBERED || known.contains_key(&rank);
        let before = room.then(|| known.insert(rank, newest.clone())).flatten();
        let seen = before.and_then(|before| listed.iter().position(|(_, uid)| *uid == before));
        let new = seen.map_or(0, |at| at + 1);
        listed.split_off(new.max(listed.len().saturating_sub(MOST_MESSAGES)))
    }

    /// Reads messages; those of a load generator are what there is to delete.
    async fn read(
        &self,
        pop3: &mut Pop3,
        account: &str,
        wanted: Vec<(usize, String)>,
    ) -> Result<Vec<Read>, Failure> {
        let mut content = BytesMut::new();
        let mut read = Vec::new();
        for (number, uid) in wanted {
            let retrieve = pop3.retrieve(number, &mut content);
            let now = Instant::now();
            match self.world.timed(Operation::Pop3Retrieve, now, retrieve).await {
                Err(failure) if failure.is_broken() => return Err(failure),
                Err(_) => continue,
                Ok(()) if !self.drain => continue,
                Ok(()) => {}
            }
            let mut digester = Digester::default();
            digester.push(&content);
            let digested = digester.finish();
            let sighting = digested.id.map(|id| Sighting {
                id,
                recipient: account.to_owned(),
                digest: digested.digest,
                decoded: None,
                place: Place::Maildrop { uid, deleted: false },
            });
            read.extend(sighting.map(|sighting| Read { number, sighting }));
        }
        Ok(read)
    }

    /// Writes down what is going to be deleted, then asks for it; what the server has marked, as it is to be written down when
    /// it is gone.
    async fn mark_deleted(&self, pop3: &mut Pop3, read: Vec<Read>) -> Result<Vec<Sighting>, Failure> {
        let sightings = read.iter().map(|read| read.sighting.clone()).collect();
        self.sighted(sightings).await?;
        let numbers: Vec<usize> = read.iter().map(|read| read.number).collect();
        let marked: HashSet<usize> = pop3.delete(&numbers).await?.into_iter().collect();
        let gone = read.into_iter().filter(|read| marked.contains(&read.number));
        Ok(gone
            .map(|mut read| {
                if let Place::Maildrop { deleted, .. } = &mut read.sighting.place {
                    *deleted = true;
                }
                read.sighting
            })
            .collect())
    }

    /// Writes sightings down. Without a ledger nothing may be deleted.
    async fn sighted(&self, sightings: Vec<Sighting>) -> Result<(), Failure> {
        self.world.ledger.sighting(sightings).await.map_err(|error| {
            self.world.ledger_failed(&error);
            Failure::Broken("the ledger cannot be written".into())
        })
    }
}
