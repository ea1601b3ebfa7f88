//! What the demonstration prints between the dialogues.

use std::io::{IsTerminal, Write};

use postrider_proto::operations::TraceStep;

use crate::output;

/// A heading.
pub fn title(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody looking on is no reason to stop.
    let _ = match is_coloured() {
        true => writeln!(out, "\n\x1b[1m{text}\x1b[0m"),
        false => writeln!(out, "\n{text}\n{}", "-".repeat(text.chars().count())),
    };
}

/// Who the two letters of the next dialogue are.
pub fn who(client: &str, server: &str) {
    say(&format!("{client}, {server}"));
}

/// A line.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "  {text}");
}

/// A step of the journal.
pub fn step(step: &TraceStep) {
    let to = if step.recipient.is_empty() {
        String::new()
    } else {
        format!("to {}: ", step.recipient)
    };
    say(&format!(
        "{}  {:<9} {to}{}",
        output::time(step.time),
        step.step,
        step.detail
    ));
}

fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
