//! Slow hashes on a bounded pool: logins can never take more than the machine has to give.

use std::sync::Arc;
use std::time::Instant;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use postrider_sasl::Verifier;
use postrider_store::directory::Credential;
use postrider_types::Secret;
use tokio::sync::Semaphore;

use crate::metrics;
use crate::{Config, Error, Result};

/// Octets of a salt (RFC 9106 §3.1 recommends 16).
const SALT: usize = 16;

/// Derives and checks what is stored of passwords.
#[derive(Debug)]
pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    scram_iterations: u32,
    /// Whoever runs or waits has a place.
    places: Semaphore,
    /// Whoever runs has a slot.
    slots: Arc<Semaphore>,
}

impl Hasher {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        config.validate().map_err(Error::Invalid)?;
        let cost = config.argon2;
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None)
            .map_err(|error| Error::Invalid(format!("argon2: {error}")))?;
        Ok(Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            scram_iterations: config.scram_iterations,
            places: Semaphore::new(
                (config.hashing_threads + config.hashing_queue).min(Semaphore::MAX_PERMITS),
            ),
            slots: Arc::new(Semaphore::new(config.hashing_threads.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// Everything that is stored of a password.
    pub(crate) async fn derive(&self, password: &Secret) -> Result<Credential> {
        let (argon2, iterations, password) = (self.argon2.clone(), self.scram_iterations, password.clone());
        self.run(move || {
            let (argon2_salt, scram_salt): ([u8; SALT], [u8; SALT]) = (rand::random(), rand::random());
            let argon2id = argon2
                .hash_password_with_salt(password.expose(), &argon2_salt)
                .map_err(|error| Error::Internal(format!("argon2: {error}")))?
                .to_string();
            let scram = Verifier::derive(password.expose(), &scram_salt, iterations);
            Ok(Credential {
                argon2id,
                salt: scram.salt,
                iterations: scram.iterations,
                stored_key: scram.stored_key.to_vec(),
                server_key: scram.server_key.to_vec(),
            })
        })
        .await?
    }

    /// Whether it is the password of a PHC string. A string that cannot be read matches nothing.
    pub(crate) async fn verify(&self, password: &Secret, phc: &str) -> Result<bool> {
        let (argon2, password, phc) = (self.argon2.clone(), password.clone(), phc.to_owned());
        self.run(move || argon2.verify_password(password.expose(), phc.as_str()).is_ok())
            .await
    }

    /// Whether a stored hash was made with another cost than today's.
    pub(crate) fn is_outdated(&self, credential: &Credential) -> bool {
        let stored = PasswordHash::new(&credential.argon2id)
            .ok()
            .and_then(|hash| Params::try_from(&hash).ok());
        let same = |params: &Params, now: &Params| {
            (params.m_cost(), params.t_cost(), params.p_cost()) == (now.m_cost(), now.t_cost(), now.p_cost())
        };
        !stored.is_some_and(|params| same(&params, self.argon2.params()))
            || credential.iterations != self.scram_iterations
    }

    /// Runs a job on a blocking thread when its turn comes. A caller that goes away keeps its slot until the job is done,
    /// so abandoned logins cannot pile up work.
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let began = Instant::now();
        let _place = self.places.try_acquire().map_err(|_| {
            metrics::hash_refused();
            Error::Busy
        })?;
        let slot = self
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| Error::Internal(error.to_string()))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = job();
            drop(slot);
            done
        });
        let done = done.await.map_err(|error| Error::Internal(error.to_string()))?;
        metrics::hashed(began.elapsed());
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Argon2Cost;

    fn cheap() -> Config {
        let argon2 = Argon2Cost {
            memory_kib: 8,
            iterations: 1,
            parallelism: 1,
        };
        Config {
            argon2,
            scram_iterations: 4096,
            hashing_threads: 1,
            hashing_queue: 1,
            ..Config::default()
        }
    }

    #[tokio::test]
    async fn a_password_matches_what_was_derived_from_it() {
        let hasher = Hasher::new(&cheap()).unwrap();
        let password = Secret::new("hungry");
        let credential = hasher.derive(&password).await.unwrap();
        assert!(
            credential.argon2id.starts_with("$argon2id$v=19$m=8,t=1,p=1$"),
            "{}",
            credential.argon2id
        );
        assert!(hasher.verify(&password, &credential.argon2id).await.unwrap());
        assert!(
            !hasher
                .verify(&Secret::new("Hungry"), &credential.argon2id)
                .await
                .unwrap()
        );
        assert!(!hasher.verify(&password, "$nonsense").await.unwrap());
        let scram = Verifier::derive(b"hungry", &credential.salt, 4096);
        assert_eq!(scram.stored_key.as_slice(), credential.stored_key);
        let again = hasher.derive(&password).await.unwrap();
        assert_ne!(again.argon2id, credential.argon2id);
        assert_ne!(again.salt, credential.salt);
    }

    #[tokio::test]
    async fn a_changed_cost_makes_stored_hashes_outdated() {
        let credential = Hasher::new(&cheap())
            .unwrap()
            .derive(&Secret::new("hungry"))
            .await
            .unwrap();
        assert!(!Hasher::new(&cheap()).unwrap().is_outdated(&credential));
        let dearer = Argon2Cost {
            iterations: 2,
            ..cheap().argon2
        };
        assert!(
            Hasher::new(&Config {
                argon2: dearer,
                ..cheap()
            })
            .unwrap()
            .is_outdated(&credential)
        );
        assert!(
            Hasher::new(&Config {
                scram_iterations: 5000,
                ..cheap()
            })
            .unwrap()
            .is_outdated(&credential)
        );
        assert!(Hasher::new(&cheap()).unwrap().is_outdated(&Credential::default()));
    }

    #[tokio::test]
    async fn beyond_the_queue_callers_are_refused_at_once() {
        let hasher = Hasher::new(&cheap()).unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let first = hasher.run(move || blocked.recv().is_ok());
        let second = hasher.run(|| true);
        tokio::pin!(first, second);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(hasher.run(|| true).await, Err(Error::Busy));
        release.send(()).unwrap();
        assert_eq!(first.await, Ok(true));
        assert_eq!(second.await, Ok(true));
        assert_eq!(hasher.run(|| true).await, Ok(true));
    }
}
