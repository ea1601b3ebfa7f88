#![doc = include_str!("../README.md")]

use std::process::ExitCode;

use clap::Parser;

mod admin;
mod agent;
mod command;
mod demo;
mod node;
mod output;

/// Serving mail is many small allocations from many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match command::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        // `postrider trace | head` ends like this, and is content.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postrider: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, without those that only repeat the one before.
fn one_line(error: &anyhow::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.dedup_by(|cause, before| before.contains(cause.as_str()));
    causes.join(": ").trim_end().replace('\n', "; ")
}
