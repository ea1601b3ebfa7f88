//! What can happen to a cluster, as a table of small values.

use std::time::Duration;

use anyhow::{Result, bail};
use postrider_testbed::{Engine, Kind};

use super::member::Role;
use super::site::Site;
use crate::soak::seconds;
use postrider_proxy::Mode;

/// How long a supervisor takes to start a process again.
const SUPERVISOR: u64 = 1;
/// How long something stands still, or is away.
const WHILE: u64 = 12;
/// The delay each way between processes.
const SLOW: Duration = Duration::from_millis(150);

/// A fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// One word, for the table, `--only` and `docs/operations.md`.
    pub name: &'static str,
    /// What is done.
    pub act: Act,
    /// For how long, in seconds.
    pub hold: u64,
    /// Service is back so many seconds after its end.
    pub back: u64,
    /// Everything promised has arrived so many seconds after the load.
    pub late: u64,
    /// Whether the short form has it.
    pub short: bool,
}

/// What is done, and undone.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// A process of this role is killed (SIGKILL), and started again.
    Kill(Role),
    /// A process of this role stands still (SIGSTOP), and goes on.
    Stop(Role),
    /// A node of an engine is killed, and started again.
    KillEngine(Kind, u8),
    /// A node of an engine stands still, and goes on.
    StopEngine(Kind, u8),
    /// Every engine is killed at once, and all are started again.
    AllEngines,
    /// Kafka is killed, its data deleted, and it is started again with nothing.
    KafkaWiped,
    /// All that roles and Redis say to each other takes longer.
    Slow,
    /// Nobody reaches one process of this role, and then everybody does.
    Partition(Role),
}

/// When nothing waits for the queue's second look: seconds that mail may be late.
const SOON: u64 = 30;
/// A wake-up that was lost is found after twice `queue.kafka.find_lost` and a minute; a soak sets it to
/// [`FIND_LOST`](super::site::FIND_LOST).
const FOUND: u64 = 2 * super::site::FIND_LOST + 60 + SOON;
/// What a dead worker was sending is sent again when its lease of two minutes is over.
const LEASE: u64 = 120 + SOON;

const fn fault(name: &'static str, act: Act, hold: u64, back: u64, late: u64) -> Fault {
    Fault {
        name,
        act,
        hold,
        back,
        late,
        short: false,
    }
}

const fn killed(name: &'static str, role: Role, back: u64, late: u64) -> Fault {
    fault(name, Act::Kill(role), SUPERVISOR, back, late)
}

const fn stopped(name: &'static str, role: Role, back: u64, late: u64) -> Fault {
    fault(name, Act::Stop(role), WHILE, back, late)
}

const fn node_killed(name: &'static str, kind: Kind, node: u8, back: u64, late: u64) -> Fault {
    fault(name, Act::KillEngine(kind, node), WHILE, back, late)
}

const fn node_stopped(name: &'static str, kind: Kind, node: u8, back: u64, late: u64) -> Fault {
    fault(name, Act::StopEngine(kind, node), WHILE, back, late)
}

const fn short(fault: Fault) -> Fault {
    Fault { short: true, ..fault }
}

/// Every fault, in the order of their turns.
pub const FAULTS: [Fault; 22] = [
    short(killed("smtp-ingress-killed", Role::SmtpIngress, 20, SOON)),
    stopped("smtp-ingress-stopped", Role::SmtpIngress, 20, SOON),
    killed("imap-gateway-killed", Role::ImapGateway, 20, SOON),
    stopped("imap-gateway-stopped", Role::ImapGateway, 20, SOON),
    killed("pop3-gateway-killed", Role::Pop3Gateway, 20, SOON),
    stopped("pop3-gateway-stopped", Role::Pop3Gateway, 20, SOON),
    short(killed("mail-store-killed", Role::MailStore, 20, SOON)),
    stopped("mail-store-stopped", Role::MailStore, 20, SOON),
    killed("directory-killed", Role::Directory, 20, SOON),
    stopped("directory-stopped", Role::Directory, 20, SOON),
    killed("delivery-worker-killed", Role::DeliveryWorker, 45, LEASE),
    stopped("delivery-worker-stopped", Role::DeliveryWorker, 45, LEASE),
    short(node_killed(
        "cassandra-node-killed",
        Kind::Cassandra,
        2,
        30,
        LEASE,
    )),
    node_stopped("cassandra-node-stopped", Kind::Cassandra, 3, 30, LEASE),
    short(node_killed("kafka-broker-killed", Kind::Kafka, 2, 45, FOUND)),
    node_stopped("kafka-broker-stopped", Kind::Kafka, 3, 45, FOUND),
    node_killed("redis-killed", Kind::Redis, 1, 30, SOON),
    node_stopped("redis-stopped", Kind::Redis, 1, 30, SOON),
    fault("delayed", Act::Slow, WHILE, 20, SOON),
    fault("partition", Act::Partition(Role::MailStore), WHILE, 30, SOON),
    fault("engines-restarted", Act::AllEngines, 2, 90, FOUND),
    fault("kafka-wiped", Act::KafkaWiped, 2, 90, FOUND),
];

impl Fault {
    /// What is done, for people.
    pub fn about(&self) -> String {
        match self.act {
            Act::Kill(role) => format!(
                "kill -9 of one {}; started again after {SUPERVISOR} s",
                role.name()
            ),
            Act::Stop(role) => format!("one {} stands still for {WHILE} s", role.name()),
            Act::KillEngine(kind, node) => format!(
                "kill -9 of {} {node} of its nodes, started after {WHILE} s",
                kind.name()
            ),
            Act::StopEngine(kind, node) => format!("{} {node} stands still for {WHILE} s", kind.name()),
            Act::AllEngines => "kill -9 of every engine at once, and a start of all".to_owned(),
            Act::KafkaWiped => "Kafka killed, its data deleted, started with nothing".to_owned(),
            Act::Slow => format!(
                "{} ms more each way between roles, and to Redis",
                SLOW.as_millis()
            ),
            Act::Partition(role) => format!("nobody reaches one {} for {WHILE} s", role.name()),
        }
    }

    /// Whether it is done at once, so that what is on its way at that moment is all it can hit.
    pub fn is_a_moment(&self) -> bool {
        matches!(self.act, Act::Kill(_))
    }

    /// Does it.
    pub async fn begin(&self, site: &Site) -> Result<()> {
        match self.act {
            Act::Kill(role) => site.member(role, 1)?.act(|node| node.kill()).await,
            Act::Stop(role) => site.member(role, 2)?.act(|node| node.pause()).await,
            Act::KillEngine(kind, node) => {
                let engine = engine(kind, node)?;
                site.engines(move |testbed| testbed.kill(engine)).await
            }
            Act::StopEngine(kind, node) => {
                let engine = engine(kind, node)?;
                site.engines(move |testbed| testbed.pause(engine)).await
            }
            Act::AllEngines => kill_all(site, |_| true).await,
            Act::KafkaWiped => {
                let is_kafka = |engine: &Engine| engine.kind() == Kind::Kafka;
                kill_all(site, is_kafka).await?;
                site.engines(move |testbed| {
                    let mut brokers = Engine::all(3).into_iter().filter(is_kafka);
                    brokers.try_for_each(|broker| testbed.forget(broker))
                })
                .await
            }
            Act::Slow => {
                site.links().for_each(|link| link.delay(SLOW));
                Ok(())
            }
            Act::Partition(role) => {
                site.member(role, 2)?.link.set(Mode::Hold);
                Ok(())
            }
        }
    }

    /// Undoes it.
    pub async fn end(&self, site: &Site) -> Result<()> {
        match self.act {
            Act::Kill(role) => site.member(role, 1)?.act(|node| node.launch()).await,
            Act::Stop(role) => site.member(role, 2)?.act(|node| node.resume()).await,
            Act::KillEngine(kind, node) => {
                let engine = engine(kind, node)?;
                site.engines(move |testbed| testbed.start(engine)).await
            }
            Act::StopEngine(kind, node) => {
                let engine = engine(kind, node)?;
                site.engines(move |testbed| testbed.resume(engine)).await
            }
            Act::AllEngines | Act::KafkaWiped => site.engines(|testbed| testbed.up(Some(3), true)).await,
            Act::Slow => {
                site.links().for_each(|link| link.delay(Duration::ZERO));
                Ok(())
            }
            Act::Partition(role) => {
                site.member(role, 2)?.link.set(Mode::Pass);
                Ok(())
            }
        }
    }

    /// How long it is held.
    pub fn hold(&self) -> Duration {
        seconds(self.hold)
    }
}

async fn kill_all(site: &Site, which: impl Fn(&Engine) -> bool + Send + 'static) -> Result<()> {
    site.engines(move |testbed| {
        let mut engines = Engine::all(3).into_iter().filter(|engine| which(engine));
        engines.try_for_each(|engine| testbed.kill(engine))
    })
    .await
}

fn engine(kind: Kind, node: u8) -> Result<Engine> {
    match Engine::new(kind, node) {
        Some(engine) => Ok(engine),
        None => bail!("there is no {} {node}", kind.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATIONS: &str = include_str!("../../../../docs/operations.md");

    #[test]
    fn operations_states_every_bound() {
        for fault in FAULTS {
            let begin = format!("| `{}` |", fault.name);
            let line = OPERATIONS.lines().find(|line| line.starts_with(&begin));
            let end = format!("| {} s | {} s |", fault.back, fault.late);
            let stated = line.is_some_and(|line| line.ends_with(&end));
            assert!(
                stated,
                "docs/operations.md has to have a line `{begin} … {end}`, not {line:?}"
            );
        }
    }

    #[test]
    fn each_role_is_killed_and_stopped_and_the_short_form_has_some() {
        for role in Role::ALL {
            for act in ["killed", "stopped"] {
                let name = format!("{}-{act}", role.name());
                assert!(FAULTS.iter().any(|fault| fault.name == name), "{name}");
            }
        }
        assert!(FAULTS.iter().filter(|fault| fault.short).count() >= 3);
    }
}
