//! What operators ask of the queue: the meaning of the `Queue` contract, without gRPC.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use postrider_proto::queue as contract;
use postrider_proto::{Failure, Kind};
use postrider_queue::engine::{Counts, Suspension};
use postrider_queue::{Error, Queue, State, Unit, Verb};
use postrider_runtime::journal::Journal;
use postrider_types::{Domain, UnitId};

use crate::record::Record;

/// Units read at a time.
const PAGE: usize = 500;

/// The operators' view of a queue. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    queue: Queue,
    record: Arc<Record>,
}

/// Which units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The domain, or `local`; lower case; empty: any.
    pub destination: String,
    /// Sender's address, in any case; empty: any.
    pub sender: String,
    /// A recipient's address, in any case; empty: any.
    pub recipient: String,
    /// States; empty: any.
    pub states: Vec<State>,
}

impl Filter {
    /// Reads what a request says.
    pub fn parse(filter: Option<contract::Filter>) -> Result<Self, Failure> {
        let filter = filter.unwrap_or_default();
        let state = |number: &i32| match contract::State::try_from(*number) {
            Ok(contract::State::Queued) => Ok(State::Queued),
            Ok(contract::State::Sending) => Ok(State::Sending),
            Ok(contract::State::Held) => Ok(State::Held),
            Ok(contract::State::Delivered | contract::State::Failed | contract::State::Cancelled) => {
                Err(Failure::new(
                    Kind::Invalid,
                    "final units are not in the queue; `postrider trace` shows what became of them",
                ))
            }
            _ => Err(Failure::new(Kind::Invalid, "no such state")),
        };
        Ok(Self {
            destination: filter.destination.trim_end_matches('.').to_ascii_lowercase(),
            sender: filter.sender.to_lowercase(),
            recipient: filter.recipient.to_lowercase(),
            states: filter.states.iter().map(state).collect::<Result<_, _>>()?,
        })
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn matches(&self, unit: &Unit) -> bool {
        let new = &unit.new;
        let sender = || {
            new.sender
                .0
                .as_ref()
                .map(|sender| sender.to_string().to_lowercase())
                .unwrap_or_default()
        };
        let received = || {
            new.recipients
                .iter()
                .any(|to| to.address.to_string().to_lowercase() == self.recipient)
        };
        (self.destination.is_empty() || new.destination.as_str() == self.destination)
            && (self.states.is_empty() || self.states.contains(&unit.state))
            && (self.sender.is_empty() || sender() == self.sender)
            && (self.recipient.is_empty() || received())
    }
}

impl Operator {
    /// Operates a queue, and records what was done.
    pub fn new(queue: Queue, journal: Arc<dyn Journal>) -> Self {
        Self {
            queue,
            record: Arc::new(Record::new(journal)),
        }
    }

    /// Units in the engine's order, a page in memory at a time.
    pub fn list(&self, filter: Filter) -> BoxStream<'static, Result<Unit, Failure>> {
        let queue = self.queue.clone();
        let pages = stream::try_unfold((queue, None, false), |(queue, cursor, done)| async move {
            if done {
                return Ok(None);
            }
            let page = queue.list(cursor, PAGE).await.map_err(failure)?;
            let done = page.next.is_none();
            Ok(Some((page.items, (queue, page.next, done))))
        });
        let units = pages.flat_map(|page| match page {
            Ok(units) => stream::iter(units).map(Ok).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        });
        units
            .filter(move |unit| {
                let keep = unit.as_ref().map_or(true, |unit| filter.matches(unit));
                async move { keep }
            })
            .boxed()
    }

    /// One unit.
    pub async fn get(&self, id: &str) -> Result<Unit, Failure> {
        self.queue.get(unit_id(id)?).await.map_err(failure)
    }

    /// Applies a verb to each of the named units, or to all that match; says which, and why not.
    pub fn act(
        &self,
        verb: Verb,
        ids: Vec<String>,
        filter: Filter,
        all: bool,
    ) -> BoxStream<'static, Result<(String, Option<Failure>), Failure>> {
        let named: BoxStream<'static, Result<String, Failure>> = if !ids.is_empty() {
            stream::iter(ids).map(Ok).boxed()
        } else if all || !filter.is_empty() {
            self.list(filter)
                .map(|unit| unit.map(|unit| unit.new.id.to_string()))
                .boxed()
        } else {
            stream::empty().boxed()
        };
        let this = self.clone();
        named
            .then(move |id| {
                let (this, verb) = (this.clone(), verb.clone());
                async move {
                    let id = id?;
                    let done = this.act_on(&id, &verb).await;
                    match done {
                        // Nothing more would succeed.
                        Err(failure) if failure.is_temporary() => Err(failure),
                        done => Ok((id, done.err())),
                    }
                }
            })
            .boxed()
    }

    async fn act_on(&self, id: &str, verb: &Verb) -> Result<(), Failure> {
        let unit = self.queue.act(unit_id(id)?, verb).await.map_err(failure)?;
        let name = match verb {
            Verb::Hold => "held",
            Verb::Release => "released",
            Verb::Retry => "retried",
            Verb::Reroute(_) => "rerouted",
            Verb::Cancel => "cancelled",
        };
        self.record.acted(&unit, name);
        Ok(())
    }

    /// Stops all delivery to a domain.
    pub async fn suspend(&self, name: &str, reason: &str) -> Result<(), Failure> {
        self.queue.suspend(domain(name)?, reason).await.map_err(failure)
    }

    /// Starts it again.
    pub async fn resume(&self, name: &str) -> Result<(), Failure> {
        self.queue.resume(domain(name)?).await.map_err(failure)
    }

    /// All suspensions, by domain.
    pub async fn suspensions(&self) -> Result<Vec<(Domain, Suspension)>, Failure> {
        self.queue.suspensions().await.map_err(failure)
    }

    /// How many units there are.
    pub async fn statistics(&self) -> Result<Counts, Failure> {
        self.queue.statistics().await.map_err(failure)
    }
}

fn unit_id(text: &str) -> Result<UnitId, Failure> {
    text.parse()
        .map_err(|error: postrider_types::IdError| Failure::new(Kind::Invalid, error.to_string()))
}

fn domain(text: &str) -> Result<Domain, Failure> {
    Domain::new(text).map_err(|error| Failure::new(Kind::Invalid, format!("`{text}`: {error}")))
}

fn failure(error: Error) -> Failure {
    let kind = match &error {
        Error::Unavailable(_) | Error::Unknown(_) => Kind::Unavailable,
        Error::Damaged(_) => Kind::Internal,
        Error::NotFound(_) => Kind::NotFound,
        Error::Refused(_) => Kind::Precondition,
        Error::Invalid(_) => Kind::Invalid,
    };
    Failure::new(kind, error.to_string())
}
