//! Who may know whom: the table of layers, checked against what the manifests say.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate of ours, and which of ours it may depend on. Lower layers first; a crate that is not here is not allowed
/// anywhere.
const ALLOWED: [(&str, &[&str]); 27] = [
    ("postrider-types", &[]),
    ("postrider-wire", &["types"]),
    ("postrider-index", &["types"]),
    ("postrider-sasl", &["types"]),
    // Protocols know bytes and time.
    ("postrider-smtp", &["types", "wire", "sasl"]),
    ("postrider-pop3", &["types", "wire", "sasl"]),
    // IMAP's sets and body structures are those of the two pure crates it shows.
    ("postrider-imap", &["types", "wire", "sasl", "index", "message"]),
    ("postrider-message", &["types"]),
    // Engines know rows, not what they mean.
    ("postrider-embedded", &["types"]),
    // Its tests' keyspaces and proxy are a feature, which no program asks for.
    ("postrider-proxy", &[]),
    ("postrider-cql", &["types", "proxy"]),
    ("postrider-store", &["types", "embedded", "cql"]),
    ("postrider-queue", &["types", "embedded", "cql"]),
    ("postrider-coordination", &["types"]),
    // Sockets, but no protocol, service or store.
    ("postrider-runtime", &["types", "wire"]),
    ("postrider-proto", &["types"]),
    // Ways between processes, whatever is called.
    ("postrider-rpc", &["types", "proto", "runtime"]),
    (
        "postrider-testkit",
        &[
            "types", "wire", "runtime", "message", "smtp", "pop3", "imap", "sasl",
        ],
    ),
    // Roles meet in contracts and in the queue; none imports another.
    (
        "postrider-directory",
        &["types", "proto", "runtime", "sasl", "store", "coordination"],
    ),
    (
        "postrider-mail-store",
        &[
            "types",
            "proto",
            "runtime",
            "store",
            "index",
            "message",
            "coordination",
        ],
    ),
    (
        "postrider-smtp-ingress",
        &[
            "types",
            "proto",
            "runtime",
            "wire",
            "smtp",
            "sasl",
            "message",
            "queue",
            "coordination",
        ],
    ),
    (
        "postrider-delivery-worker",
        &[
            "types",
            "proto",
            "runtime",
            "wire",
            "smtp",
            "message",
            "queue",
            "coordination",
        ],
    ),
    (
        "postrider-imap-gateway",
        &[
            "types",
            "proto",
            "runtime",
            "wire",
            "imap",
            "sasl",
            "index",
            "message",
            "coordination",
        ],
    ),
    (
        "postrider-pop3-gateway",
        &[
            "types",
            "proto",
            "runtime",
            "wire",
            "pop3",
            "sasl",
            "index",
            "coordination",
        ],
    ),
    (
        "postrider-web-gateway",
        &[
            "types",
            "proto",
            "runtime",
            "wire",
            "sasl",
            "index",
            "message",
            "coordination",
        ],
    ),
    // Wires everything; knows concrete engines.
    ("postrider", &["*"]),
    // Looks from outside; its soak of a cluster kills real engines, and is the network between processes.
    (
        "postrider-loadtest",
        &[
            "types", "wire", "smtp", "pop3", "imap", "sasl", "message", "runtime", "testbed", "proxy",
        ],
    ),
];

/// Tools that build, test or fuzz the rest; none of the programs depends on them.
const TOOLS: [&str; 4] = [
    "xtask",
    "postrider-fuzz",
    "postrider-testkit",
    "postrider-testbed",
];

fn allowed() -> BTreeMap<&'static str, BTreeSet<String>> {
    let full = |name: &&str| {
        if *name == "*" {
            "*".to_owned()
        } else {
            format!("postrider-{name}")
        }
    };
    ALLOWED
        .iter()
        .map(|(name, of)| (*name, of.iter().map(full).collect()))
        .collect()
}

#[test]
fn nobody_depends_upwards_or_sideways() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let table = allowed();
    let mut wrong = Vec::new();
    for package in metadata
        .packages
        .iter()
        .filter(|package| !TOOLS.contains(&package.name.as_str()))
    {
        let Some(may) = table.get(package.name.as_str()) else {
            wrong.push(format!("{} has no layer; give it one in this test", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            // Tests may look wherever they like, and engines are tested by the layer above them.
            let counts = ours.contains(name) && dependency.kind != DependencyKind::Development;
            if counts && name != package.name.as_str() && !may.contains("*") && !may.contains(name) {
                wrong.push(format!("{} depends on {name}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_binary_knows_the_services() {
    let services = [
        "directory",
        "mail-store",
        "smtp-ingress",
        "delivery-worker",
        "imap-gateway",
        "pop3-gateway",
    ];
    for (name, may) in allowed() {
        for service in services {
            assert!(
                !may.contains(&format!("postrider-{service}")),
                "{name} may know {service}"
            );
        }
    }
}

#[test]
fn nothing_links_what_is_banned() {
    // `cargo metadata` names every optional dependency of a lock file; `cargo tree` only what this build links.
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "postrider",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .output()
        .expect("cargo tree");
    let linked = String::from_utf8_lossy(&tree.stdout);
    assert!(linked.contains("aws-lc-rs "), "{linked}");
    for banned in ["ring", "openssl", "native-tls"] {
        let found = linked.lines().any(|line| line.split(' ').next() == Some(banned));
        assert!(!found, "{banned} is linked");
    }
}
