//! The directory, asked with a deadline.

use std::time::Duration;

use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::directory::{
    AuthenticateRequest, AuthenticateResponse, GetScramVerifierRequest, GetScramVerifierResponse,
};
use postrider_proto::{Failure, Kind, Link};
use postrider_types::Secret;
use tonic::{Response, Status};

pub(crate) struct Directory {
    link: Link,
    deadline: Duration,
}

impl Directory {
    pub fn new(link: Link, deadline: Duration) -> Self {
        Self { link, deadline }
    }

    /// Whom user name and password let in; `None`: nobody.
    pub async fn authenticate(
        &self,
        user: &str,
        password: &Secret,
        peer: &str,
    ) -> Result<Option<AuthenticateResponse>, Failure> {
        let request = AuthenticateRequest {
            user: user.into(),
            password: password.expose().to_vec().into(),
            service: "imap".into(),
            peer: peer.into(),
        };
        match self.ask(self.client().authenticate(request)).await {
            Ok(identity) => Ok(Some(identity)),
            Err(failure) if failure.kind == Kind::Unauthenticated => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The stored half of SCRAM-SHA-256.
    pub async fn scram_verifier(&self, user: &str) -> Result<GetScramVerifierResponse, Failure> {
        let request = GetScramVerifierRequest { user: user.into() };
        self.ask(self.client().get_scram_verifier(request)).await
    }

    fn client(&self) -> DirectoryClient<Link> {
        DirectoryClient::new(self.link.clone())
    }

    async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(crate::failure::unavailable("the directory does not answer")),
        }
    }
}
