//! The contract suite and what is this engine's own, on the real database.

use std::time::Duration;

use postrider_cql::Config;
use postrider_cql::testing::{Fresh, Mode, proxy};

use super::*;
use crate::directory::Credential;

async fn open_fresh() -> (CqlDirectory, Fresh) {
    let fresh = Fresh::open().await.unwrap();
    (CqlDirectory::new(fresh.session.clone()), fresh)
}

crate::directory_suite!(open_fresh);

/// The connection is lost in the middle of a write, after the request has passed or before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_unknown_outcome_is_found_or_sent_again() {
    let (direct, fresh) = open_fresh().await;
    let proxy = proxy().await.unwrap();
    let config = Config {
        contact_points: vec![proxy.address().to_string()],
        conditional_deadline: Duration::from_secs(6),
        ..fresh.config.clone()
    };
    let session = Session::open(&config).unwrap();
    session.connected(Duration::from_secs(30)).await.unwrap();
    let directory = CqlDirectory::new(session);
    let cut = async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.set(Mode::Cut);
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.set(Mode::Pass);
    };
    // While it is not connected again, a write is refused before it is sent.
    let connected = async |name: &Domain| {
        while let Err(error) = directory.domain(name).await {
            assert!(error.is_temporary(), "{error}");
        }
    };
    // First with a connection that holds: a statement that cannot be prepared is not sent.
    for (number, mode) in [(1, Mode::Pass), (2, Mode::Deaf), (3, Mode::Dead)] {
        let name = Domain::new(&format!("d{number}.example.org")).unwrap();
        let domain = DomainRow {
            name: name.clone(),
            created: number,
        };
        connected(&name).await;
        proxy.set(mode);
        let (written, ()) = tokio::join!(directory.insert_domain(domain.clone()), cut());
        assert_eq!(written.unwrap(), Written::Yes, "{mode:?}");
        assert_eq!(direct.domain(&name).await.unwrap(), Some(domain));

        let account = AccountRow {
            id: AccountId::new(number),
            address: format!("a@{name}"),
            display_name: String::new(),
            enabled: true,
            quota: 0,
            created: number,
            credential_version: 1,
            credential: Credential::default(),
            app_passwords: Vec::new(),
        };
        connected(&name).await;
        proxy.set(mode);
        let (written, ()) = tokio::join!(directory.insert_account(account.clone()), cut());
        assert_eq!(written.unwrap(), Written::Yes, "{mode:?}");
        assert_eq!(
            direct.account_by_id(account.id).await.unwrap(),
            Some(account.clone())
        );
        let listed = direct.accounts(Some(&name), None, 10).await.unwrap();
        assert_eq!(listed, [account]);
    }
    let unknown = directory.session.statistics().conditional.unknown;
    assert!(unknown >= 4, "{unknown}");
}
