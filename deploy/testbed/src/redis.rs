//! The Redis server: one node that keeps nothing.

use std::fs;
use std::io::Result;
use std::path::Path;
use std::process::Command;

use crate::wire::{Wire, nonsense};
use crate::{Engine, Failed, Guard};

const CONFIGURATION: &str = include_str!("../redis/redis.conf");
/// The server's program.
pub const PROGRAM: &str = "redis-server";

/// Writes the configuration.
pub fn configure(engine: Engine, folder: &Path, guard: Option<&Guard>) -> std::result::Result<(), Failed> {
    let path = folder.join("redis.conf");
    let address = engine.address();
    let port = match guard {
        None => format!("port {}", address.port()),
        Some(guard) => guarded(guard, address.port()),
    };
    let text = CONFIGURATION
        .replace("@DIR@", &folder.display().to_string())
        .replace("@ADDRESS@", &address.ip().to_string())
        .replace("@PORT@", &port);
    fs::write(&path, text).map_err(|error| Failed::at(&path, &error))
}

/// TLS only, for those who have a certificate and log in.
fn guarded(guard: &Guard, port: u16) -> String {
    let Guard {
        authority,
        identity,
        user,
        password,
    } = guard;
    let (authority, identity) = (authority.display(), identity.display());
    format!(
        "port 0\ntls-port {port}\ntls-auth-clients yes\ntls-ca-cert-file {authority}\n\
         tls-cert-file {identity}\ntls-key-file {identity}\n\
         user default off\nuser {user} on >{password} ~* &* +@all"
    )
}

/// The command that runs it.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg(folder.join("redis.conf"));
    command
}

/// Whether it answers a `PING`.
pub fn answers(engine: Engine) -> Result<()> {
    let mut wire = Wire::open(engine.address())?;
    wire.send(b"PING\r\n")?;
    match wire.receive(5)?.as_slice() {
        b"+PONG" => Ok(()),
        _ => Err(nonsense()),
    }
}
