//! The directory, asked with a deadline; answers it gave a moment ago are not asked for again, and those of a short while ago stand in
//! for it while it is away.

use std::time::{Duration, Instant};

use moka::sync::Cache;
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::directory::resolve_response::Kind as Meaning;
use postrider_proto::directory::{
    Account, AuthenticateRequest, AuthenticateResponse, GetAccountRequest, GetScramVerifierRequest,
    GetScramVerifierResponse, MaySendAsRequest, ResolveRequest, ResolveResponse,
};
use postrider_proto::{Failure, Kind, Link};
use postrider_types::{AccountId, Address, Secret};
use tonic::{Response, Status};

/// How long, and how many, answers are kept for when the directory is away.
const KEPT: Duration = Duration::from_secs(600);
const MOST: u64 = 20_000;

pub(crate) struct Directory {
    link: Link,
    deadline: Duration,
    believed: Duration,
    known: Cache<String, (ResolveResponse, Instant)>,
}

impl Directory {
    pub(crate) fn new(link: Link, deadline: Duration, believed: Duration) -> Self {
        let known = Cache::builder().max_capacity(MOST).time_to_live(KEPT).build();
        Self {
            link,
            deadline,
            believed,
            known,
        }
    }

    /// What an address means here.
    pub(crate) async fn resolve(&self, address: &str) -> Result<ResolveResponse, Failure> {
        if !self.believed.is_zero()
            && let Some((answer, at)) = self.known.get(address)
            && at.elapsed() < self.believed
        {
            return Ok(answer);
        }
        let mut client = self.client();
        let request = ResolveRequest {
            address: address.into(),
        };
        match self.ask(client.resolve(request)).await {
            Ok(answer) => {
                // Only what leads to acceptance is worth knowing later.
                if answer.kind() == Meaning::Local {
                    self.remember(address, &answer);
                } else {
                    self.known.invalidate(address);
                }
                Ok(answer)
            }
            Err(failure) if failure.is_temporary() => {
                self.known.get(address).map(|(answer, _)| answer).ok_or(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Keeps an answer for at least half of [`KEPT`]: to look is much cheaper than to write. Where answers are believed for a while their
    /// time counts, and they come so much more seldom.
    fn remember(&self, address: &str, answer: &ResolveResponse) {
        let young = |(known, at): (ResolveResponse, Instant)| {
            self.believed.is_zero() && known == *answer && at.elapsed() < KEPT / 2
        };
        if !self.known.get(address).is_some_and(young) {
            self.known
                .insert(address.to_owned(), (answer.clone(), Instant::now()));
        }
    }

    /// Whether an account may use an address as its own.
    pub(crate) async fn may_send_as(&self, account: AccountId, address: &Address) -> Result<bool, Failure> {
        let mut client = self.client();
        let request = MaySendAsRequest {
            account: account.get(),
            address: address.to_string(),
        };
        Ok(self.ask(client.may_send_as(request)).await?.allowed)
    }

    /// Whom user name and password let in; `None`: nobody.
    pub(crate) async fn authenticate(
        &self,
        user: &str,
        password: &Secret,
        peer: &str,
    ) -> Result<Option<AuthenticateResponse>, Failure> {
        let mut client = self.client();
        let request = AuthenticateRequest {
            user: user.into(),
            password: password.expose().to_vec().into(),
            service: "smtp".into(),
            peer: peer.into(),
        };
        match self.ask(client.authenticate(request)).await {
            Ok(identity) => Ok(Some(identity)),
            Err(failure) if failure.kind == Kind::Unauthenticated => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The stored half of SCRAM-SHA-256.
    pub(crate) async fn scram_verifier(&self, user: &str) -> Result<GetScramVerifierResponse, Failure> {
        let mut client = self.client();
        self.ask(client.get_scram_verifier(GetScramVerifierRequest { user: user.into() }))
            .await
    }

    /// One account.
    pub(crate) async fn account(&self, request: GetAccountRequest) -> Result<Account, Failure> {
        let mut client = self.client();
        self.ask(client.get_account(request)).await
    }

    fn client(&self) -> DirectoryClient<Link> {
        DirectoryClient::new(self.link.clone())
    }

    async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Failure::new(Kind::Deadline, "the directory does not answer")),
        }
    }
}
