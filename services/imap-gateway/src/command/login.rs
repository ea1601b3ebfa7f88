//! LOGIN and AUTHENTICATE (RFC 9051 §6.2.2, §6.2.3): asked of the directory, slowed down by counters.
//!
//! A wrong SCRAM proof is answered by the session itself; it is counted when the next attempt begins, or when the
//! connection ends.

use std::time::Duration;

use postrider_imap::Session;
use postrider_imap::response::Code;
use postrider_proto::directory::AuthenticateResponse;
use postrider_runtime::Port;
use postrider_sasl::Verifier;
use postrider_types::{AccountId, Secret};

use crate::answer::Answer;
use crate::handler::Conversation;
use crate::metrics::METRICS;

/// How long the answer to a login that is refused unheard is held back.
const THROTTLED: Duration = Duration::from_secs(1);

/// A SCRAM exchange under way: whom a right proof lets in.
pub(crate) struct Candidate {
    user: String,
    identity: Option<AuthenticateResponse>,
}

impl Conversation {
    /// Are these right?
    pub(crate) async fn password(
        &mut self,
        session: &mut Session,
        port: &mut dyn Port,
        user: String,
        password: Secret,
    ) {
        let answer = self.check(user, password).await;
        session.complete(port.output(), answer.reply());
    }

    /// What would prove it?
    pub(crate) async fn verifier(&mut self, session: &mut Session, port: &mut dyn Port, user: String) {
        match self.find_verifier(user).await {
            Ok(verifier) => session.verifier(port.output(), verifier),
            Err(answer) => session.complete(port.output(), answer.reply()),
        }
    }

    /// SCRAM's proof was right.
    pub(crate) async fn proved(&mut self, session: &mut Session, port: &mut dyn Port) {
        let candidate = self.candidate.take();
        let answer = match candidate.and_then(|candidate| candidate.identity) {
            Some(identity) => self.enter(&identity),
            None => refused(),
        };
        session.complete(port.output(), answer.reply());
    }

    async fn check(&mut self, user: String, password: Secret) -> Answer {
        self.settle_candidate().await;
        if self.is_closed(&user).await {
            return throttled().await;
        }
        let peer = self.peer.to_string();
        match self.shared.directory.authenticate(&user, &password, &peer).await {
            Ok(Some(identity)) => self.enter(&identity),
            Ok(None) => {
                let delay = self.failed(&user).await;
                tokio::time::sleep(delay).await;
                refused()
            }
            Err(failure) => unavailable(&failure),
        }
    }

    async fn find_verifier(&mut self, user: String) -> Result<Verifier, Answer> {
        let delay = self.settle_candidate().await;
        tokio::time::sleep(delay).await;
        if self.is_closed(&user).await {
            return Err(throttled().await);
        }
        let answer = self.shared.directory.scram_verifier(&user).await;
        let answer = answer.map_err(|failure| unavailable(&failure))?;
        let verifier = Verifier::from_parts(
            answer.salt.to_vec(),
            answer.iterations,
            &answer.stored_key,
            &answer.server_key,
        );
        let identity = answer.identity.filter(|identity| identity.account != 0);
        let verifier = verifier.map(|verifier| match identity {
            Some(_) => verifier,
            // Nobody may prove to be nobody, whatever the directory made up for an unknown user.
            None => Verifier {
                stored_key: rand::random(),
                ..verifier
            },
        });
        self.candidate = Some(Box::new(Candidate { user, identity }));
        verifier.ok_or_else(refused)
    }

    /// Whom the directory named is let in.
    fn enter(&mut self, identity: &AuthenticateResponse) -> Answer {
        let account = AccountId::new(identity.account);
        let most = self.shared.settings.connections_per_account;
        match self.shared.users.enter(account, identity.quota, most) {
            Some(user) => {
                METRICS.login("accepted");
                self.user = Some(Box::new(user));
                Answer::ok("Logged in")
            }
            None => {
                METRICS.login("throttled");
                Answer::no("too many connections of this account").with(Code::Unavailable)
            }
        }
    }

    /// Counts the SCRAM exchange before, which did not lead to a login; how long the next answer is to be held back.
    async fn settle_candidate(&mut self) -> Duration {
        match self.candidate.take() {
            Some(candidate) => self.failed(&candidate.user).await,
            None => Duration::ZERO,
        }
    }

    /// Counts a failure; how long the answer is to be held back.
    async fn failed(&mut self, user: &str) -> Duration {
        METRICS.login("refused");
        tracing::info!(peer = %self.peer, user, "authentication failed");
        let limits = &self.shared.settings.logins;
        limits.count(self.shared.counters.as_ref(), self.peer, user).await
    }

    /// Whether there were too many failures lately.
    async fn is_closed(&self, user: &str) -> bool {
        let limits = &self.shared.settings.logins;
        limits
            .refuse(self.shared.counters.as_ref(), self.peer, user)
            .await
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let Some(candidate) = self.candidate.take() else {
            return;
        };
        METRICS.login("refused");
        let (shared, peer) = (self.shared.clone(), self.peer);
        // Outside a runtime there is nobody left who could guess.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let limits = &shared.settings.logins;
                limits
                    .count(shared.counters.as_ref(), peer, &candidate.user)
                    .await;
            });
        }
    }
}

fn refused() -> Answer {
    Answer::no("user name or password is wrong").with(Code::AuthenticationFailed)
}

/// Refused unheard, but not at once: whoever guesses is no faster for it.
async fn throttled() -> Answer {
    METRICS.login("throttled");
    tokio::time::sleep(THROTTLED).await;
    Answer::no("too many failures, try again later").with(Code::Unavailable)
}

fn unavailable(failure: &postrider_proto::Failure) -> Answer {
    tracing::warn!(%failure, "authentication is not possible");
    METRICS.login("unavailable");
    Answer::no("authentication is not possible at the moment").with(Code::Unavailable)
}
