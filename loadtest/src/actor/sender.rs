//! Senders: other servers at port 25, and users' programs at submission.
//!
//! ```text
//! schedule ─▶ due ─▶ Line ─▶ work: a connection (idle, or a new one) ─▶ transaction ─▶ promises durable ─▶ ended
//!              ▲                                                           │
//!              └──────────────── a few seconds later ◀── refused for now ──┘
//! ```

mod message;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_smtp::client::{Failure as Trouble, Verdict};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::World;
use super::line::{Entry, GRACE, Line};
use crate::net::{Failure, Patience, Sent, Smtp, config};
use crate::operation::{Operation, Outcome};
use crate::profile::Sender;
use crate::traffic::{Dice, Elsewhere};
use message::{Left, Message};

/// How often a message is tried again after it was refused for now.
const RETRIES: u32 = 3;

/// When it is tried again first; each further time three times later. Real senders wait for minutes, and a run is short.
const RETRY_AFTER: Duration = if cfg!(test) {
    Duration::from_millis(100)
} else {
    Duration::from_secs(5)
};

/// The most messages that wait to be tried again; others are given up.
const MOST_RETRIES: usize = 10_000;

/// The most answers that wait for the ledger; senders wait when there are more.
const MOST_UNWRITTEN: usize = 4096;

/// Whose mail it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Another server's.
    Mx,
    /// A user's.
    Submission,
}

/// Sends what is due until the run ends.
pub async fn play(world: Arc<World>, sender: &Sender, role: Role, index: usize) {
    let address = match role {
        Role::Mx => world.target.smtp,
        Role::Submission => world.target.submission,
    };
    let Some(address) = address else { return };
    let schedule = world.schedule(&sender.rate, sender.arrivals, index);
    let senders = Arc::new(Senders {
        address,
        role,
        messages_per_connection: sender.messages_per_connection.max(1),
        remote_share: sender.remote_share,
        patience: Patience::default(),
        line: Line::new(sender.connections.max(1)),
        idle: Mutex::default(),
        tasks: TaskTracker::new(),
        retries: AtomicUsize::new(0),
        unwritten: Arc::new(Semaphore::new(MOST_UNWRITTEN)),
        world,
    });
    let begin = senders.world.recorder.begin();
    for arrival in schedule {
        let intended = begin + arrival.at;
        if !senders.world.arrives(intended).await {
            break;
        }
        senders.due(Job {
            number: super::message_number(index, arrival.number),
            intended,
            attempt: 0,
            left: None,
        });
    }
    senders.world.stop.cancelled().await;
    senders.finish().await;
}

/// The connections of one actor and what goes over them.
#[derive(Debug)]
struct Senders {
    world: Arc<World>,
    address: SocketAddr,
    role: Role,
    messages_per_connection: u32,
    remote_share: f64,
    patience: Patience,
    line: Line<Job>,
    /// Connections without work, the one used last on top.
    idle: Mutex<Vec<Connection>>,
    tasks: TaskTracker,
    retries: AtomicUsize,
    unwritten: Arc<Semaphore>,
}

/// A connection, and whose it is.
#[derive(Debug)]
struct Connection {
    smtp: Smtp,
    /// The rank of the account that has authenticated.
    account: Option<u64>,
}

/// Something to send.
#[derive(Debug)]
struct Job {
    number: u64,
    intended: Instant,
    attempt: u32,
    /// Who is left from an earlier attempt.
    left: Option<Left>,
}

impl Senders {
    /// A job is due now.
    fn due(self: &Arc<Self>, job: Job) {
        self.world.recorder.offered(self.role.message(), job.intended);
        match self.line.enter(job) {
            Entry::Now(job) => {
                let senders = self.clone();
                self.tasks.spawn(async move {
                    let mut next = Some(job);
                    while let Some(job) = next {
                        senders.work(job).await;
                        next = senders.line.next();
                    }
                });
            }
            Entry::Waits => {}
            Entry::Full(job) => self.ended(job.intended, Outcome::Broken),
        }
    }

    async fn work(self: &Arc<Self>, mut job: Job) {
        let account = match (self.role, &job.left) {
            (Role::Mx, _) => None,
            (Role::Submission, Some(left)) => left.account,
            (Role::Submission, None) => Some(self.world.letters.account(job.number)),
        };
        // What was tried before has to come from the same account; anything else may go with any.
        let wanted = job.left.as_ref().map(|left| left.account);
        let (mut connection, reused) = match self.idle_connection(wanted) {
            Some(connection) => (connection, true),
            None => match self.connect(account).await {
                Ok(connection) => (connection, false),
                Err(failure) => return self.not_sent(job, failure.outcome()),
            },
        };
        let message = self.write(job.number, connection.account, job.left.take());
        let mut began = Instant::now();
        let mut sent = Box::pin(message.send(&mut connection.smtp)).await;
        if reused && closed_before(&sent) {
            // The server had closed the connection while it was idle; it has seen nothing of the message.
            connection = match self.connect(connection.account).await {
                Ok(connection) => connection,
                Err(failure) => {
                    job.left = Some(message.all());
                    return self.not_sent(job, failure.outcome());
                }
            };
            began = Instant::now();
            sent = Box::pin(message.send(&mut connection.smtp)).await;
        }
        let answered = Instant::now();
        self.put_back(connection);
        self.settle(job, message, &sent, began, answered).await;
    }

    /// Makes promises of what the server has answered for, and tries the others again later.
    async fn settle(
        self: &Arc<Self>,
        job: Job,
        message: Message,
        sent: &Sent,
        began: Instant,
        answered: Instant,
    ) {
        let outcome = sent.outcome();
        let intended = job.intended;
        let promises = message.promises(sent, self.world.micros(began), self.world.micros(answered));
        if promises.is_empty() {
            self.ended(intended, outcome);
        } else {
            for told in self.world.recent.answered(message.letter.id, answered) {
                self.world.recorder.offered(Operation::ImapPush, answered);
                let recorder = &self.world.recorder;
                recorder.ended_at(Operation::ImapPush, answered, told, Outcome::Done);
            }
            // The connection does not wait for the ledger's disk.
            let permit = self.unwritten.clone().acquire_owned().await;
            let senders = self.clone();
            self.tasks.spawn(async move {
                let outcome = match senders.world.ledger.promise(promises).await {
                    Ok(()) => outcome,
                    Err(error) => {
                        senders.world.ledger_failed(&error);
                        Outcome::Broken
                    }
                };
                let recorder = &senders.world.recorder;
                recorder.ended_at(senders.role.message(), intended, answered, outcome);
                drop(permit);
            });
        }
        if let Some(left) = message.left(sent) {
            self.retry(job, Some(left));
        }
    }

    /// Nothing of it was said.
    fn not_sent(self: &Arc<Self>, mut job: Job, outcome: Outcome) {
        self.ended(job.intended, outcome);
        if outcome != Outcome::Refused {
            let left = job.left.take();
            self.retry(job, left);
        }
    }

    /// Tries again later what was refused for now.
    fn retry(self: &Arc<Self>, job: Job, left: Option<Left>) {
        if job.attempt >= RETRIES || self.retries.load(Ordering::Relaxed) >= MOST_RETRIES {
            return;
        }
        self.retries.fetch_add(1, Ordering::Relaxed);
        let mut dice = Dice::new(self.world.seed, u64::from(job.attempt), job.number);
        let wait = RETRY_AFTER * 3_u32.pow(job.attempt);
        let due = Instant::now() + wait.mul_f64(0.8 + 0.4 * dice.share());
        let senders = self.clone();
        self.tasks.spawn(async move {
            let goes_on = senders.world.sleep_until(due).await;
            senders.retries.fetch_sub(1, Ordering::Relaxed);
            if goes_on {
                senders.due(Job {
                    number: job.number,
                    intended: due,
                    attempt: job.attempt + 1,
                    left,
                });
            }
        });
    }

    fn write(&self, number: u64, account: Option<u64>, left: Option<Left>) -> Message {
        let letters = &self.world.letters;
        let letter = match account {
            None => letters.letter(number),
            Some(rank) => letters.submission(
                number,
                rank,
                Elsewhere {
                    share: self.remote_share,
                    domains: &self.world.target.remote_domains,
                },
            ),
        };
        match left {
            Some(left) => Message::again(letter, left),
            None => Message::new(letter, account, letters),
        }
    }

    /// A connection that is ready; of a certain account when one is wanted.
    fn idle_connection(&self, wanted: Option<Option<u64>>) -> Option<Connection> {
        let mut idle = self.idle.lock();
        loop {
            let fits = |it: &Connection| wanted.is_none_or(|account| it.account == account);
            let at = idle.iter().rposition(fits)?;
            let mut connection = idle.remove(at);
            if connection.smtp.is_usable() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self, account: Option<u64>) -> Result<Connection, Failure> {
        let address = account.map(|rank| self.world.letters.address(rank));
        let config = config(&self.world.target, address.as_deref(), self.patience);
        let connecting = Box::pin(Smtp::connect(self.address, config, self.patience));
        let smtp = self
            .world
            .timed(self.role.connect(), Instant::now(), connecting)
            .await?;
        Ok(Connection { smtp, account })
    }

    fn put_back(self: &Arc<Self>, mut connection: Connection) {
        if connection.smtp.sent() < self.messages_per_connection && connection.smtp.is_usable() {
            connection.smtp.rest();
            self.idle.lock().push(connection);
        } else {
            self.tasks.spawn(connection.smtp.quit());
        }
    }

    fn ended(&self, intended: Instant, outcome: Outcome) {
        self.world.recorder.ended(self.role.message(), intended, outcome);
    }

    /// Lets what has begun come to its end, and says goodbye.
    async fn finish(&self) {
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            for job in self.line.clear() {
                self.ended(job.intended, Outcome::Broken);
            }
            self.tasks.wait().await;
        }
        let idle = std::mem::take(&mut *self.idle.lock());
        futures::future::join_all(idle.into_iter().map(|connection| connection.smtp.quit())).await;
    }
}

impl Role {
    fn connect(self) -> Operation {
        match self {
            Self::Mx => Operation::MxConnect,
            Self::Submission => Operation::SubmitConnect,
        }
    }

    fn message(self) -> Operation {
        match self {
            Self::Mx => Operation::MxMessage,
            Self::Submission => Operation::SubmitMessage,
        }
    }
}

/// Whether the connection was gone before the server could have made anything of the message.
fn closed_before(sent: &Sent) -> bool {
    let closed = |verdict: &Verdict| matches!(verdict, Verdict::Failed(Trouble::Closed));
    sent.verdicts.iter().all(closed)
}
