//! The Redis server: one node that keeps nothing.

use std::fs;
use std::io::Result;
use std::path::Path;
use std::process::Command;

use crate::wire::{Wire, nonsense};
use crate::{Engine, Failed};

const CONFIGURATION: &str = include_str!("../redis/redis.conf");
/// The server's program.
pub const PROGRAM: &str = "redis-server";

/// Writes the configuration.
pub fn configure(folder: &Path) -> std::result::Result<(), Failed> {
    let path = folder.join("redis.conf");
    let text = CONFIGURATION.replace("@DIR@", &folder.display().to_string());
    fs::write(&path, text).map_err(|error| Failed::at(&path, &error))
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
