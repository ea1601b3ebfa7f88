//! Logging in: who it is, and then the maildrop.

use postrider_pop3::server::Refusal;
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::directory::{AuthenticateRequest, AuthenticateResponse, GetScramVerifierRequest};
use postrider_proto::{Kind, Link};
use postrider_sasl::Verifier;
use postrider_types::{AccountId, Secret};

use crate::conversation::{Conversation, Open};
use crate::failure::{NO_DIRECTORY, store_refusal, within};
use crate::lock::Lock;
use crate::maildrop::Inbox;
use crate::metrics::METRICS;

/// What is logged as the protocol.
const SERVICE: &str = "pop3";

const LIMITED: Refusal = Refusal::Temporary("too many failed logins, try again later");

impl Conversation {
    /// Checks a password and opens the maildrop.
    pub(crate) async fn log_in(&mut self, user: &str, password: &Secret) -> Result<Inbox, Refusal> {
        self.require_patience(user).await?;
        let request = AuthenticateRequest {
            user: user.to_owned(),
            password: password.expose().to_vec().into(),
            service: SERVICE.into(),
            peer: self.peer.to_string(),
        };
        match within(
            self.shared.config.timeouts.directory,
            self.directory().authenticate(request),
        )
        .await
        {
            Ok(identity) => self.open_maildrop(&identity).await,
            Err(failure) if failure.kind == Kind::Unauthenticated => Err(self.login_failed(user).await),
            Err(failure) => {
                METRICS.login("failed");
                tracing::warn!(%failure, "the directory failed");
                Err(NO_DIRECTORY)
            }
        }
    }

    /// The user's verifier; whom it belongs to is kept until the proof has been given.
    pub(crate) async fn fetch_verifier(&mut self, user: &str) -> Result<Verifier, Refusal> {
        self.identity = None;
        self.require_patience(user).await?;
        let request = GetScramVerifierRequest {
            user: user.to_owned(),
        };
        let answer = within(
            self.shared.config.timeouts.directory,
            self.directory().get_scram_verifier(request),
        )
        .await;
        let found = answer.map_err(|failure| {
            METRICS.login("failed");
            tracing::warn!(%failure, "the directory failed");
            NO_DIRECTORY
        })?;
        self.identity = found.identity.filter(|identity| identity.account != 0);
        Verifier::from_parts(
            found.salt.to_vec(),
            found.iterations,
            &found.stored_key,
            &found.server_key,
        )
        .ok_or(NO_DIRECTORY)
    }

    /// Opens the maildrop of whoever has just proved to be the user whose verifier was fetched.
    pub(crate) async fn open_proved(&mut self, user: &str) -> Result<Inbox, Refusal> {
        match self.identity.take() {
            Some(identity) => self.open_maildrop(&identity).await,
            None => Err(self.login_failed(user).await),
        }
    }

    /// Counts a wrong password and keeps the client waiting.
    pub(crate) async fn login_failed(&mut self, user: &str) -> Refusal {
        METRICS.login("refused");
        tracing::info!(user, peer = %self.peer, "login refused");
        let limits = &self.shared.config.logins;
        let delay = limits.count(self.shared.counters.as_ref(), self.peer, user).await;
        tokio::time::sleep(delay).await;
        Refusal::Credentials
    }

    async fn open_maildrop(&mut self, identity: &AuthenticateResponse) -> Result<Inbox, Refusal> {
        let account = AccountId::new(identity.account);
        let shared = self.shared.clone();
        let Some(lock) = Lock::take(&shared.leases, account, shared.config.timeouts.lock).await else {
            METRICS.login("in-use");
            return Err(Refusal::InUse);
        };
        match shared.store.open_inbox(account, shared.config.messages).await {
            Ok(inbox) => {
                METRICS.login("ok");
                tracing::debug!(%account, peer = %self.peer, messages = inbox.messages.len(), "maildrop opened");
                self.open = Some(Open { account, lock });
                Ok(inbox)
            }
            Err(failure) => {
                METRICS.login("failed");
                lock.release().await;
                Err(store_refusal(&failure))
            }
        }
    }

    async fn require_patience(&self, user: &str) -> Result<(), Refusal> {
        let limits = &self.shared.config.logins;
        if limits
            .refuse(self.shared.counters.as_ref(), self.peer, user)
            .await
        {
            METRICS.login("limited");
            return Err(LIMITED);
        }
        Ok(())
    }

    fn directory(&self) -> DirectoryClient<Link> {
        self.shared.directory.clone()
    }
}
