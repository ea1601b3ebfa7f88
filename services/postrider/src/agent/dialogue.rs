//! Showing who says what.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_smtp::{Direction, Observer};

/// Content that has no line end for so long is shown in pieces.
const LONGEST: usize = 2000;

/// Prints both sides of a connection as it happens: `C: ` the client, `S: ` the server. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Dialogue(Arc<Shown>);

struct Shown {
    indent: &'static str,
    coloured: bool,
    /// What the client and the server have begun to say.
    begun: Mutex<[Vec<u8>; 2]>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// Who connected.
    Client = 0,
    /// Who was connected to.
    Server = 1,
}

impl Dialogue {
    /// On standard output, in colours if that is a terminal.
    pub fn new(indent: &'static str) -> Self {
        let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self(Arc::new(Shown {
            indent,
            coloured,
            begun: Mutex::default(),
        }))
    }

    /// A whole line, without its end.
    pub fn line(&self, speaker: Speaker, line: &[u8]) {
        let Shown { indent, coloured, .. } = &*self.0;
        let text = printable(line);
        let (letter, colour) = match speaker {
            Speaker::Client => ('C', "36"),
            Speaker::Server => ('S', "32"),
        };
        let mut out = std::io::stdout().lock();
        // Nobody looking on is no reason to stop sending.
        let _ = match coloured {
            true => writeln!(out, "{indent}\x1b[{colour}m{letter}: {text}\x1b[0m"),
            false => writeln!(out, "{indent}{letter}: {text}"),
        };
    }

    /// Octets as they come; lines are shown when they are whole.
    pub fn octets(&self, speaker: Speaker, octets: &[u8]) {
        let mut lines = Vec::new();
        {
            let mut begun = self.0.begun.lock();
            let [client, server] = &mut *begun;
            let line = if speaker == Speaker::Client {
                client
            } else {
                server
            };
            for &octet in octets {
                match octet {
                    b'\n' => lines.push(std::mem::take(line)),
                    octet => line.push(octet),
                }
                if line.len() >= LONGEST {
                    lines.push(std::mem::take(line));
                }
            }
        }
        for line in lines {
            self.line(speaker, line.strip_suffix(b"\r").unwrap_or(&line));
        }
    }
}

impl Observer for Dialogue {
    fn line(&mut self, direction: Direction, line: &[u8]) {
        Dialogue::line(self, speaker(direction), line);
    }

    fn content(&mut self, direction: Direction, piece: &[u8]) {
        self.octets(speaker(direction), piece);
    }
}

fn speaker(direction: Direction) -> Speaker {
    match direction {
        Direction::Sent => Speaker::Client,
        Direction::Received => Speaker::Server,
    }
}

/// Text that cannot command a terminal.
fn printable(line: &[u8]) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    String::from_utf8_lossy(line).chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_command_the_terminal() {
        assert_eq!(
            printable(b"220 \x1b[2Jhello\t\xff"),
            "220 \u{fffd}[2Jhello\t\u{fffd}"
        );
    }
}
