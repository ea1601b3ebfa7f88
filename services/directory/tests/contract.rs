//! The contract, through its generated client: what every rpc promises.

// A helper fails by panicking, as a test does.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::TryStreamExt;
use postrider_directory::{Argon2Cost, Config, Directory};
use postrider_proto::Link;
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::directory::resolve_response::Kind;
use postrider_proto::directory::target::To;
use postrider_proto::directory::*;
use postrider_store::directory::{AccountRow, AliasRow, DomainRow, MemoryDirectory, Written};
use postrider_store::{DirectoryEngine, Error as StoreError, Result as StoreResult};
use postrider_types::{AccountId, Domain as DomainName};
use tonic::{Code, Status};

type Client = DirectoryClient<Link>;

fn config() -> Config {
    let argon2 = Argon2Cost {
        memory_kib: 8,
        iterations: 1,
        parallelism: 1,
    };
    Config {
        argon2,
        scram_iterations: 4096,
        ..Config::default()
    }
}

async fn client_over(engine: Arc<dyn DirectoryEngine>, config: Config) -> Client {
    let directory = Directory::open(engine, config).await.unwrap();
    DirectoryClient::new(Link::local(DirectoryServer::new(directory)))
}

async fn client() -> Client {
    let mut client = client_over(Arc::new(MemoryDirectory::new()), config()).await;
    add_domain(&mut client, "hamburger.edu").await;
    client
}

async fn add_domain(client: &mut Client, name: &str) {
    client
        .add_domain(AddDomainRequest { name: name.into() })
        .await
        .unwrap();
}

async fn add_account(client: &mut Client, address: &str) -> u64 {
    let request = AddAccountRequest {
        address: address.into(),
        password: "hungry".into(),
        quota: 7,
        ..Default::default()
    };
    client
        .add_account(request)
        .await
        .unwrap()
        .into_inner()
        .account
        .unwrap()
        .id
}

async fn add_alias(client: &mut Client, address: &str, targets: &[&str]) -> Result<Vec<String>, Status> {
    let targets = targets.iter().map(ToString::to_string).collect();
    let added = client
        .add_alias(AddAliasRequest {
            address: address.into(),
            targets,
        })
        .await;
    added.map(|alias| alias.into_inner().targets)
}

async fn resolve(client: &mut Client, address: &str) -> (Kind, Vec<String>) {
    let response = client
        .resolve(ResolveRequest {
            address: address.into(),
        })
        .await
        .unwrap()
        .into_inner();
    let targets = response
        .targets
        .iter()
        .map(|target| match target.to.as_ref().unwrap() {
            To::Local(local) => local.address.clone(),
            To::Remote(address) => format!("remote {address}"),
        });
    (response.kind(), targets.collect())
}

async fn resolve_error(client: &mut Client, address: &str) -> Code {
    client
        .resolve(ResolveRequest {
            address: address.into(),
        })
        .await
        .unwrap_err()
        .code()
}

async fn login(client: &mut Client, user: &str, password: &str) -> Result<AuthenticateResponse, Code> {
    let request = AuthenticateRequest {
        user: user.into(),
        password: password.to_owned().into(),
        service: "pop3".into(),
        peer: "192.0.2.1".into(),
    };
    client
        .authenticate(request)
        .await
        .map(tonic::Response::into_inner)
        .map_err(|status| status.code())
}

fn local(address: &str) -> (Kind, Vec<String>) {
    (Kind::Local, vec![address.into()])
}

#[tokio::test]
async fn domains_come_and_go() {
    let mut client = client().await;
    let again = client
        .add_domain(AddDomainRequest {
            name: "HAMBURGER.edu.".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    let bad = client
        .add_domain(AddDomainRequest {
            name: "not a domain".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(
        (bad.code(), bad.message()),
        (
            Code::InvalidArgument,
            "`not a domain`: the domain is not a valid host name"
        )
    );
    add_domain(&mut client, "crepes.fr").await;
    let listed: Vec<_> = client
        .list_domains(ListDomainsRequest {})
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|domain| domain.name.as_str())
            .collect::<Vec<_>>(),
        ["crepes.fr", "hamburger.edu"]
    );
    assert!(listed.iter().all(|domain| domain.created > 1_600_000_000_000));

    add_account(&mut client, "alice@crepes.fr").await;
    let remove = || RemoveDomainRequest {
        name: "crepes.fr".into(),
    };
    assert_eq!(
        client.remove_domain(remove()).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    client
        .remove_account(RemoveAccountRequest {
            address: "alice@crepes.fr".into(),
        })
        .await
        .unwrap();
    client.remove_domain(remove()).await.unwrap();
    assert_eq!(
        client.remove_domain(remove()).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        resolve(&mut client, "alice@crepes.fr").await,
        (Kind::Remote, vec![])
    );
}

#[tokio::test]
async fn lists_longer_than_a_page_are_whole() {
    let engine = Arc::new(MemoryDirectory::new());
    let mut client = client_over(engine.clone(), config()).await;
    for number in 0..450_u64 {
        let name = DomainName::new(&format!("d{number:03}.example")).unwrap();
        engine
            .insert_domain(DomainRow {
                name,
                created: number,
            })
            .await
            .unwrap();
    }
    let listed: Vec<_> = client
        .list_domains(ListDomainsRequest {})
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        listed.iter().map(|domain| domain.created).collect::<Vec<_>>(),
        (0..450).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_account_is_made_once_and_shown_as_it_is() {
    let mut client = client().await;
    let id = add_account(&mut client, "Bob@Hamburger.EDU").await;
    let shown = client
        .get_account(GetAccountRequest {
            key: Some(get_account_request::Key::Id(id)),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (shown.address.as_str(), shown.enabled, shown.quota),
        ("bob@hamburger.edu", true, 7)
    );
    let by_address = get_account_request::Key::Address("bob@hamburger.edu".into());
    let same = client
        .get_account(GetAccountRequest {
            key: Some(by_address),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(same, shown);

    for (address, password, code) in [
        ("bob@hamburger.edu", "hungry", Code::AlreadyExists),
        ("bob@elsewhere.example", "hungry", Code::NotFound),
        ("bob", "hungry", Code::InvalidArgument),
        ("bob+tag@hamburger.edu", "hungry", Code::InvalidArgument),
        ("\"bob smith\"@hamburger.edu", "hungry", Code::InvalidArgument),
        ("rob@hamburger.edu", "short", Code::InvalidArgument),
    ] {
        let request = AddAccountRequest {
            address: address.into(),
            password: password.into(),
            ..Default::default()
        };
        assert_eq!(
            client.add_account(request).await.unwrap_err().code(),
            code,
            "{address}"
        );
    }
    let unnamed = AddAccountRequest {
        display_name: "two\nlines".into(),
        ..request("rob@hamburger.edu")
    };
    assert_eq!(
        client.add_account(unnamed).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let listed: Vec<_> = client
        .list_accounts(ListAccountsRequest {
            domain: "hamburger.edu".into(),
        })
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed, [shown]);
    let unknown = client
        .list_accounts(ListAccountsRequest {
            domain: "x.example".into(),
        })
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

fn request(address: &str) -> AddAccountRequest {
    AddAccountRequest {
        address: address.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn passwords_open_their_account_and_no_other() {
    let mut client = client().await;
    let bob = add_account(&mut client, "bob@hamburger.edu").await;
    let made = client
        .add_account(request("alice@hamburger.edu"))
        .await
        .unwrap()
        .into_inner();
    let alice = made.account.unwrap().id;
    assert_eq!(made.generated_password.len(), 23);

    let identity = login(&mut client, "BOB@hamburger.edu", "hungry").await.unwrap();
    assert_eq!(
        (identity.account, identity.address.as_str(), identity.quota),
        (bob, "bob@hamburger.edu", 7)
    );
    // The second time comes from the cache; a wrong password must not.
    assert_eq!(login(&mut client, "bob", "hungry").await.unwrap().account, bob);
    assert_eq!(
        login(&mut client, "alice", &made.generated_password)
            .await
            .unwrap()
            .account,
        alice
    );
    for (user, password) in [
        ("bob", "Hungry"),
        ("bob", ""),
        ("bob", "hungry\0"),
        ("alice", "hungry"),
        ("carol", "hungry"),
        ("", "hungry"),
        ("bob@", "hungry"),
        ("bob+tag", "hungry"),
    ] {
        assert_eq!(
            login(&mut client, user, password).await,
            Err(Code::Unauthenticated),
            "{user} {password}"
        );
    }
    // With two domains a bare local part names nobody.
    add_domain(&mut client, "crepes.fr").await;
    assert_eq!(
        login(&mut client, "bob", "hungry").await,
        Err(Code::Unauthenticated)
    );
    assert_eq!(
        login(&mut client, "bob@hamburger.edu", "hungry")
            .await
            .unwrap()
            .account,
        bob
    );
}

#[tokio::test]
async fn a_changed_password_or_a_disabled_account_counts_at_once() {
    let engine = Arc::new(MemoryDirectory::new());
    let mut here = client_over(engine.clone(), config()).await;
    let mut elsewhere = client_over(engine, config()).await;
    add_domain(&mut here, "hamburger.edu").await;
    add_account(&mut here, "bob@hamburger.edu").await;
    assert!(login(&mut elsewhere, "bob", "hungry").await.is_ok());

    let set = SetPasswordRequest {
        address: "bob@hamburger.edu".into(),
        password: "thirsty".into(),
    };
    assert_eq!(
        here.set_password(set)
            .await
            .unwrap()
            .into_inner()
            .generated_password,
        ""
    );
    for client in [&mut here, &mut elsewhere] {
        assert_eq!(login(client, "bob", "hungry").await, Err(Code::Unauthenticated));
        assert!(login(client, "bob", "thirsty").await.is_ok());
    }
    let enable = |enabled| UpdateAccountRequest {
        address: "bob@hamburger.edu".into(),
        enabled: Some(enabled),
        ..Default::default()
    };
    assert!(
        !here
            .update_account(enable(false))
            .await
            .unwrap()
            .into_inner()
            .enabled
    );
    assert_eq!(
        login(&mut elsewhere, "bob", "thirsty").await,
        Err(Code::Unauthenticated)
    );
    assert_eq!(
        resolve(&mut here, "bob@hamburger.edu").await,
        (Kind::Disabled, vec![])
    );
    here.update_account(enable(true)).await.unwrap();
    assert!(login(&mut elsewhere, "bob", "thirsty").await.is_ok());
    let generated = here
        .set_password(SetPasswordRequest {
            address: "bob@hamburger.edu".into(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner()
        .generated_password;
    assert!(login(&mut elsewhere, "bob", &generated).await.is_ok());
    let nobody = SetPasswordRequest {
        address: "x@hamburger.edu".into(),
        ..Default::default()
    };
    assert_eq!(
        here.set_password(nobody).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn a_hash_of_another_cost_is_made_anew_at_login() {
    let engine = Arc::new(MemoryDirectory::new());
    let mut client = client_over(engine.clone(), config()).await;
    add_domain(&mut client, "hamburger.edu").await;
    add_account(&mut client, "bob@hamburger.edu").await;
    let dearer = Argon2Cost {
        iterations: 2,
        ..config().argon2
    };
    let mut client = client_over(
        engine.clone(),
        Config {
            argon2: dearer,
            ..config()
        },
    )
    .await;
    assert!(login(&mut client, "bob", "hungry").await.is_ok());
    let stored = engine
        .account("bob@hamburger.edu")
        .await
        .unwrap()
        .unwrap()
        .credential
        .argon2id;
    assert!(stored.contains("t=2"), "{stored}");
    assert!(login(&mut client, "bob", "hungry").await.is_ok());
}

#[tokio::test]
async fn scram_verifiers_match_the_password_and_hide_who_exists() {
    let engine = Arc::new(MemoryDirectory::new());
    let mut here = client_over(engine.clone(), config()).await;
    let mut elsewhere = client_over(engine, config()).await;
    add_domain(&mut here, "hamburger.edu").await;
    let bob = add_account(&mut here, "bob@hamburger.edu").await;
    let ask = |user: &str| GetScramVerifierRequest { user: user.into() };

    let real = here.get_scram_verifier(ask("bob")).await.unwrap().into_inner();
    let derived = postrider_sasl::Verifier::derive(b"hungry", &real.salt, real.iterations);
    assert_eq!(
        (real.stored_key.as_ref(), real.server_key.as_ref()),
        (&derived.stored_key[..], &derived.server_key[..])
    );
    assert_eq!(real.identity.as_ref().unwrap().account, bob);

    let made_up = here.get_scram_verifier(ask("Carol")).await.unwrap().into_inner();
    assert_eq!(
        elsewhere
            .get_scram_verifier(ask("carol"))
            .await
            .unwrap()
            .into_inner(),
        made_up
    );
    assert_ne!(
        here.get_scram_verifier(ask("dave"))
            .await
            .unwrap()
            .into_inner()
            .salt,
        made_up.salt
    );
    assert_eq!(made_up.identity.as_ref().unwrap().account, 0);
    assert_eq!(
        (made_up.salt.len(), made_up.iterations),
        (real.salt.len(), real.iterations)
    );
    assert_eq!((made_up.stored_key.len(), made_up.server_key.len()), (32, 32));

    let disable = UpdateAccountRequest {
        address: "bob@hamburger.edu".into(),
        enabled: Some(false),
        ..Default::default()
    };
    here.update_account(disable).await.unwrap();
    let disabled = here.get_scram_verifier(ask("bob")).await.unwrap().into_inner();
    assert_eq!(disabled.salt, real.salt);
    assert_ne!(disabled.stored_key, real.stored_key);
    assert_eq!(disabled.identity.unwrap().account, 0);
}

#[tokio::test]
async fn app_passwords_open_the_account_until_they_are_removed() {
    let mut client = client().await;
    let bob = add_account(&mut client, "bob@hamburger.edu").await;
    let add = AddAppPasswordRequest {
        address: "bob@hamburger.edu".into(),
        label: "phone".into(),
    };
    let made = client.add_app_password(add.clone()).await.unwrap().into_inner();
    let other = client.add_app_password(add.clone()).await.unwrap().into_inner();
    assert_eq!(
        login(&mut client, "bob", &made.password).await.unwrap().account,
        bob
    );
    assert_eq!(
        login(&mut client, "bob", &made.password.to_uppercase().replace('-', ""))
            .await
            .unwrap()
            .account,
        bob
    );
    assert_eq!(login(&mut client, "bob", "hungry").await.unwrap().account, bob);

    let list = ListAppPasswordsRequest {
        address: "bob@hamburger.edu".into(),
    };
    let listed = client
        .list_app_passwords(list)
        .await
        .unwrap()
        .into_inner()
        .passwords;
    assert_eq!(
        listed.iter().map(|password| &password.id).collect::<Vec<_>>(),
        [&made.id, &other.id]
    );
    assert!(listed.iter().all(|password| password.label == "phone"));

    let remove = RemoveAppPasswordRequest {
        address: "bob@hamburger.edu".into(),
        id: made.id,
    };
    client.remove_app_password(remove.clone()).await.unwrap();
    assert_eq!(
        client.remove_app_password(remove).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        login(&mut client, "bob", &made.password).await,
        Err(Code::Unauthenticated)
    );
    assert!(login(&mut client, "bob", &other.password).await.is_ok());
    for _ in 0..49 {
        client.add_app_password(add.clone()).await.unwrap();
    }
    assert_eq!(
        client.add_app_password(add).await.unwrap_err().code(),
        Code::ResourceExhausted
    );
}

#[tokio::test]
async fn addresses_mean_what_the_rules_say_in_their_order() {
    let mut client = client().await;
    add_account(&mut client, "bob@hamburger.edu").await;
    add_account(&mut client, "carol@hamburger.edu").await;
    assert_eq!(
        resolve(&mut client, "x@elsewhere.example").await,
        (Kind::Remote, vec![])
    );
    assert_eq!(
        resolve(&mut client, "BOB@hamburger.edu").await,
        local("bob@hamburger.edu")
    );
    assert_eq!(
        resolve(&mut client, "bob+shops@hamburger.edu").await,
        local("bob@hamburger.edu")
    );
    assert_eq!(
        resolve(&mut client, "dave@hamburger.edu").await,
        (Kind::UnknownUser, vec![])
    );
    assert_eq!(
        resolve(&mut client, "+tag@hamburger.edu").await,
        (Kind::UnknownUser, vec![])
    );
    assert_eq!(
        resolve_error(&mut client, "no address").await,
        Code::InvalidArgument
    );

    // postmaster and abuse reach somebody; an alias, then, whom it names.
    for role in [
        "postmaster@hamburger.edu",
        "Abuse@hamburger.edu",
        "postmaster",
        "PostMaster+x@hamburger.edu",
    ] {
        assert_eq!(
            resolve(&mut client, role).await,
            local("bob@hamburger.edu"),
            "{role}"
        );
    }
    add_alias(&mut client, "postmaster@hamburger.edu", &["carol@hamburger.edu"])
        .await
        .unwrap();
    assert_eq!(
        resolve(&mut client, "postmaster@hamburger.edu").await,
        local("carol@hamburger.edu")
    );

    // An alias with a tag, a tagged target, and the catch-all behind everything else.
    add_alias(&mut client, "info@hamburger.edu", &["bob+info@hamburger.edu"])
        .await
        .unwrap();
    assert_eq!(
        resolve(&mut client, "info+tag@hamburger.edu").await,
        local("bob@hamburger.edu")
    );
    add_alias(&mut client, "@hamburger.edu", &["carol@hamburger.edu"])
        .await
        .unwrap();
    assert_eq!(
        resolve(&mut client, "dave@hamburger.edu").await,
        local("carol@hamburger.edu")
    );
    assert_eq!(
        resolve(&mut client, "bob@hamburger.edu").await,
        local("bob@hamburger.edu")
    );
    assert_eq!(
        resolve(&mut client, "abuse@hamburger.edu").await,
        local("carol@hamburger.edu")
    );
}

#[tokio::test]
async fn a_configured_postmaster_reads_for_every_domain() {
    let postmaster = "ops@provider.example".parse().ok();
    let engine = Arc::new(MemoryDirectory::new());
    let mut client = client_over(
        engine,
        Config {
            postmaster,
            ..config()
        },
    )
    .await;
    add_domain(&mut client, "hamburger.edu").await;
    let remote = (Kind::Local, vec!["remote ops@provider.example".into()]);
    assert_eq!(resolve(&mut client, "postmaster@hamburger.edu").await, remote);
    add_domain(&mut client, "provider.example").await;
    add_account(&mut client, "ops@provider.example").await;
    assert_eq!(
        resolve(&mut client, "abuse@hamburger.edu").await,
        local("ops@provider.example")
    );
}

#[tokio::test]
async fn aliases_are_followed_to_the_end() {
    let mut client = client().await;
    for user in ["a", "b", "c"] {
        add_account(&mut client, &format!("{user}@hamburger.edu")).await;
    }
    let all = [
        "a@hamburger.edu",
        "B@hamburger.edu",
        "b@hamburger.edu",
        "Far@elsewhere.example",
    ];
    let stored = add_alias(&mut client, "all@hamburger.edu", &all).await.unwrap();
    assert_eq!(
        stored,
        ["a@hamburger.edu", "b@hamburger.edu", "Far@elsewhere.example"]
    );
    add_alias(
        &mut client,
        "more@hamburger.edu",
        &["all@hamburger.edu", "b+x@hamburger.edu"],
    )
    .await
    .unwrap();
    // A loop is closed; it is dropped when it is followed.
    add_alias(&mut client, "all@hamburger.edu", &["more@hamburger.edu"])
        .await
        .unwrap();
    let expected = [
        "b@hamburger.edu",
        "a@hamburger.edu",
        "remote Far@elsewhere.example",
    ];
    let (kind, mut targets) = resolve(&mut client, "more@hamburger.edu").await;
    targets.sort();
    let mut sorted = expected.map(String::from);
    sorted.sort();
    assert_eq!((kind, targets), (Kind::Local, sorted.to_vec()));

    for (address, targets, code) in [
        ("x@hamburger.edu", &[][..], Code::InvalidArgument),
        ("x@hamburger.edu", &["x@hamburger.edu"], Code::InvalidArgument),
        ("x@hamburger.edu", &["nobody@hamburger.edu"], Code::NotFound),
        ("x@hamburger.edu", &["not an address"], Code::InvalidArgument),
        ("x@elsewhere.example", &["a@hamburger.edu"], Code::NotFound),
        ("a@hamburger.edu", &["b@hamburger.edu"], Code::AlreadyExists),
    ] {
        assert_eq!(
            add_alias(&mut client, address, targets).await.unwrap_err().code(),
            code,
            "{address}"
        );
    }
    assert_eq!(
        client
            .add_account(request("all@hamburger.edu"))
            .await
            .unwrap_err()
            .code(),
        Code::AlreadyExists
    );
}

#[tokio::test]
async fn aliases_too_deep_or_too_wide_are_errors() {
    let mut client = client().await;
    add_account(&mut client, "a@hamburger.edu").await;
    let mut previous = String::from("a@hamburger.edu");
    for depth in 1..=11 {
        let address = format!("n{depth}@hamburger.edu");
        add_alias(&mut client, &address, &[&previous]).await.unwrap();
        previous = address;
    }
    assert_eq!(
        resolve(&mut client, "n10@hamburger.edu").await,
        local("a@hamburger.edu")
    );
    assert_eq!(
        resolve_error(&mut client, "n11@hamburger.edu").await,
        Code::ResourceExhausted
    );

    let many: Vec<_> = (0..1000)
        .map(|number| format!("u{number}@elsewhere.example"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(
        add_alias(&mut client, "many@hamburger.edu", &many)
            .await
            .unwrap()
            .len(),
        1000
    );
    assert_eq!(resolve(&mut client, "many@hamburger.edu").await.1.len(), 1000);
    let one_more = add_alias(&mut client, "many@hamburger.edu", &["v@elsewhere.example"]).await;
    assert_eq!(one_more.unwrap_err().code(), Code::ResourceExhausted);
    add_alias(
        &mut client,
        "wide@hamburger.edu",
        &["many@hamburger.edu", "v@elsewhere.example"],
    )
    .await
    .unwrap();
    assert_eq!(
        resolve_error(&mut client, "wide@hamburger.edu").await,
        Code::ResourceExhausted
    );
}

#[tokio::test]
async fn aliases_lose_targets_and_go() {
    let mut client = client().await;
    add_account(&mut client, "a@hamburger.edu").await;
    add_account(&mut client, "b@hamburger.edu").await;
    add_alias(
        &mut client,
        "all@hamburger.edu",
        &["a@hamburger.edu", "b@hamburger.edu"],
    )
    .await
    .unwrap();
    add_alias(&mut client, "@hamburger.edu", &["a@hamburger.edu"])
        .await
        .unwrap();
    let listed: Vec<_> = client
        .list_aliases(ListAliasesRequest {
            domain: String::new(),
        })
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|alias| alias.address.as_str())
            .collect::<Vec<_>>(),
        ["@hamburger.edu", "all@hamburger.edu"]
    );

    // Removing an account leaves no alias that a later account of the same address would answer to.
    client
        .remove_account(RemoveAccountRequest {
            address: "a@hamburger.edu".into(),
        })
        .await
        .unwrap();
    assert_eq!(
        resolve(&mut client, "all@hamburger.edu").await,
        local("b@hamburger.edu")
    );
    assert_eq!(
        resolve(&mut client, "c@hamburger.edu").await,
        (Kind::UnknownUser, vec![])
    );
    let gone = client
        .remove_account(RemoveAccountRequest {
            address: "a@hamburger.edu".into(),
        })
        .await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);

    let remove = |targets: &[&str]| RemoveAliasRequest {
        address: "all@hamburger.edu".into(),
        targets: targets.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(
        client
            .remove_alias(remove(&["a@hamburger.edu"]))
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
    client.remove_alias(remove(&["B@hamburger.edu"])).await.unwrap();
    assert_eq!(
        resolve(&mut client, "all@hamburger.edu").await,
        (Kind::UnknownUser, vec![])
    );
    assert_eq!(
        client.remove_alias(remove(&[])).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn an_account_may_send_as_what_reaches_it() {
    let mut client = client().await;
    let bob = add_account(&mut client, "bob@hamburger.edu").await;
    let carol = add_account(&mut client, "carol@hamburger.edu").await;
    add_alias(&mut client, "info@hamburger.edu", &["bob@hamburger.edu"])
        .await
        .unwrap();
    add_alias(&mut client, "@hamburger.edu", &["carol@hamburger.edu"])
        .await
        .unwrap();
    for (account, address, expected) in [
        (bob, "bob@hamburger.edu", true),
        (bob, "bob+news@hamburger.edu", true),
        (bob, "info@hamburger.edu", true),
        (bob, "carol@hamburger.edu", false),
        (bob, "anything@hamburger.edu", false),
        (bob, "bob@elsewhere.example", false),
        (carol, "anything@hamburger.edu", true),
        (carol, "info@hamburger.edu", false),
        (12345, "bob@hamburger.edu", false),
    ] {
        let request = MaySendAsRequest {
            account,
            address: address.into(),
        };
        assert_eq!(
            client.may_send_as(request).await.unwrap().into_inner().allowed,
            expected,
            "{account} {address}"
        );
    }
}

#[tokio::test]
async fn answers_are_cached_until_something_changes_here_and_used_while_storage_is_away() {
    let engine = Arc::new(Flaky::default());
    let mut client = client_over(engine.clone(), config()).await;
    add_domain(&mut client, "hamburger.edu").await;
    add_account(&mut client, "bob@hamburger.edu").await;
    assert_eq!(
        resolve(&mut client, "bob@hamburger.edu").await,
        local("bob@hamburger.edu")
    );
    let reads = engine.reads.load(Ordering::Relaxed);
    assert_eq!(
        resolve(&mut client, "Bob@hamburger.edu").await,
        local("bob@hamburger.edu")
    );
    assert_eq!(
        engine.reads.load(Ordering::Relaxed),
        reads,
        "the second answer needs no storage"
    );
    add_alias(&mut client, "@hamburger.edu", &["bob@hamburger.edu"])
        .await
        .unwrap();
    assert_eq!(
        resolve(&mut client, "dave@hamburger.edu").await,
        local("bob@hamburger.edu")
    );

    engine.away.store(true, Ordering::Relaxed);
    assert_eq!(
        resolve(&mut client, "bob@hamburger.edu").await,
        local("bob@hamburger.edu"),
        "an earlier answer"
    );
    assert_eq!(
        resolve_error(&mut client, "erin@hamburger.edu").await,
        Code::Unavailable
    );
    assert_eq!(login(&mut client, "bob", "hungry").await, Err(Code::Unavailable));
    let list = client
        .list_domains(ListDomainsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        list.try_collect::<Vec<_>>().await.unwrap_err().code(),
        Code::Unavailable
    );
    engine.away.store(false, Ordering::Relaxed);
    assert!(login(&mut client, "bob", "hungry").await.is_ok());
}

/// An engine that can go away, and counts reads.
#[derive(Default)]
struct Flaky {
    rows: MemoryDirectory,
    away: AtomicBool,
    reads: AtomicUsize,
}

impl Flaky {
    fn read(&self) -> StoreResult<&MemoryDirectory> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("switched off".into()));
        }
        Ok(&self.rows)
    }
}

#[async_trait]
impl DirectoryEngine for Flaky {
    async fn domain(&self, name: &DomainName) -> StoreResult<Option<DomainRow>> {
        self.read()?.domain(name).await
    }
    async fn domains(&self, after: Option<&DomainName>, limit: usize) -> StoreResult<Vec<DomainRow>> {
        self.read()?.domains(after, limit).await
    }
    async fn insert_domain(&self, row: DomainRow) -> StoreResult<Written> {
        self.read()?.insert_domain(row).await
    }
    async fn remove_domain(&self, name: &DomainName) -> StoreResult<Written> {
        self.read()?.remove_domain(name).await
    }
    async fn account(&self, address: &str) -> StoreResult<Option<AccountRow>> {
        self.read()?.account(address).await
    }
    async fn account_by_id(&self, id: AccountId) -> StoreResult<Option<AccountRow>> {
        self.read()?.account_by_id(id).await
    }
    async fn accounts(
        &self,
        domain: Option<&DomainName>,
        after: Option<&str>,
        limit: usize,
    ) -> StoreResult<Vec<AccountRow>> {
        self.read()?.accounts(domain, after, limit).await
    }
    async fn insert_account(&self, row: AccountRow) -> StoreResult<Written> {
        self.read()?.insert_account(row).await
    }
    async fn update_account(&self, old: &AccountRow, new: AccountRow) -> StoreResult<Written> {
        self.read()?.update_account(old, new).await
    }
    async fn remove_account(&self, address: &str) -> StoreResult<Written> {
        self.read()?.remove_account(address).await
    }
    async fn alias(&self, address: &str) -> StoreResult<Option<AliasRow>> {
        self.read()?.alias(address).await
    }
    async fn aliases(
        &self,
        domain: Option<&DomainName>,
        after: Option<&str>,
        limit: usize,
    ) -> StoreResult<Vec<AliasRow>> {
        self.read()?.aliases(domain, after, limit).await
    }
    async fn put_alias(&self, old: Option<&AliasRow>, new: AliasRow) -> StoreResult<Written> {
        self.read()?.put_alias(old, new).await
    }
    async fn remove_alias(&self, address: &str) -> StoreResult<Written> {
        self.read()?.remove_alias(address).await
    }
    async fn secret(&self, name: &str, fresh: &[u8]) -> StoreResult<Vec<u8>> {
        self.read()?.secret(name, fresh).await
    }
}
