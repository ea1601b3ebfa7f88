//! Engines that ask who comes: TLS in both directions, a login, and no more rights than `docs/operations.md` names.
//!
//! Kafka is among them in a build with the feature `kafka-tls` (`cargo xtask guarded`); otherwise it is the test engines' plain one.

use std::path::{Path, PathBuf};

use postrider_testbed::{Guard, Kind, Own, Testbed};
use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::eventually;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::*;

const KEYSPACE: &str = "letters";
const USER: &str = "postman";
/// With what a URL and a shell would trip over.
const LOGIN: &str = "hun/gry?";
const OWNER: &str = "builder";
const ELSEWHERE: &str = "dave@elsewhere.example";

#[test]
fn engines_want_certificates_and_logins_and_give_few_rights() {
    let peer = Peer::start(Manner::default());
    let mut node = cluster(&Wish {
        routes: vec![("elsewhere.example".into(), peer.address())],
        ..wish()
    });
    let papers = Papers::make(node.scratch());
    let own = |kind: Kind| {
        let folder = node.scratch().join(kind.name());
        let engine = Own::new(kind, &Testbed::new().unwrap(), &folder, Some(papers.guard())).unwrap();
        engine.start().unwrap();
        engine
    };
    let database = own(Kind::Cassandra);
    let redis = own(Kind::Redis);
    let kafka = cfg!(feature = "kafka-tls").then(|| own(Kind::Kafka));

    let cql = |key| format!("POSTRIDER__STORAGE__CQL__{key}");
    set(&mut node, &cql("CONTACT_POINTS"), &database.address().to_string());
    set(&mut node, &cql("KEYSPACE"), KEYSPACE);
    let url = format!("rediss://{USER}:hun%2Fgry%3F@{}", redis.address());
    set(&mut node, "POSTRIDER__COORDINATION__REDIS__URL", &url);
    let mut sections = vec!["STORAGE__CQL", "COORDINATION__REDIS"];
    if let Some(kafka) = &kafka {
        sections.push("QUEUE__KAFKA");
        let key = |key| format!("POSTRIDER__QUEUE__KAFKA__{key}");
        set(&mut node, &key("BROKERS"), &kafka.address().to_string());
        set(&mut node, &key("USERNAME"), USER);
        set(&mut node, &key("PASSWORD"), LOGIN);
    }

    // Strangers are turned away, and hear why.
    set(&mut node, &cql("USERNAME"), OWNER);
    let turned_away = |node: &Node, why: &str| {
        let output = node.run(&["cluster", "init"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{why}: {said}");
    };
    turned_away(&node, "whether it wants TLS (storage.cql.ca)");
    for section in &sections {
        let key = |key| format!("POSTRIDER__{section}__{key}");
        set(&mut node, &key("CA"), &papers.path("authority.pem"));
        set(&mut node, &key("CERTIFICATE"), &papers.path("client.pem"));
        set(&mut node, &key("KEY"), &papers.path("client.key"));
    }
    make_roles(&database, &papers);
    set(&mut node, &cql("PASSWORD"), "wrong");
    turned_away(
        &node,
        "refuses the login, check storage.cql.username and storage.cql.password",
    );

    // One makes the tables, another one works with them.
    set(&mut node, &cql("PASSWORD"), LOGIN);
    let made = node.run(&["cluster", "init"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    administer(
        &database,
        &papers,
        &[
            &format!("GRANT SELECT ON KEYSPACE {KEYSPACE} TO {USER}"),
            &format!("GRANT MODIFY ON KEYSPACE {KEYSPACE} TO {USER}"),
        ],
    );
    set(&mut node, &cql("USERNAME"), USER);
    node.launch();
    wait_ready(&mut node);
    let said = node.admin(&["cluster", "status"]);
    assert!(
        said.contains("as this program needs it") && said.contains("redis answers"),
        "{said}"
    );
    node.add_account(BOB, PASSWORD);
    let said = letter(&mut submission(&node), BOB, &[BOB, ELSEWHERE]);
    assert!(said.starts_with("250"), "{said}");
    eventually("the letter in the mailbox", MINUTE, || {
        let mut imap = Imap::login(node.address("imap"), BOB, PASSWORD);
        (imap.select("INBOX") == 1).then_some(())
    });
    eventually("the letter on its way", MINUTE, || {
        (peer.taken().len() == 1).then_some(())
    });
    node.admin(&["queue", "suspend", "elsewhere.example"]);
    let suspended = node.admin(&["queue", "suspended"]);
    assert!(suspended.contains("elsewhere.example"), "{suspended}");
}

/// In Cassandra: one who may make a keyspace and is its owner from then on, and one who may do nothing yet.
fn make_roles(database: &Own, papers: &Papers) {
    let role = |name: &str| format!("CREATE ROLE {name} WITH PASSWORD = '{LOGIN}' AND LOGIN = true");
    // The first user comes to be a moment after the node listens.
    eventually("the first user", MINUTE, || {
        try_administer(database, papers, &[&role(OWNER)]).ok()
    });
    let grant = format!("GRANT CREATE ON ALL KEYSPACES TO {OWNER}");
    administer(database, papers, &[&role(USER), &grant]);
}

fn administer(database: &Own, papers: &Papers, statements: &[&str]) {
    try_administer(database, papers, statements).unwrap();
}

fn try_administer(database: &Own, papers: &Papers, statements: &[&str]) -> postrider_cql::Result<()> {
    let config = postrider_cql::Config {
        contact_points: vec![database.address().to_string()],
        user: "cassandra".into(),
        password: postrider_cql::Secret("cassandra".into()),
        tls: Some(postrider_cql::Tls {
            ca: papers.path("authority.pem").into(),
            certificate: Some(papers.path("client.pem").into()),
            key: Some(papers.path("client.key").into()),
        }),
        ..postrider_cql::Config::default()
    };
    on_runtime(postrider_cql::testing::administer(&config, statements))
}

/// Keys and certificates of one authority, in PEM.
struct Papers(PathBuf);

impl Papers {
    fn make(scratch: &Path) -> Self {
        let papers = Self(scratch.join("papers"));
        std::fs::create_dir_all(&papers.0).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than what it signs: OpenSSL takes a certificate that names itself for its own issuer.
        params
            .distinguished_name
            .push(DnType::CommonName, "the authority of a test");
        papers.write("authority.pem", &params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (key.serialize_pem(), certificate.pem())
        };
        let (key, certificate) = signed("127.0.0.9");
        papers.write("engine.pem", &(key + &certificate));
        let (key, certificate) = signed("client.hamburger.edu");
        papers.write("client.key", &key);
        papers.write("client.pem", &certificate);
        papers
    }

    fn guard(&self) -> Guard {
        Guard {
            authority: self.path("authority.pem").into(),
            identity: self.path("engine.pem").into(),
            user: USER.into(),
            password: LOGIN.into(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.0.join(name), pem).unwrap();
    }
}
