//! A profile: who does what how often. TOML files; a few are shipped in `profiles/` and known by name.
//!
//! ```toml
//! name = "office"
//! about = "A company's morning: mail in, mail out, devices that watch and read."
//! users = 500                      # how many people it stands for; what `knee` answers in
//! duration = "2m"
//!
//! [traffic]
//! sizes = "field"                  # or a fixed size: "4KiB"
//! recipients = "zipf"              # or "even"
//!
//! [[actor]]
//! kind = "mx"
//! connections = 20                 # at most; arrivals that find none free wait, and their latency shows it
//! arrivals = "poisson"             # or "constant"
//! rate = [{ for = "30s", from = 10, to = 100 }, { for = "90s", at = 100 }]
//!
//! [[actor]]
//! kind = "imap-device"
//! population = 100                 # standing devices, spread over the accounts
//! ```

use std::time::Duration;

use postrider_runtime::config::{duration, format_size, parse_size};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

pub mod command;
mod load;
mod nearest;
mod validate;

pub use load::SHIPPED;
pub(crate) use nearest::with_suggestion;

/// Who does what how often. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name in reports.
    pub name: String,
    /// One sentence for a person who chooses.
    pub about: String,
    /// How many people it stands for at its own rates, when mail and devices are in their proportions; what `knee` answers in.
    pub users: Option<u64>,
    /// How long arrivals go on; what has begun then may end.
    #[serde(with = "duration")]
    pub duration: Duration,
    /// What is sent.
    #[serde(default)]
    pub traffic: Traffic,
    /// Who acts.
    #[serde(rename = "actor")]
    pub actors: Vec<Actor>,
}

/// What is sent, to whom.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traffic {
    /// How big messages are.
    pub sizes: Sizes,
    /// Who gets them.
    pub recipients: Recipients,
}

/// How big messages are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sizes {
    /// As measured in the field: median 4 KiB, mean 75 KiB (see [`crate::traffic`]).
    #[default]
    Field,
    /// All of one size, in bytes.
    Fixed(u64),
}

/// Who gets messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipients {
    /// A few get a lot: Zipf's law with exponent 1.
    #[default]
    Zipf,
    /// Everybody alike.
    Even,
}

/// One kind of client and how much of it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Actor {
    /// Other servers that bring mail to port 25.
    Mx(Sender),
    /// Users' programs that hand in mail with AUTH; `remote_share` of the recipients are elsewhere.
    Submission(Sender),
    /// Devices that stay connected: login, SELECT or QRESYNC, IDLE, fetch what is new, mark, move, search, append.
    ImapDevice(Devices),
    /// Programs that poll a maildrop.
    Pop3Poller(Pollers),
}

/// Arrivals of messages over at most so many connections.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// Connections at once, at most.
    pub connections: u32,
    /// Messages before a connection is closed and another one made.
    #[serde(default = "Sender::messages_per_connection")]
    pub messages_per_connection: u32,
    /// How arrivals are spread in time.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Messages per second over time.
    pub rate: Vec<Phase>,
    /// Share of recipients at [`Target::remote_domains`](crate::target::Target::remote_domains), 0 to 1; only for submission.
    #[serde(default)]
    pub remote_share: f64,
}

/// Standing IMAP devices.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// How many are connected; they connect spread over the first tenth of the run.
    pub population: u32,
    /// Actions (search, mark, move, read again, append) per device and hour, beside fetching what is new.
    #[serde(default = "Devices::actions_per_hour")]
    pub actions_per_hour: f64,
    /// Share that comes back with QRESYNC after a short absence instead of staying connected, 0 to 1.
    #[serde(default)]
    pub returning: f64,
}

/// POP3 polls.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pollers {
    /// Connections at once, at most.
    pub connections: u32,
    /// How polls are spread in time.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Polls per second over time.
    pub rate: Vec<Phase>,
    /// Whether messages are deleted after they were read.
    pub drain: bool,
}

/// How arrivals are spread around their rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Independent of one another, as users and servers are.
    #[default]
    Poisson,
    /// Evenly spaced.
    Constant,
}

/// A stretch of time with a rate that is level or changes evenly. The last one goes on until the end of the run.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// How long.
    #[serde(rename = "for", with = "duration")]
    pub length: Duration,
    /// A level rate, per second.
    pub at: Option<f64>,
    /// Where a ramp begins.
    pub from: Option<f64>,
    /// Where a ramp ends.
    pub to: Option<f64>,
}

impl Profile {
    /// The same people, `factor` times as many: rates and devices. Connections grow along, for more servers have more of
    /// them, but do not shrink: they are a bound, and a bound that tightens would be felt as latency.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let mut scaled = self.clone();
        scaled.users = self.users.map(|users| times(users, factor));
        for actor in &mut scaled.actors {
            match actor {
                Actor::Mx(Sender {
                    rate, connections, ..
                })
                | Actor::Submission(Sender {
                    rate, connections, ..
                })
                | Actor::Pop3Poller(Pollers {
                    rate, connections, ..
                }) => {
                    rate.iter_mut().for_each(|phase| phase.scale(factor));
                    *connections = times_u32(*connections, factor.max(1.0));
                }
                Actor::ImapDevice(devices) => {
                    devices.population = times_u32(devices.population, factor);
                }
            }
        }
        scaled
    }
}

impl Phase {
    /// The rates at its beginning and end, per second; a phase that says nothing has none.
    pub fn rates(&self) -> (f64, f64) {
        match (self.at, self.from, self.to) {
            (Some(level), _, _) => (level, level),
            (None, from, to) => (from.unwrap_or(0.0), to.unwrap_or(0.0)),
        }
    }

    fn scale(&mut self, factor: f64) {
        for rate in [&mut self.at, &mut self.from, &mut self.to].into_iter().flatten() {
            *rate *= factor;
        }
    }
}

impl Sender {
    fn messages_per_connection() -> u32 {
        10
    }
}

impl Devices {
    fn actions_per_hour() -> f64 {
        12.0
    }
}

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "field" => Ok(Self::Field),
            fixed => parse_size(fixed).map(Self::Fixed).map_err(D::Error::custom),
        }
    }
}

impl Serialize for Sizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Field => serializer.serialize_str("field"),
            Self::Fixed(bytes) => serializer.serialize_str(&format_size(*bytes)),
        }
    }
}

/// At least one, when there was any.
fn times(number: u64, factor: f64) -> u64 {
    let scaled = (number as f64 * factor).round() as u64;
    scaled.max(number.min(1))
}

fn times_u32(number: u32, factor: f64) -> u32 {
    u32::try_from(times(u64::from(number), factor)).unwrap_or(u32::MAX)
}
