//! What can be set about this role.

use std::time::Duration;

use postrider_proto::{Failure, Kind};

/// Settings of the mail store. Every default suits one machine with some thousand accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// No other process uses the same storage, as is so with the memory and embedded engines: what the cache says is
    /// then true without asking the engine. Wrong use shows other instances' changes late. Default: false.
    pub sole_instance: bool,
    /// Memory for accounts in use (head, folders, folder indexes, recent changes), in bytes. Default: 64 MiB.
    pub cache_bytes: usize,
    /// Memory for descriptions of recently stored messages, in bytes. Default: 16 MiB.
    pub description_cache_bytes: u64,
    /// Memory for the sizes of messages that were listed a moment ago, 10 bytes each, in bytes. Default: 16 MiB.
    pub size_cache_bytes: u64,
    /// The largest message, in bytes. Default: 64 MiB.
    pub max_message_bytes: u64,
    /// The most folders of an account, names that are only subscribed included. Default: 10,000.
    pub max_folders: usize,
    /// How long change rows are kept: who was away for longer gets a full resync. Default: 7 days.
    pub change_retention: Duration,
    /// How long a delivery is remembered: a retry after that would deliver again, so it must be longer than anybody
    /// tries. Default: 7 days.
    pub receipt_retention: Duration,
    /// How long content that nobody refers to stays before it is swept. Default: 1 day.
    pub content_grace: Duration,
    /// How often expired rows and unused contents are looked for. Default: 10 minutes.
    pub housekeeping_interval: Duration,
    /// How often watched accounts are looked at while no hints are heard, and a part of them in case a hint was lost; not at all with
    /// `sole_instance`. Default: 30 s.
    pub watch_poll: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            sole_instance: false,
            cache_bytes: 64 << 20,
            description_cache_bytes: 16 << 20,
            size_cache_bytes: 16 << 20,
            max_message_bytes: 64 << 20,
            max_folders: 10_000,
            change_retention: Duration::from_secs(7 * DAY),
            receipt_retention: Duration::from_secs(7 * DAY),
            content_grace: Duration::from_secs(DAY),
            housekeeping_interval: Duration::from_secs(600),
            watch_poll: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Refuses settings that cannot work, saying which.
    pub fn validate(&self) -> Result<(), Failure> {
        let rules = [
            (self.max_message_bytes > 0, "max_message_bytes must be above 0"),
            (self.max_folders >= 16, "max_folders must be at least 16"),
            (
                !self.housekeeping_interval.is_zero(),
                "housekeeping_interval must be above 0",
            ),
            (!self.watch_poll.is_zero(), "watch_poll must be above 0"),
            // Content is put before the row that refers to it: sweeping at once would take it away in between.
            (
                self.content_grace >= Duration::from_secs(600),
                "content_grace must be at least 10 minutes",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Failure::new(Kind::Invalid, *rule)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_not() {
        assert_eq!(Config::default().validate(), Ok(()));
        let hasty = Config {
            content_grace: Duration::ZERO,
            ..Config::default()
        };
        assert!(
            hasty
                .validate()
                .is_err_and(|failure| failure.message.contains("content_grace"))
        );
    }
}
