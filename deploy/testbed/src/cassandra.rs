//! A Cassandra node.

use std::fs;
use std::io::Result;
use std::path::Path;
use std::process::Command;

use crate::wire::{Answer, Wire, nonsense};
use crate::{Engine, Failed, Guard, java::Java};

/// Between the nodes.
pub const STORAGE_PORT: u16 = 17000;

const CONFIGURATION: &str = include_str!("../cassandra/cassandra.yaml");
const LOGGING: &str = include_str!("../cassandra/logback.xml");
const FLAGS: &str = include_str!("../cassandra/jvm.flags");

/// A third of the ring each.
const TOKENS: [&str; 3] = [
    "-9223372036854775808",
    "-3074457345618258603",
    "3074457345618258602",
];

/// What a driver wants to know of every other node before it uses it.
const PEERS: &str = "SELECT rpc_address, host_id, schema_version, tokens FROM system.peers";

// CQL binary protocol, version 4: the opcodes used here, and the flag of a result that does not describe its columns.
const VERSION: u8 = 4;
const STARTUP: u8 = 1;
const READY: u8 = 2;
const OPTIONS: u8 = 5;
const SUPPORTED: u8 = 6;
const QUERY: u8 = 7;
const RESULT: u8 = 8;
const ROWS: i32 = 2;
const SKIP_METADATA: u8 = 2;
const NO_METADATA: i32 = 4;
const CONSISTENCY_ONE: [u8; 2] = [0, 1];

/// Writes the configuration.
pub fn configure(engine: Engine, folder: &Path, guard: Option<&Guard>) -> std::result::Result<(), Failed> {
    // A test's own node is alone.
    let (seed, place) = match engine.is_own() {
        true => (engine.node(), 0),
        false => (1, usize::from(engine.node()) - 1),
    };
    let token = TOKENS.get(place).copied().unwrap_or_default();
    let mut text = CONFIGURATION
        .replace("@NODE@", &engine.node().to_string())
        .replace("@SEED@", &seed.to_string())
        .replace("@DIR@", &folder.display().to_string())
        .replace("@TOKEN@", token);
    if let Some(guard) = guard {
        text += &guarded(guard);
    }
    for (name, text) in [("cassandra.yaml", text.as_str()), ("logback.xml", LOGGING)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| Failed::at(&path, &error))?;
    }
    Ok(())
}

/// TLS with a client's certificate, a login, and rights.
fn guarded(guard: &Guard) -> String {
    format!(
        "authenticator: PasswordAuthenticator\n\
         authorizer: CassandraAuthorizer\n\
         client_encryption_options:\n  \
           enabled: true\n  \
           optional: false\n  \
           require_client_auth: true\n  \
           ssl_context_factory:\n    \
             class_name: org.apache.cassandra.security.PEMBasedSslContextFactory\n  \
           keystore: {}\n  \
           truststore: {}\n",
        guard.identity.display(),
        guard.authority.display()
    )
}

/// The command that runs it.
pub fn command(engine: Engine, folder: &Path, java: &Java) -> std::result::Result<Command, Failed> {
    let at = folder.display();
    let mut own: Vec<String> = FLAGS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect();
    own.extend([
        "-Xms128m".to_owned(),
        "-Xmx512m".to_owned(),
        "-XX:MaxDirectMemorySize=256m".to_owned(),
        // Without it the daemon closes its console once it is up, and the log ends there.
        "-Dcassandra-foreground=yes".to_owned(),
        // Nobody gossips but these nodes, and nobody logs in.
        "-Dcassandra.skip_wait_for_gossip_to_settle=0".to_owned(),
        "-Dcassandra.superuser_setup_delay_ms=0".to_owned(),
        format!("-Dcassandra.config=file://{at}/cassandra.yaml"),
        format!("-Dcassandra.storagedir={at}"),
        format!("-Dlogback.configurationFile={at}/logback.xml"),
    ]);
    java.command(
        engine,
        folder,
        &own,
        &["org.apache.cassandra.service.CassandraDaemon"],
    )
}

/// Whether it speaks CQL.
pub fn answers(engine: Engine) -> Result<()> {
    let mut wire = Wire::open(engine.address())?;
    ask(&mut wire, OPTIONS, &[], SUPPORTED).map(drop)
}

/// How many other nodes it knows with everything that a driver wants to know.
pub fn peers(engine: Engine) -> Result<usize> {
    let mut wire = Wire::open(engine.address())?;
    // A map of one pair of strings: CQL_VERSION and 3.0.0.
    ask(&mut wire, STARTUP, b"\0\x01\0\x0bCQL_VERSION\0\x053.0.0", READY)?;
    let length = u32::try_from(PEERS.len()).map_err(|_| nonsense())?;
    let question = [
        &length.to_be_bytes(),
        PEERS.as_bytes(),
        &CONSISTENCY_ONE,
        &[SKIP_METADATA],
    ]
    .concat();
    let answer = ask(&mut wire, QUERY, &question, RESULT)?;
    let mut answer = Answer(&answer);
    let (kind, flags, columns, rows) = (answer.int()?, answer.int()?, answer.int()?, answer.int()?);
    if kind != ROWS || flags & NO_METADATA == 0 {
        return Err(nonsense());
    }
    let mut known = 0;
    for _ in 0..rows {
        let mut complete = true;
        for _ in 0..columns {
            complete &= answer.bytes()?.is_some();
        }
        known += usize::from(complete);
    }
    Ok(known)
}

/// A frame out, a frame with the expected opcode in; its body.
fn ask(wire: &mut Wire, opcode: u8, body: &[u8], expected: u8) -> Result<Vec<u8>> {
    let length = u32::try_from(body.len()).map_err(|_| nonsense())?;
    let header = [&[VERSION, 0, 0, 0, opcode][..], &length.to_be_bytes()].concat();
    wire.send(&[&header, body].concat())?;
    let header = wire.receive(9)?;
    let length = Answer(&header[5..]).int()?;
    let body = wire.receive(usize::try_from(length).map_err(|_| nonsense())?)?;
    if header[4] == expected {
        Ok(body)
    } else {
        Err(nonsense())
    }
}
