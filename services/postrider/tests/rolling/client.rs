//! Clients that put up with a server that goes away: at such a moment, between two things they want, they go to another one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postrider_testkit::wire::{Wire, pause};

/// How long none of the servers may be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A message is sent in pieces of so many bytes.
const PIECE: usize = 16 << 10;
/// One of more than so many comes slowly.
const SLOW: usize = 512 << 10;

/// The server went away between two commands; what was asked last has not been done.
#[derive(Debug)]
pub struct Gone;

/// Connects to the first server that takes the connection and greets.
fn connect(servers: &[SocketAddr], greeting: &str) -> Wire {
    let begin = Instant::now();
    loop {
        for server in servers {
            let greeted = Wire::try_connect(*server).and_then(|mut wire| Ok((wire.try_line()?, wire)));
            if let Ok((line, wire)) = greeted {
                if line.starts_with(greeting) {
                    return wire;
                }
                let leaving = line.starts_with("421") || line.starts_with("* BYE");
                assert!(leaving, "{server} greets with {line}");
            }
        }
        assert!(begin.elapsed() < PATIENCE, "none of {servers:?} is there");
        pause(Duration::from_millis(20));
    }
}

/// An SMTP session.
pub struct Smtp(Wire);

impl Smtp {
    /// Connects; `login` is what follows AUTH PLAIN.
    pub fn open(servers: &[SocketAddr], login: Option<&str>) -> Self {
        loop {
            let mut smtp = Self(connect(servers, "220"));
            let mut ready = smtp.first("EHLO crepes.fr", "250");
            if let (Ok(()), Some(login)) = (&ready, login) {
                ready = smtp.first(&format!("AUTH PLAIN {login}"), "235");
            }
            if ready.is_ok() {
                return smtp;
            }
        }
    }

    /// Sends a message; once the transaction has begun it must end well.
    pub fn send(&mut self, from: &str, to: &str, message: &str) -> Result<(), Gone> {
        self.first(&format!("MAIL FROM:<{from}>"), "250")?;
        self.0.command(&format!("RCPT TO:<{to}>"), "250");
        self.0.command("DATA", "354");
        for piece in message.as_bytes().chunks(PIECE) {
            self.0.send_bytes(piece);
            if message.len() > SLOW {
                pause(Duration::from_millis(100));
            }
        }
        self.0.command(".", "250");
        Ok(())
    }

    /// A command outside of a transaction: the server may go away instead.
    fn first(&mut self, command: &str, code: &str) -> Result<(), Gone> {
        self.0
            .try_send(format!("{command}\r\n").as_bytes())
            .map_err(|_| Gone)?;
        loop {
            let line = self.0.try_line().map_err(|_| Gone)?;
            if line.starts_with("421") {
                return Err(Gone);
            }
            assert!(
                line.starts_with(code),
                "{command} is answered {line}\n{}",
                self.0.dialogue()
            );
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}

/// An IMAP session in a mailbox.
pub struct Imap {
    wire: Wire,
    tag: u32,
}

impl Imap {
    /// Connects, logs in and selects the inbox.
    pub fn open(servers: &[SocketAddr], user: &str, password: &str) -> Self {
        loop {
            let mut imap = Self {
                wire: connect(servers, "* OK"),
                tag: 0,
            };
            let ready = imap
                .command(&format!("LOGIN {user} {password}"))
                .and_then(|_| imap.command("SELECT INBOX"));
            if ready.is_ok() {
                return imap;
            }
        }
    }

    /// A command (with its non-synchronizing literals) that must be answered OK; the untagged lines.
    pub fn command(&mut self, command: &str) -> Result<Vec<String>, Gone> {
        self.tag += 1;
        let tag = format!("a{} ", self.tag);
        self.write(&format!("{tag}{command}\r\n"))?;
        self.finish(&tag, command)
    }

    /// Waits for news in IDLE.
    pub fn idle(&mut self) -> Result<(), Gone> {
        self.tag += 1;
        let tag = format!("a{} ", self.tag);
        self.write(&format!("{tag}IDLE\r\n"))?;
        while !self.line()?.starts_with("* ") {}
        self.write("DONE\r\n")?;
        self.finish(&tag, "IDLE").map(drop)
    }

    /// The numbers of messages with a UID from this one on, with their UIDs.
    pub fn numbers(&mut self, from: u32) -> Result<Vec<(u32, u64)>, Gone> {
        let lines = self.command(&format!("UID FETCH {from}:* (UID ENVELOPE)"))?;
        let fetched = lines.iter().filter(|line| line.contains("ENVELOPE"));
        let both = fetched.map(|line| (number_after(line, "UID ") as u32, number_after(line, "number ")));
        // `n:*` names the last message even when it is below n (RFC 9051 §9, seq-range).
        Ok(both.filter(|(uid, _)| *uid >= from).collect())
    }

    fn write(&mut self, text: &str) -> Result<(), Gone> {
        self.wire.try_send(text.as_bytes()).map_err(|_| Gone)
    }

    fn line(&mut self) -> Result<String, Gone> {
        let line = self.wire.try_line().map_err(|_| Gone)?;
        if line.starts_with("* BYE") {
            Err(Gone)
        } else {
            Ok(line)
        }
    }

    fn finish(&mut self, tag: &str, command: &str) -> Result<Vec<String>, Gone> {
        let mut lines = Vec::new();
        loop {
            let mut line = match self.line() {
                Ok(line) => line,
                Err(Gone) => {
                    let answered = lines.iter().any(|line: &String| line.contains(" FETCH "));
                    assert!(!answered, "{command} was broken off\n{}", self.wire.dialogue());
                    return Err(Gone);
                }
            };
            if let Some((_, size)) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')) {
                let literal = self.wire.bytes(size.parse().unwrap());
                line += &String::from_utf8_lossy(&literal);
                line += &self.wire.line();
            }
            match line.strip_prefix(tag) {
                Some(answer) if answer.starts_with("OK") => return Ok(lines),
                Some(answer) => panic!("{command} is answered {answer}"),
                None => lines.push(line),
            }
        }
    }
}

/// A POP3 session.
pub struct Pop3(Wire);

impl Pop3 {
    /// Connects and logs in.
    pub fn open(servers: &[SocketAddr], user: &str, password: &str) -> Self {
        let begin = Instant::now();
        loop {
            let mut pop3 = Self(connect(servers, "+OK"));
            let ready = pop3
                .command(&format!("USER {user}"))
                .and_then(|_| pop3.command(&format!("PASS {password}")));
            match ready {
                Ok(line) if line.starts_with("+OK") => return pop3,
                // The session before is just being closed.
                Ok(line) => assert!(
                    line.contains("[IN-USE]") && begin.elapsed() < PATIENCE,
                    "PASS: {line}"
                ),
                Err(Gone) => {}
            }
            pause(Duration::from_millis(100));
        }
    }

    /// A command that must be answered +OK; the rest of the line.
    pub fn ok(&mut self, command: &str) -> Result<String, Gone> {
        let line = self.command(command)?;
        let rest = line
            .strip_prefix("+OK")
            .unwrap_or_else(|| panic!("{command}: {line}"));
        Ok(rest.to_owned())
    }

    /// The number of a message.
    pub fn retrieve(&mut self, message: u64) -> Result<u64, Gone> {
        self.ok(&format!("RETR {message}"))?;
        let lines = self.0.dot_block();
        Ok(number_after(&lines.join("\n"), "Subject: number "))
    }

    fn command(&mut self, command: &str) -> Result<String, Gone> {
        self.0
            .try_send(format!("{command}\r\n").as_bytes())
            .map_err(|_| Gone)?;
        self.0.try_line().map_err(|_| Gone)
    }
}

/// The number that follows a text.
pub fn number_after(text: &str, before: &str) -> u64 {
    let found = text.split_once(before);
    let rest = found.unwrap_or_else(|| panic!("no `{before}` in {text}")).1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap()
}
