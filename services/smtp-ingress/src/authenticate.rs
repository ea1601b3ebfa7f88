//! Who a client is: asked of the directory, slowed down by counters.

use std::net::IpAddr;

use postrider_coordination::Counters;
use postrider_proto::directory::AuthenticateResponse;
use postrider_sasl::Verifier;
use postrider_smtp::server::PasswordCheck;
use postrider_types::{AccountId, Address, Secret};

use crate::config::Rates;
use crate::directory::Directory;
use crate::metrics::METRICS;

/// An account that has authenticated.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub id: AccountId,
    pub address: Address,
}

/// One authentication under way.
#[derive(Default)]
pub(crate) struct Candidate {
    user: String,
    identity: Option<AuthenticateResponse>,
}

/// Asks and counts for one connection.
pub(crate) struct Gate<'a> {
    pub directory: &'a Directory,
    pub counters: &'a dyn Counters,
    pub rates: &'a Rates,
    pub peer: IpAddr,
}

impl Gate<'_> {
    /// Is this password right? And who would it be?
    pub(crate) async fn password(&self, user: String, password: &Secret) -> (PasswordCheck, Candidate) {
        if self.is_closed(&user).await {
            METRICS.authentication("throttled");
            return (PasswordCheck::Unavailable, Candidate { user, identity: None });
        }
        let (check, identity) = match self
            .directory
            .authenticate(&user, password, &self.peer.to_string())
            .await
        {
            Ok(Some(identity)) => (PasswordCheck::Right, Some(identity)),
            Ok(None) => (PasswordCheck::Wrong, None),
            Err(failure) => {
                tracing::warn!(%failure, "authentication is not possible");
                METRICS.authentication("unavailable");
                (PasswordCheck::Unavailable, None)
            }
        };
        (check, Candidate { user, identity })
    }

    /// What would prove it? And who would it be?
    pub(crate) async fn verifier(&self, user: String) -> (Option<Verifier>, Candidate) {
        if self.is_closed(&user).await {
            METRICS.authentication("throttled");
            return (None, Candidate { user, identity: None });
        }
        let answer = match self.directory.scram_verifier(&user).await {
            Ok(answer) => answer,
            Err(failure) => {
                tracing::warn!(%failure, "authentication is not possible");
                METRICS.authentication("unavailable");
                return (None, Candidate { user, identity: None });
            }
        };
        let verifier = Verifier::from_parts(
            answer.salt.to_vec(),
            answer.iterations,
            &answer.stored_key,
            &answer.server_key,
        );
        let identity = answer.identity.filter(|identity| identity.account != 0);
        // Nobody may prove to be nobody, whatever the directory made up for an unknown user.
        let verifier = verifier.map(|verifier| match identity {
            Some(_) => verifier,
            None => Verifier {
                stored_key: rand::random(),
                ..verifier
            },
        });
        (verifier, Candidate { user, identity })
    }

    /// The proof was right.
    pub(crate) fn succeeded(&self, candidate: Candidate) -> Option<Account> {
        METRICS.authentication("accepted");
        let identity = candidate.identity?;
        let address = identity.address.parse().ok()?;
        Some(Account {
            id: AccountId::new(identity.account),
            address,
        })
    }

    /// The proof was wrong: counted, and the client kept waiting.
    pub(crate) async fn failed(&self, candidate: Candidate) {
        METRICS.authentication("refused");
        tracing::info!(peer = %self.peer, user = candidate.user, "authentication failed");
        let delay = self
            .rates
            .logins
            .count(self.counters, self.peer, &candidate.user)
            .await;
        tokio::time::sleep(delay).await;
    }

    /// Whether there were too many failures lately.
    async fn is_closed(&self, user: &str) -> bool {
        self.rates.logins.refuse(self.counters, self.peer, user).await
    }
}
