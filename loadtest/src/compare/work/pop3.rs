//! A program that takes everything out of a maildrop.

use anyhow::{Result, bail};

use crate::compare::fill::fill;
use crate::compare::imap::Imap;
use crate::compare::letters::Letters;
use crate::compare::line::Line;
use crate::compare::rows::{Bench, DRAINED, Work};
use crate::compare::system::{Sample, System};

const MESSAGES: u64 = 1000;
const SIZE: usize = 4 << 10;
/// Commands sent before their answers are read, where PIPELINING is offered (RFC 2449 §6.6).
const WINDOW: u64 = 50;

/// RETR and DELE of 1,000 messages, then QUIT.
pub struct Drain;

impl Work for Drain {
    fn round(&mut self, system: &mut System, _round: u32, _bench: &Bench) -> Result<Sample> {
        fill(system, DRAINED, "INBOX", 0, &Letters::new(SIZE))?;
        fill(system, DRAINED, "INBOX", MESSAGES, &Letters::new(SIZE))?;
        system.settle();
        let sample = system.timed(|| drain(system))?;
        let mut imap = Imap::login(system, DRAINED)?;
        match imap.messages("INBOX")? {
            0 => Ok(sample),
            left => bail!("{left} messages are there after all were deleted"),
        }
    }
}

fn drain(system: &System) -> Result<u64> {
    let mut line = Line::connect(system.pop3()?)?;
    line.expect("+OK")?;
    let window = if pipelining(&mut line)? { WINDOW } else { 1 };
    let user = system.target.accounts.address(DRAINED);
    ask(&mut line, &format!("USER {user}\r\n"))?;
    ask(&mut line, &format!("PASS {}\r\n", system.password()?))?;
    ask(&mut line, "UIDL\r\n")?;
    let listed = multiline(&mut line)?;
    if listed != MESSAGES {
        bail!("UIDL lists {listed} of {MESSAGES} messages");
    }
    let mut next = 1;
    while next <= MESSAGES {
        let end = MESSAGES.min(next + window - 1);
        let commands: String = (next..=end)
            .map(|number| format!("RETR {number}\r\nDELE {number}\r\n"))
            .collect();
        line.send(commands.as_bytes())?;
        for _ in next..=end {
            line.expect("+OK")?;
            multiline(&mut line)?;
            line.expect("+OK")?;
        }
        next = end + 1;
    }
    ask(&mut line, "QUIT\r\n")?;
    Ok(MESSAGES)
}

fn pipelining(line: &mut Line) -> Result<bool> {
    line.send(b"CAPA\r\n")?;
    if !line.line()?.starts_with(b"+OK") {
        return Ok(false);
    }
    let mut offered = false;
    loop {
        match line.line()? {
            b"." => return Ok(offered),
            capability => offered |= capability == b"PIPELINING",
        }
    }
}

fn ask(line: &mut Line, command: &str) -> Result<()> {
    line.send(command.as_bytes())?;
    line.expect("+OK").map(drop)
}

/// Reads until the line with the dot; how many lines came before.
fn multiline(line: &mut Line) -> Result<u64> {
    let mut count = 0;
    while line.line()? != b"." {
        count += 1;
    }
    Ok(count)
}
