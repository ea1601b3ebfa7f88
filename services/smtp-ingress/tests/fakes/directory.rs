//! A directory in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postrider_proto::directory as pb;
use postrider_proto::directory::directory_server::Directory;
use postrider_proto::directory::resolve_response::Kind;
use postrider_proto::directory::target::To;
use postrider_sasl::Verifier;
use tonic::{Request, Response, Status};

use super::{Answer, Rows, not_here};

/// Knows the users of `hamburger.edu`: `bob` (account 1), `carol` (2), `dave` (3, a mailbox of 100 octets), `alice` (4),
/// `old` (disabled), `list` (bob, carol and erin@elsewhere.example), `broken` (a target that is no address). Everyone's
/// password is `hungry`. Alice may also send as `sales@hamburger.edu`.
#[derive(Clone, Default)]
pub struct FakeDirectory {
    pub away: Arc<AtomicBool>,
}

impl FakeDirectory {
    fn check(&self) -> Result<(), Status> {
        if self.away.load(Ordering::Relaxed) {
            Err(Status::unavailable("away"))
        } else {
            Ok(())
        }
    }
}

pub const USERS: [(&str, u64); 4] = [("bob", 1), ("carol", 2), ("dave", 3), ("alice", 4)];

fn local(name: &str) -> Option<pb::Target> {
    let (name, account) = USERS.into_iter().find(|(user, _)| *user == name)?;
    let quota = if name == "dave" { 100 } else { 0 };
    let address = format!("{name}@hamburger.edu");
    Some(pb::Target {
        to: Some(To::Local(pb::LocalTarget {
            account,
            quota,
            address,
        })),
    })
}

fn identity(user: &str) -> Option<pb::AuthenticateResponse> {
    let name = user.strip_suffix("@hamburger.edu").unwrap_or(user);
    let (name, account) = USERS.into_iter().find(|(user, _)| *user == name)?;
    Some(pb::AuthenticateResponse {
        account,
        address: format!("{name}@hamburger.edu"),
        quota: 0,
    })
}

#[tonic::async_trait]
impl Directory for FakeDirectory {
    type ListDomainsStream = Rows<pb::Domain>;
    type ListAccountsStream = Rows<pb::Account>;
    type ListAliasesStream = Rows<pb::Alias>;

    async fn resolve(&self, request: Request<pb::ResolveRequest>) -> Answer<pb::ResolveResponse> {
        self.check()?;
        let address = request.into_inner().address;
        let remote = |address: &str| pb::Target {
            to: Some(To::Remote(address.into())),
        };
        let (kind, targets) = match address.strip_suffix("@hamburger.edu") {
            None if address == "postmaster" => (Kind::Local, vec![local("bob")]),
            None => (Kind::Remote, vec![]),
            Some("old") => (Kind::Disabled, vec![]),
            Some("list") => (
                Kind::Local,
                vec![
                    local("bob"),
                    local("carol"),
                    Some(remote("erin@elsewhere.example")),
                ],
            ),
            Some("broken") => (Kind::Local, vec![Some(remote("no address"))]),
            Some(name) => match local(name) {
                Some(target) => (Kind::Local, vec![Some(target)]),
                None => (Kind::UnknownUser, vec![]),
            },
        };
        let targets = targets.into_iter().flatten().collect();
        Ok(Response::new(pb::ResolveResponse {
            kind: kind.into(),
            targets,
        }))
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Answer<pb::AuthenticateResponse> {
        self.check()?;
        let request = request.into_inner();
        assert_eq!(
            (request.service.as_str(), request.peer.as_str()),
            ("smtp", "127.0.0.1")
        );
        match identity(&request.user).filter(|_| &request.password[..] == b"hungry") {
            Some(identity) => Ok(Response::new(identity)),
            None => Err(Status::unauthenticated("no")),
        }
    }

    async fn get_scram_verifier(
        &self,
        request: Request<pb::GetScramVerifierRequest>,
    ) -> Answer<pb::GetScramVerifierResponse> {
        self.check()?;
        let identity = identity(&request.into_inner().user);
        // What is made up for an unknown user has the right password here: the gateway has to see to it.
        let verifier = Verifier::derive(b"hungry", b"salt", 4096);
        Ok(Response::new(pb::GetScramVerifierResponse {
            salt: verifier.salt.into(),
            iterations: verifier.iterations,
            stored_key: verifier.stored_key.to_vec().into(),
            server_key: verifier.server_key.to_vec().into(),
            identity: Some(identity.unwrap_or_default()),
        }))
    }

    async fn may_send_as(&self, request: Request<pb::MaySendAsRequest>) -> Answer<pb::MaySendAsResponse> {
        self.check()?;
        let request = request.into_inner();
        let own = identity(&request.address).is_some_and(|identity| identity.account == request.account);
        let alias = request.account == 4 && request.address == "sales@hamburger.edu";
        Ok(Response::new(pb::MaySendAsResponse {
            allowed: own || alias,
        }))
    }

    async fn get_account(&self, request: Request<pb::GetAccountRequest>) -> Answer<pb::Account> {
        self.check()?;
        let Some(pb::get_account_request::Key::Id(id)) = request.into_inner().key else {
            return Err(not_here());
        };
        let (name, id) = USERS
            .into_iter()
            .find(|(_, account)| *account == id)
            .ok_or(Status::not_found("no account"))?;
        let address = format!("{name}@hamburger.edu");
        Ok(Response::new(pb::Account {
            id,
            address,
            enabled: true,
            ..pb::Account::default()
        }))
    }

    async fn add_domain(&self, _: Request<pb::AddDomainRequest>) -> Answer<pb::Domain> {
        Err(not_here())
    }
    async fn list_domains(&self, _: Request<pb::ListDomainsRequest>) -> Answer<Rows<pb::Domain>> {
        Err(not_here())
    }
    async fn remove_domain(&self, _: Request<pb::RemoveDomainRequest>) -> Answer<pb::RemoveDomainResponse> {
        Err(not_here())
    }
    async fn add_account(&self, _: Request<pb::AddAccountRequest>) -> Answer<pb::AddAccountResponse> {
        Err(not_here())
    }
    async fn list_accounts(&self, _: Request<pb::ListAccountsRequest>) -> Answer<Rows<pb::Account>> {
        Err(not_here())
    }
    async fn set_password(&self, _: Request<pb::SetPasswordRequest>) -> Answer<pb::SetPasswordResponse> {
        Err(not_here())
    }
    async fn update_account(&self, _: Request<pb::UpdateAccountRequest>) -> Answer<pb::Account> {
        Err(not_here())
    }
    async fn remove_account(
        &self,
        _: Request<pb::RemoveAccountRequest>,
    ) -> Answer<pb::RemoveAccountResponse> {
        Err(not_here())
    }
    async fn add_app_password(
        &self,
        _: Request<pb::AddAppPasswordRequest>,
    ) -> Answer<pb::AddAppPasswordResponse> {
        Err(not_here())
    }
    async fn list_app_passwords(
        &self,
        _: Request<pb::ListAppPasswordsRequest>,
    ) -> Answer<pb::ListAppPasswordsResponse> {
        Err(not_here())
    }
    async fn remove_app_password(
        &self,
        _: Request<pb::RemoveAppPasswordRequest>,
    ) -> Answer<pb::RemoveAppPasswordResponse> {
        Err(not_here())
    }
    async fn add_alias(&self, _: Request<pb::AddAliasRequest>) -> Answer<pb::Alias> {
        Err(not_here())
    }
    async fn list_aliases(&self, _: Request<pb::ListAliasesRequest>) -> Answer<Rows<pb::Alias>> {
        Err(not_here())
    }
    async fn remove_alias(&self, _: Request<pb::RemoveAliasRequest>) -> Answer<pb::RemoveAliasResponse> {
        Err(not_here())
    }
}
