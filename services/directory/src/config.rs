//! What an operator can set of the directory.

use std::time::Duration;

use postrider_types::Address;

/// Configuration of the directory.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cost of checking a password.
    pub argon2: Argon2Cost,
    /// Argon2id runs at a time. Default: as many as there are cores, so that logins never take more than the machine.
    pub hashing_threads: usize,
    /// Callers that may wait for a run; more are UNAVAILABLE at once. Default 256: some seconds of waiting.
    pub hashing_queue: usize,
    /// PBKDF2 iterations of SCRAM-SHA-256 verifiers. Default 10,000: above the 4,096 of RFC 7677 §4, and still some tens of
    /// milliseconds on a slow phone, which pays them at every login. What they add against guessing from a stolen
    /// directory is little either way; long passwords (generated ones have 99 bits) are what protects there.
    pub scram_iterations: u32,
    /// Characters a chosen password must have. Default 6.
    pub password_min_chars: usize,
    /// Verified credentials kept in memory. Default 100,000 (some 15 MB).
    pub verified_entries: u64,
    /// How long a verified credential is believed without another Argon2id run. Default 1 h.
    pub verified_ttl: Duration,
    /// Targets of resolved addresses kept in memory. Default 200,000.
    pub resolved_entries: u64,
    /// How long an answer of Resolve is believed. Default 15 s; a change made on this node counts at once.
    pub resolved_ttl: Duration,
    /// How long an answer of Resolve is used while storage is away. Default 10 min.
    pub resolved_stale: Duration,
    /// Who reads mail to `postmaster@` and `abuse@` of domains that have neither account nor alias of that name. Default:
    /// the domain's first account.
    pub postmaster: Option<Address>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            argon2: Argon2Cost::default(),
            hashing_threads: std::thread::available_parallelism().map_or(1, usize::from),
            hashing_queue: 256,
            scram_iterations: 10_000,
            password_min_chars: 6,
            verified_entries: 100_000,
            verified_ttl: Duration::from_secs(3600),
            resolved_entries: 200_000,
            resolved_ttl: Duration::from_secs(15),
            resolved_stale: Duration::from_secs(600),
            postmaster: None,
        }
    }
}

impl Config {
    /// Says what is wrong with it, if anything is.
    pub fn validate(&self) -> Result<(), String> {
        let memory_ok = self.argon2.memory_kib >= self.argon2.parallelism.saturating_mul(8)
            && self.argon2.memory_kib <= 4 << 20;
        if !memory_ok
            || !(1..=16).contains(&self.argon2.parallelism)
            || !(1..=64).contains(&self.argon2.iterations)
        {
            return Err(
                "argon2 takes 8 KiB per lane to 4 GiB of memory, 1 to 64 iterations and 1 to 16 lanes".into(),
            );
        }
        if self.hashing_threads == 0 {
            return Err("hashing_threads must be at least 1".into());
        }
        if !(postrider_sasl::MIN_ITERATIONS..=1_000_000).contains(&self.scram_iterations) {
            return Err("scram_iterations must be between 4,096 (RFC 7677) and 1,000,000".into());
        }
        if !(1..=64).contains(&self.password_min_chars) {
            return Err("password_min_chars must be between 1 and 64".into());
        }
        if self.resolved_stale < self.resolved_ttl {
            return Err("resolved_stale must not be shorter than resolved_ttl".into());
        }
        Ok(())
    }
}

/// Argon2id's parameters (RFC 9106 §3.1). A stored hash keeps the ones it was made with and is made anew at the next
/// login after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB. Default 19,456 (19 MiB).
    pub memory_kib: u32,
    /// Passes. Default 2.
    pub iterations: u32,
    /// Lanes. Default 1.
    pub parallelism: u32,
}

impl Default for Argon2Cost {
    /// The OWASP minimum: some 12 ms a run.
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            iterations: 2,
            parallelism: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_nonsense_is_not() {
        assert_eq!(Config::default().validate(), Ok(()));
        let weak = Config {
            scram_iterations: 4095,
            ..Config::default()
        };
        assert!(weak.validate().is_err());
        let no_memory = Argon2Cost {
            memory_kib: 7,
            ..Argon2Cost::default()
        };
        assert!(
            Config {
                argon2: no_memory,
                ..Config::default()
            }
            .validate()
            .is_err()
        );
        let lanes = Argon2Cost {
            parallelism: u32::MAX,
            ..Argon2Cost::default()
        };
        let config = Config {
            argon2: lanes,
            ..Config::default()
        };
        assert!(config.validate().is_err());
        assert!(
            Config {
                hashing_threads: 0,
                ..Config::default()
            }
            .validate()
            .is_err()
        );
    }
}
