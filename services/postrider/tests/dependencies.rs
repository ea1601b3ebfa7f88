//! Who may know whom: the table of layers, checked against what the manifests say.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate of ours, and which of ours it may depend on. Lower layers first; a crate that is not here is not allowed
/// anywhere.
const ALLOWED: [(&str, &[&str]); 25] = [
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
    ("postrider-cluster", &["types"]),
    ("postrider-store", &["types", "embedded", "cluster"]),
    ("postrider-queue", &["types", "embedded", "cluster"]),
    ("postrider-coordination", &["types"]),
    // Sockets, but no protocol, service or store.
    ("postrider-runtime", &["types", "wire"]),
    ("postrider-proto", &["types"]),
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
    // Looks from outside.
    (
        "postrider-loadtest",
        &[
            "types", "wire", "smtp", "pop3", "imap", "sasl", "message", "runtime",
        ],
    ),
];

/// Tools that build, test or fuzz the rest; nothing depends on them.
const TOOLS: [&str; 3] = ["xtask", "postrider-fuzz", "postrider-testkit"];

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
    // Only what this platform builds; a lock file names more.
    let options = [
        "--filter-platform".to_owned(),
        format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
    ];
    let metadata = MetadataCommand::new()
        .other_options(options)
        .exec()
        .expect("cargo metadata");
    for banned in ["ring", "openssl", "native-tls"] {
        let linked = metadata
            .packages
            .iter()
            .any(|package| package.name.as_str() == banned);
        // A lock file may name what only another platform would link.
        let reached = linked && reached_from_the_binary(&metadata, banned);
        assert!(!reached, "{banned} is linked");
    }
}

fn reached_from_the_binary(metadata: &cargo_metadata::Metadata, wanted: &str) -> bool {
    let resolve = metadata.resolve.as_ref().expect("a resolved graph");
    let names: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "postrider")
        .map(|package| &package.id);
    let mut open: Vec<_> = start.into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        if names.get(id) == Some(&wanted) {
            return true;
        }
        for dependency in nodes.get(id).into_iter().flat_map(|node| &node.deps) {
            let normal = dependency.dep_kinds.iter().any(|kind| {
                let here = kind
                    .target
                    .as_ref()
                    .is_none_or(|target| !target.to_string().contains("windows"));
                kind.kind == DependencyKind::Normal && here
            });
            if normal {
                open.push(&dependency.pkg);
            }
        }
    }
    false
}
