//! The contract's server: decode, call, encode.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use postrider_proto::Failure;
use postrider_proto::directory as pb;
use postrider_proto::directory::directory_server::Directory as Contract;
use postrider_store::directory::{AccountRow, AliasRow, DomainRow};
use postrider_types::{AccountId, Secret};
use tonic::{Request, Response, Status};

use crate::resolve::{Resolution, Target};
use crate::{AccountChange, Directory, Error, Identity, NewAccount, Result};

type Answer<T> = std::result::Result<Response<T>, Status>;
type RowStream<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Contract for Directory {
    async fn resolve(&self, request: Request<pb::ResolveRequest>) -> Answer<pb::ResolveResponse> {
        answer(self.resolve(&request.into_inner().address).await, resolution)
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Answer<pb::AuthenticateResponse> {
        let request = request.into_inner();
        let password = Secret::new(request.password.as_ref());
        let outcome = self
            .authenticate(&request.user, &password, &request.service, &request.peer)
            .await;
        answer(outcome, identity)
    }

    async fn get_scram_verifier(
        &self,
        request: Request<pb::GetScramVerifierRequest>,
    ) -> Answer<pb::GetScramVerifierResponse> {
        answer(self.scram_verifier(&request.into_inner().user).await, |scram| {
            pb::GetScramVerifierResponse {
                salt: scram.salt.into(),
                iterations: scram.iterations,
                stored_key: scram.stored_key.into(),
                server_key: scram.server_key.into(),
                identity: Some(scram.identity.map(identity).unwrap_or_default()),
            }
        })
    }

    async fn may_send_as(&self, request: Request<pb::MaySendAsRequest>) -> Answer<pb::MaySendAsResponse> {
        let request = request.into_inner();
        let allowed = self
            .may_send_as(AccountId::new(request.account), &request.address)
            .await;
        answer(allowed, |allowed| pb::MaySendAsResponse { allowed })
    }

    async fn add_domain(&self, request: Request<pb::AddDomainRequest>) -> Answer<pb::Domain> {
        answer(self.add_domain(&request.into_inner().name).await, domain)
    }

    type ListDomainsStream = RowStream<pb::Domain>;

    async fn list_domains(&self, _: Request<pb::ListDomainsRequest>) -> Answer<Self::ListDomainsStream> {
        Ok(Response::new(rows(self.list_domains(), domain)))
    }

    async fn remove_domain(
        &self,
        request: Request<pb::RemoveDomainRequest>,
    ) -> Answer<pb::RemoveDomainResponse> {
        answer(self.remove_domain(&request.into_inner().name).await, |()| {
            pb::RemoveDomainResponse {}
        })
    }

    async fn add_account(&self, request: Request<pb::AddAccountRequest>) -> Answer<pb::AddAccountResponse> {
        let request = request.into_inner();
        let new = NewAccount {
            address: request.address,
            password: Secret::new(request.password.as_ref()),
            display_name: request.display_name,
            quota: request.quota,
        };
        answer(self.add_account(new).await, |(row, generated)| {
            pb::AddAccountResponse {
                account: Some(account(row)),
                generated_password: exposed(generated),
            }
        })
    }

    type ListAccountsStream = RowStream<pb::Account>;

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Answer<Self::ListAccountsStream> {
        answer(self.list_accounts(&request.into_inner().domain).await, |stream| {
            rows(stream, account)
        })
    }

    async fn get_account(&self, request: Request<pb::GetAccountRequest>) -> Answer<pb::Account> {
        use pb::get_account_request::Key;
        let row = match request.into_inner().key {
            Some(Key::Address(address)) => self.account_by_address(&address).await,
            Some(Key::Id(id)) => self.account_by_id(AccountId::new(id)).await,
            None => Err(Error::Invalid("an address or an id is needed".into())),
        };
        answer(row, account)
    }

    async fn set_password(
        &self,
        request: Request<pb::SetPasswordRequest>,
    ) -> Answer<pb::SetPasswordResponse> {
        let request = request.into_inner();
        let generated = self
            .set_password(&request.address, Secret::new(request.password.as_ref()))
            .await;
        answer(generated, |generated| pb::SetPasswordResponse {
            generated_password: exposed(generated),
        })
    }

    async fn update_account(&self, request: Request<pb::UpdateAccountRequest>) -> Answer<pb::Account> {
        let request = request.into_inner();
        let change = AccountChange {
            enabled: request.enabled,
            quota: request.quota,
            display_name: request.display_name,
        };
        answer(self.update_account(&request.address, change).await, account)
    }

    async fn remove_account(
        &self,
        request: Request<pb::RemoveAccountRequest>,
    ) -> Answer<pb::RemoveAccountResponse> {
        let removed = self.remove_account(&request.into_inner().address).await;
        answer(removed, |id| pb::RemoveAccountResponse { account: id.get() })
    }

    async fn add_app_password(
        &self,
        request: Request<pb::AddAppPasswordRequest>,
    ) -> Answer<pb::AddAppPasswordResponse> {
        let request = request.into_inner();
        let made = self.add_app_password(&request.address, &request.label).await;
        answer(made, |(id, password)| pb::AddAppPasswordResponse {
            id,
            password: exposed(Some(password)),
        })
    }

    async fn list_app_passwords(
        &self,
        request: Request<pb::ListAppPasswordsRequest>,
    ) -> Answer<pb::ListAppPasswordsResponse> {
        answer(
            self.list_app_passwords(&request.into_inner().address).await,
            |passwords| {
                let passwords = passwords.into_iter().map(|row| pb::AppPassword {
                    id: row.id,
                    label: row.label,
                    created: row.created,
                });
                pb::ListAppPasswordsResponse {
                    passwords: passwords.collect(),
                }
            },
        )
    }

    async fn remove_app_password(
        &self,
        request: Request<pb::RemoveAppPasswordRequest>,
    ) -> Answer<pb::RemoveAppPasswordResponse> {
        let request = request.into_inner();
        let removed = self.remove_app_password(&request.address, &request.id).await;
        answer(removed, |()| pb::RemoveAppPasswordResponse {})
    }

    async fn add_alias(&self, request: Request<pb::AddAliasRequest>) -> Answer<pb::Alias> {
        let request = request.into_inner();
        answer(self.add_alias(&request.address, &request.targets).await, alias)
    }

    type ListAliasesStream = RowStream<pb::Alias>;

    async fn list_aliases(
        &self,
        request: Request<pb::ListAliasesRequest>,
    ) -> Answer<Self::ListAliasesStream> {
        answer(self.list_aliases(&request.into_inner().domain).await, |stream| {
            rows(stream, alias)
        })
    }

    async fn remove_alias(
        &self,
        request: Request<pb::RemoveAliasRequest>,
    ) -> Answer<pb::RemoveAliasResponse> {
        let request = request.into_inner();
        answer(
            self.remove_alias(&request.address, &request.targets).await,
            |()| pb::RemoveAliasResponse {},
        )
    }
}

fn answer<T, U>(outcome: Result<T>, encode: impl FnOnce(T) -> U) -> Answer<U> {
    outcome.map(|value| Response::new(encode(value))).map_err(status)
}

fn rows<T, U: 'static>(
    stream: impl Stream<Item = Result<T>> + Send + 'static,
    encode: impl Fn(T) -> U + Send + 'static,
) -> RowStream<U> {
    Box::pin(stream.map(move |row| row.map(&encode).map_err(status)))
}

fn status(error: Error) -> Status {
    if let Error::Internal(_) = error {
        tracing::error!(%error, "the directory failed");
    }
    Failure::from(error).into()
}

fn resolution(resolution: Resolution) -> pb::ResolveResponse {
    use pb::resolve_response::Kind;
    let (kind, targets) = match resolution {
        Resolution::Remote => (Kind::Remote, Vec::new()),
        Resolution::Local(targets) => (Kind::Local, targets),
        Resolution::UnknownUser => (Kind::UnknownUser, Vec::new()),
        Resolution::Disabled => (Kind::Disabled, Vec::new()),
    };
    pb::ResolveResponse {
        kind: kind.into(),
        targets: targets.into_iter().map(target).collect(),
    }
}

fn target(target: Target) -> pb::Target {
    use pb::target::To;
    let to = match target {
        Target::Local {
            account,
            quota,
            address,
        } => To::Local(pb::LocalTarget {
            account: account.get(),
            quota,
            address,
        }),
        Target::Remote(address) => To::Remote(address),
    };
    pb::Target { to: Some(to) }
}

fn identity(identity: Identity) -> pb::AuthenticateResponse {
    pb::AuthenticateResponse {
        account: identity.account.get(),
        address: identity.address,
        quota: identity.quota,
    }
}

fn domain(row: DomainRow) -> pb::Domain {
    pb::Domain {
        name: row.name.to_string(),
        created: row.created,
    }
}

fn account(row: AccountRow) -> pb::Account {
    pb::Account {
        id: row.id.get(),
        address: row.address,
        display_name: row.display_name,
        enabled: row.enabled,
        quota: row.quota,
        created: row.created,
    }
}

fn alias(row: AliasRow) -> pb::Alias {
    pb::Alias {
        address: row.address,
        targets: row.targets,
    }
}

/// A generated password leaves us once, in the answer to whoever asked for it.
fn exposed(password: Option<Secret>) -> String {
    password
        .as_ref()
        .and_then(Secret::expose_str)
        .unwrap_or_default()
        .to_owned()
}
