//! A Kafka node: broker and controller of the test cluster in one process.

use std::fs::{self, File};
use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::wire::{Answer, Wire, nonsense};
use crate::{Engine, Failed, Guard, Kind, java::Java};

/// Between the nodes, for the controllers' quorum.
pub const CONTROLLER_PORT: u16 = 19093;

/// Any 16 bytes in URL-safe base64, the same on every node.
const CLUSTER: &str = "cG9zdHJpZGVyLWtyYWZ0MQ";

const CONFIGURATION: &str = include_str!("../kafka/server.properties");
const LOGGING: &str = include_str!("../kafka/log4j2.properties");

/// Metadata, version 1, of no topic: length, api key 3, version 1, correlation id 7, no client id, no topics.
const METADATA: [u8; 18] = [
    0, 0, 0, 14, //
    0, 3, 0, 1, //
    0, 0, 0, 7, //
    0xff, 0xff, //
    0, 0, 0, 0,
];

/// Where a guarded node is reached without TLS and login: by itself, and by who asks whether it answers.
const INSIDE_PORT: u16 = 19094;

/// The port that speaks plainly.
pub fn client_port(guard: Option<&Guard>) -> u16 {
    guard.map_or(Kind::Kafka.port(), |_| INSIDE_PORT)
}

/// Writes the configuration and formats the data folder; `nodes` are those of the cluster.
pub fn configure(
    engine: Engine,
    nodes: &[u8],
    folder: &Path,
    java: &Java,
    guard: Option<&Guard>,
) -> std::result::Result<(), Failed> {
    let voters: Vec<String> = nodes
        .iter()
        .map(|node| format!("{node}@127.0.0.{node}:{CONTROLLER_PORT}"))
        .collect();
    let mut text = CONFIGURATION
        .replace("@NODE@", &engine.node().to_string())
        .replace("@DIR@", &folder.display().to_string())
        .replace("@VOTERS@", &voters.join(","))
        .replace("@REPLICAS@", &nodes.len().to_string())
        .replace("@MIN_ISR@", &nodes.len().div_ceil(2).to_string());
    if let Some(guard) = guard {
        text += &guarded(engine, guard);
    }
    write(folder, "server.properties", &text)?;
    write(folder, "log4j2.properties", LOGGING)?;
    format(folder, java, guard)
}

/// Outside, TLS with a client's certificate, and a login. Later lines take the place of earlier ones of the same name.
fn guarded(engine: Engine, guard: &Guard) -> String {
    let outside = engine.address();
    let inside = engine.at(INSIDE_PORT);
    let controller = engine.at(CONTROLLER_PORT);
    let (identity, authority) = (guard.identity.display(), guard.authority.display());
    format!(
        "\n\
         listeners=INSIDE://{inside},OUTSIDE://{outside},CONTROLLER://{controller}\n\
         advertised.listeners=INSIDE://{inside},OUTSIDE://{outside}\n\
         listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:SASL_SSL,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=INSIDE\n\
         listener.name.outside.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
         listener.name.outside.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.outside.ssl.client.auth=required\n\
         ssl.keystore.type=PEM\n\
         ssl.keystore.location={identity}\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={authority}\n"
    )
}

/// The command that runs it.
pub fn command(engine: Engine, folder: &Path, java: &Java) -> std::result::Result<Command, Failed> {
    let own = [
        "-Xms32m".to_owned(),
        "-Xmx256m".to_owned(),
        format!(
            "-Dlog4j2.configurationFile={}/log4j2.properties",
            folder.display()
        ),
    ];
    let properties = format!("{}/server.properties", folder.display());
    java.command(engine, folder, &own, &["kafka.Kafka", &properties])
}

/// The ids of the brokers that the node at an address knows to be alive.
pub fn brokers(address: SocketAddr) -> Result<Vec<i32>> {
    let mut wire = Wire::open(address)?;
    wire.send(&METADATA)?;
    let length = Answer(&wire.receive(4)?).int()?;
    let answer = wire.receive(usize::try_from(length).map_err(|_| nonsense())?)?;
    let mut answer = Answer(&answer);
    if answer.int()? != 7 {
        return Err(nonsense());
    }
    let mut brokers = Vec::new();
    for _ in 0..answer.int()? {
        brokers.push(answer.int()?);
        let (_host, _port, _rack) = (answer.string()?, answer.int()?, answer.string()?);
    }
    Ok(brokers)
}

/// A node whose data folder is not formatted refuses to start.
fn format(folder: &Path, java: &Java, guard: Option<&Guard>) -> std::result::Result<(), Failed> {
    let log = folder.join("format.log");
    let file = || File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
    let (out, err) = file().map_err(|error| Failed::at(&log, &error))?;
    let properties = format!("{}/server.properties", folder.display());
    let mut command = java.program();
    command
        .args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=OFF", "-cp"])
        .arg(java.class_path())
        .args(["kafka.tools.StorageTool", "format", "--ignore-formatted"])
        .args(["--cluster-id", CLUSTER, "--config", &properties])
        .args(guard.into_iter().flat_map(|Guard { user, password, .. }| {
            let login = format!("SCRAM-SHA-512=[name={user},password={password}]");
            ["--add-scram".to_owned(), login]
        }))
        .current_dir(folder)
        .stdout(out)
        .stderr(err);
    let status = command
        .status()
        .map_err(|error| Failed(format!("java: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    let last = said.lines().last().unwrap_or("it said nothing");
    Err(Failed(format!(
        "kafka cannot format its folder: {last}; see {}",
        log.display()
    )))
}

fn write(folder: &Path, name: &str, text: &str) -> std::result::Result<(), Failed> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| Failed::at(&path, &error))
}
