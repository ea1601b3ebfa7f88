//! What every directory engine must do: one case per behaviour the trait promises.
//!
//! An engine's tests stamp all cases out with [`directory_suite!`](crate::directory_suite), given an async function that
//! opens a fresh, empty engine and returns it with whatever must live as long (a folder, say).

// A case fails by panicking: that is its purpose.
#![allow(clippy::unwrap_used, clippy::panic)]

use postrider_types::{AccountId, Domain};

use super::{AccountRow, AliasRow, AppPasswordRow, Credential, DirectoryEngine, DomainRow, Written};
use crate::Error;

/// Makes one test of every case; `$open` is an async function that returns a fresh engine
/// and its keeper.
#[macro_export]
macro_rules! directory_suite {
    ($open:expr) => {
        $crate::directory_suite!(@ $open;
            domains_are_unique_and_listed_by_name,
            a_domain_in_use_stays,
            accounts_survive_storage,
            accounts_are_unique_by_address_and_id,
            an_address_is_an_account_or_an_alias,
            accounts_change_only_from_what_they_were,
            one_of_two_concurrent_changes_wins,
            removed_accounts_are_gone,
            accounts_are_paged_by_address,
            aliases_change_only_from_what_they_were,
            aliases_are_paged_and_found_by_target,
            secrets_stay_what_they_were_first,
        );
    };
    (@ $open:expr; $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (engine, _keeper) = $open().await;
                $crate::directory::suite::$case(&engine).await;
            }
        )*
    };
}

type Engine<'a> = &'a dyn DirectoryEngine;

fn domain(name: &str) -> Domain {
    Domain::new(name).expect("the suite's domains are valid")
}

fn account(number: u64, address: &str) -> AccountRow {
    AccountRow {
        id: AccountId::new(number),
        address: address.into(),
        display_name: "Bob “the” Böb".into(),
        enabled: true,
        quota: u64::from(u32::MAX) + 1,
        created: 1_700_000_000_123,
        credential_version: 1,
        credential: Credential {
            argon2id: "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".into(),
            salt: vec![0, 1, 255],
            iterations: 10_000,
            stored_key: vec![2; 32],
            server_key: vec![3; 32],
        },
        app_passwords: Vec::new(),
    }
}

fn app_password(id: &str) -> AppPasswordRow {
    AppPasswordRow {
        id: id.into(),
        label: "phone".into(),
        created: 5,
        sha256: vec![7; 32],
    }
}

fn alias(address: &str, targets: &[&str]) -> AliasRow {
    AliasRow {
        address: address.into(),
        targets: targets.iter().map(ToString::to_string).collect(),
    }
}

/// A second insert changes nothing; lists ascend and page.
pub async fn domains_are_unique_and_listed_by_name(engine: Engine<'_>) {
    let rows: Vec<_> = ["a.example", "b.example", "c.example"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| DomainRow {
            name: domain(name),
            created: number as u64,
        })
        .collect();
    for row in rows.iter().rev() {
        assert_eq!(engine.insert_domain(row.clone()).await.unwrap(), Written::Yes);
    }
    let again = DomainRow {
        name: domain("a.example"),
        created: 99,
    };
    assert_eq!(engine.insert_domain(again).await.unwrap(), Written::No);
    assert_eq!(
        engine.domain(&domain("a.example")).await.unwrap().as_ref(),
        rows.first()
    );
    assert_eq!(engine.domain(&domain("x.example")).await.unwrap(), None);
    assert_eq!(engine.domains(None, 2).await.unwrap(), rows[..2]);
    assert_eq!(
        engine.domains(Some(&domain("b.example")), 2).await.unwrap(),
        rows[2..]
    );
    assert_eq!(engine.domains(Some(&domain("c.example")), 2).await.unwrap(), []);
}

/// A domain with accounts or aliases cannot be removed; an empty one can, once.
pub async fn a_domain_in_use_stays(engine: Engine<'_>) {
    let name = domain("a.example");
    engine
        .insert_domain(DomainRow {
            name: name.clone(),
            created: 1,
        })
        .await
        .unwrap();
    engine.insert_account(account(1, "bob@a.example")).await.unwrap();
    assert_eq!(engine.remove_domain(&name).await.unwrap(), Written::No);
    engine.remove_account("bob@a.example").await.unwrap();
    engine
        .put_alias(None, alias("@a.example", &["bob@b.example"]))
        .await
        .unwrap();
    assert_eq!(engine.remove_domain(&name).await.unwrap(), Written::No);
    assert!(engine.domain(&name).await.unwrap().is_some());
    engine.remove_alias("@a.example").await.unwrap();
    // Neighbours whose names end alike do not hold it.
    engine
        .insert_account(account(2, "bob@not-a.example"))
        .await
        .unwrap();
    engine
        .insert_account(account(3, "bob@sub.a.example"))
        .await
        .unwrap();
    assert_eq!(engine.remove_domain(&name).await.unwrap(), Written::Yes);
    assert_eq!(engine.remove_domain(&name).await.unwrap(), Written::No);
    assert_eq!(engine.domain(&name).await.unwrap(), None);
}

/// Every column comes back as it went in, by address and by id.
pub async fn accounts_survive_storage(engine: Engine<'_>) {
    let mut row = account(i64::MAX as u64, "bob@a.example");
    row.app_passwords = vec![app_password("z9"), app_password("a1")];
    let plain = AccountRow {
        enabled: false,
        display_name: String::new(),
        ..account(0, "π@a.example")
    };
    engine.insert_account(row.clone()).await.unwrap();
    engine.insert_account(plain.clone()).await.unwrap();
    assert_eq!(engine.account("bob@a.example").await.unwrap(), Some(row.clone()));
    assert_eq!(engine.account_by_id(row.id).await.unwrap(), Some(row));
    assert_eq!(
        engine.account_by_id(AccountId::new(0)).await.unwrap(),
        Some(plain)
    );
    assert_eq!(engine.account("alice@a.example").await.unwrap(), None);
    assert_eq!(engine.account_by_id(AccountId::new(2)).await.unwrap(), None);
}

/// Neither an address nor an id is given twice.
pub async fn accounts_are_unique_by_address_and_id(engine: Engine<'_>) {
    let first = account(1, "bob@a.example");
    assert_eq!(engine.insert_account(first.clone()).await.unwrap(), Written::Yes);
    assert_eq!(
        engine.insert_account(account(2, "bob@a.example")).await.unwrap(),
        Written::No
    );
    assert_eq!(
        engine
            .insert_account(account(1, "alice@a.example"))
            .await
            .unwrap(),
        Written::No
    );
    assert_eq!(engine.account("alice@a.example").await.unwrap(), None);
    assert_eq!(engine.account_by_id(AccountId::new(2)).await.unwrap(), None);
    assert_eq!(engine.account("bob@a.example").await.unwrap(), Some(first));
}

/// An address has one meaning.
pub async fn an_address_is_an_account_or_an_alias(engine: Engine<'_>) {
    engine.insert_account(account(1, "bob@a.example")).await.unwrap();
    engine
        .put_alias(None, alias("info@a.example", &["bob@a.example"]))
        .await
        .unwrap();
    assert_eq!(
        engine.insert_account(account(2, "info@a.example")).await.unwrap(),
        Written::No
    );
    assert_eq!(
        engine
            .put_alias(None, alias("bob@a.example", &["x@y.example"]))
            .await
            .unwrap(),
        Written::No
    );
    assert_eq!(engine.alias("bob@a.example").await.unwrap(), None);
}

/// An update from an outdated row is refused and changes nothing; an account keeps its keys.
pub async fn accounts_change_only_from_what_they_were(engine: Engine<'_>) {
    let first = AccountRow {
        app_passwords: vec![app_password("a"), app_password("b")],
        ..account(1, "bob@a.example")
    };
    assert_eq!(
        engine.update_account(&first, first.clone()).await.unwrap(),
        Written::No
    );
    engine.insert_account(first.clone()).await.unwrap();
    let second = AccountRow {
        credential_version: 2,
        enabled: false,
        app_passwords: vec![app_password("b"), app_password("c")],
        ..first.clone()
    };
    assert_eq!(
        engine.update_account(&first, second.clone()).await.unwrap(),
        Written::Yes
    );
    assert_eq!(
        engine.update_account(&first, first.clone()).await.unwrap(),
        Written::No
    );
    let only_label_differs = AccountRow {
        app_passwords: vec![
            app_password("b"),
            AppPasswordRow {
                label: "tablet".into(),
                ..app_password("c")
            },
        ],
        ..second.clone()
    };
    assert_eq!(
        engine
            .update_account(&only_label_differs, first.clone())
            .await
            .unwrap(),
        Written::No
    );
    assert_eq!(
        engine.account("bob@a.example").await.unwrap(),
        Some(second.clone())
    );
    let moved = AccountRow {
        address: "rob@a.example".into(),
        ..second.clone()
    };
    assert!(matches!(
        engine.update_account(&second, moved).await,
        Err(Error::Invalid(_))
    ));
}

/// Of two changes made from the same row at once, exactly one is written.
pub async fn one_of_two_concurrent_changes_wins(engine: Engine<'_>) {
    let first = account(1, "bob@a.example");
    engine.insert_account(first.clone()).await.unwrap();
    for round in 0..10 {
        let old = engine
            .account("bob@a.example")
            .await
            .unwrap()
            .expect("the account is there");
        let change = |quota| AccountRow { quota, ..old.clone() };
        let (left, right) = (change(2 * round + 1), change(2 * round + 2));
        let both = tokio::join!(
            engine.update_account(&old, left.clone()),
            engine.update_account(&old, right.clone())
        );
        let now = engine.account("bob@a.example").await.unwrap();
        match (both.0.unwrap(), both.1.unwrap()) {
            (Written::Yes, Written::No) => assert_eq!(now, Some(left)),
            (Written::No, Written::Yes) => assert_eq!(now, Some(right)),
            both => panic!("exactly one must be written, not {both:?}"),
        }
    }
}

/// A removed account leaves nothing, and its keys are free again.
pub async fn removed_accounts_are_gone(engine: Engine<'_>) {
    let row = AccountRow {
        app_passwords: vec![app_password("a")],
        ..account(1, "bob@a.example")
    };
    engine.insert_account(row).await.unwrap();
    assert_eq!(
        engine.remove_account("bob@a.example").await.unwrap(),
        Written::Yes
    );
    assert_eq!(engine.remove_account("bob@a.example").await.unwrap(), Written::No);
    assert_eq!(engine.account("bob@a.example").await.unwrap(), None);
    assert_eq!(engine.account_by_id(AccountId::new(1)).await.unwrap(), None);
    let again = account(1, "bob@a.example");
    assert_eq!(engine.insert_account(again.clone()).await.unwrap(), Written::Yes);
    assert_eq!(engine.account("bob@a.example").await.unwrap(), Some(again));
}

/// Lists ascend by address, of one domain or all, and continue behind `after`.
pub async fn accounts_are_paged_by_address(engine: Engine<'_>) {
    let addresses = [
        "a@b.example",
        "a@c.example",
        "b@b.example",
        "c@b.example",
        "c@c.example",
    ];
    for (number, address) in addresses.iter().enumerate().rev() {
        let row = AccountRow {
            app_passwords: vec![app_password("x")],
            ..account(number as u64, address)
        };
        engine.insert_account(row).await.unwrap();
    }
    let listed = async |domain: Option<&Domain>, after, limit| {
        let rows = engine.accounts(domain, after, limit).await.unwrap();
        assert!(rows.iter().all(|row| row.app_passwords.len() == 1));
        rows.into_iter().map(|row| row.address).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None, 100).await, addresses);
    assert_eq!(listed(None, None, 2).await, addresses[..2]);
    assert_eq!(listed(None, Some("a@c.example"), 2).await, addresses[2..4]);
    assert_eq!(listed(None, Some("a@bb.example"), 1).await, ["a@c.example"]);
    let one = domain("b.example");
    assert_eq!(listed(Some(&one), None, 2).await, ["a@b.example", "b@b.example"]);
    assert_eq!(listed(Some(&one), Some("b@b.example"), 2).await, ["c@b.example"]);
    assert_eq!(listed(Some(&domain("x.example")), None, 2).await, [""; 0]);
}

/// Aliases are made once, changed from what they are, and removed once; the order of targets is kept.
pub async fn aliases_change_only_from_what_they_were(engine: Engine<'_>) {
    let first = alias("info@a.example", &["z@a.example", "b@c.example"]);
    assert_eq!(
        engine.put_alias(Some(&first), first.clone()).await.unwrap(),
        Written::No
    );
    assert_eq!(engine.put_alias(None, first.clone()).await.unwrap(), Written::Yes);
    assert_eq!(engine.put_alias(None, first.clone()).await.unwrap(), Written::No);
    assert_eq!(engine.alias("info@a.example").await.unwrap(), Some(first.clone()));
    let second = alias("info@a.example", &["b@c.example"]);
    assert_eq!(
        engine.put_alias(Some(&first), second.clone()).await.unwrap(),
        Written::Yes
    );
    assert_eq!(
        engine.put_alias(Some(&first), first.clone()).await.unwrap(),
        Written::No
    );
    assert_eq!(
        engine.alias("info@a.example").await.unwrap(),
        Some(second.clone())
    );
    let empty = alias("info@a.example", &[]);
    assert!(matches!(
        engine.put_alias(Some(&second), empty).await,
        Err(Error::Invalid(_))
    ));
    let moved = alias("other@a.example", &["b@c.example"]);
    assert!(matches!(
        engine.put_alias(Some(&second), moved).await,
        Err(Error::Invalid(_))
    ));
    assert_eq!(engine.remove_alias("info@a.example").await.unwrap(), Written::Yes);
    assert_eq!(engine.remove_alias("info@a.example").await.unwrap(), Written::No);
    assert_eq!(engine.alias("info@a.example").await.unwrap(), None);
    assert_eq!(engine.put_alias(None, first).await.unwrap(), Written::Yes);
}

/// Lists of aliases ascend and page, also those that name one target.
pub async fn aliases_are_paged_and_found_by_target(engine: Engine<'_>) {
    let rows = [
        alias("@b.example", &["x@b.example"]),
        alias("a@b.example", &["x@b.example", "y@b.example"]),
        alias("a@c.example", &["y@b.example"]),
        alias("b@b.example", &["y@b.example", "x@b.example"]),
    ];
    for row in rows.iter().rev() {
        engine.put_alias(None, row.clone()).await.unwrap();
    }
    assert_eq!(engine.aliases(None, None, 3).await.unwrap(), rows[..3]);
    assert_eq!(
        engine.aliases(None, Some("a@c.example"), 3).await.unwrap(),
        rows[3..]
    );
    assert_eq!(
        engine.aliases(Some(&domain("c.example")), None, 3).await.unwrap(),
        rows[2..3]
    );
    assert_eq!(
        engine.aliases_to("x@b.example", None, 2).await.unwrap(),
        rows[..2]
    );
    assert_eq!(
        engine
            .aliases_to("x@b.example", Some("a@b.example"), 2)
            .await
            .unwrap(),
        rows[3..]
    );
    assert_eq!(engine.aliases_to("z@b.example", None, 2).await.unwrap(), []);
}

/// The first value of a secret stays; secrets do not mix.
pub async fn secrets_stay_what_they_were_first(engine: Engine<'_>) {
    assert_eq!(engine.secret("one", b"first").await.unwrap(), b"first");
    assert_eq!(engine.secret("one", b"second").await.unwrap(), b"first");
    assert_eq!(engine.secret("two", b"second").await.unwrap(), b"second");
}
