//! A lean IMAP client: commands in, lines counted, literals skipped.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::ops::Range;

use anyhow::{Context as _, Result, bail};

use super::letters::Letters;
use super::line::Line;
use super::system::System;

/// A session after LOGIN. Commands are tagged `x`.
pub struct Imap {
    line: Line,
    /// Whether the server takes several messages with one APPEND (RFC 3502).
    multiappend: bool,
    /// Whether literals need no waiting (RFC 7888).
    literal_plus: bool,
    scratch: Vec<u8>,
}

impl Imap {
    /// Connects and logs in as the account with this rank.
    pub fn login(system: &System, rank: u64) -> Result<Self> {
        Self::begin(system, rank, false)
    }

    /// As [`login`](Self::login), through STARTTLS.
    pub fn login_tls(system: &System, rank: u64) -> Result<Self> {
        Self::begin(system, rank, true)
    }

    /// Sends a command and reads all of its answer; how many untagged lines there were.
    pub fn command(&mut self, command: &str) -> Result<u64> {
        self.scratch.clear();
        self.scratch.extend_from_slice(b"x ");
        self.scratch.extend_from_slice(command.as_bytes());
        self.scratch.extend_from_slice(b"\r\n");
        self.line.send(&self.scratch)?;
        self.finish(|_| {}).with_context(|| command.to_owned())
    }

    /// As [`command`](Self::command), and looks at the beginning of every untagged line.
    pub fn each(&mut self, command: &str, on: impl FnMut(&[u8])) -> Result<u64> {
        self.line.send(format!("x {command}\r\n").as_bytes())?;
        self.finish(on).with_context(|| command.to_owned())
    }

    /// How many messages a mailbox has.
    pub fn messages(&mut self, mailbox: &str) -> Result<u64> {
        let mut count = None;
        self.each(&format!("STATUS {mailbox} (MESSAGES)"), |line| {
            count = count.or_else(|| number_after(line, b"MESSAGES "));
        })?;
        count.with_context(|| format!("STATUS {mailbox} was not answered"))
    }

    /// Asks for the count of messages of INBOX without waiting; [`told`](Self::told) reads the answer.
    pub fn ask(&mut self) -> Result<()> {
        self.line.send(b"x STATUS INBOX (MESSAGES)\r\n")
    }

    /// The answer to [`ask`](Self::ask).
    pub fn told(&mut self) -> Result<u64> {
        let mut count = None;
        self.finish(|line| count = count.or_else(|| number_after(line, b"MESSAGES ")))?;
        count.context("STATUS INBOX was not answered")
    }

    /// Appends one message and waits for the answer.
    pub fn append(&mut self, mailbox: &str, message: &[u8]) -> Result<()> {
        let plus = self.literal_plus;
        self.scratch.clear();
        self.scratch.extend_from_slice(b"x APPEND ");
        self.scratch.extend_from_slice(mailbox.as_bytes());
        let mut head = String::new();
        let _ = write!(head, " {{{}{}}}\r\n", message.len(), if plus { "+" } else { "" });
        self.scratch.extend_from_slice(head.as_bytes());
        if !plus {
            self.line.send(&self.scratch)?;
            self.line.expect("+")?;
            self.scratch.clear();
        }
        self.scratch.extend_from_slice(message);
        self.scratch.extend_from_slice(b"\r\n");
        self.line.send(&self.scratch)?;
        self.finish(|_| {}).map(drop)
    }

    /// Appends several messages that the server takes at once where it can: with one command where it offers MULTIAPPEND, without
    /// waiting in between where it offers LITERAL+.
    pub fn append_all(&mut self, mailbox: &str, numbers: Range<u64>, letters: &Letters) -> Result<()> {
        let (mut bytes, mut letter) = (Vec::with_capacity(1 << 18), Vec::new());
        let mut answers = 0_u64;
        for number in numbers.clone() {
            letter.clear();
            letters.write(number, "bob@hamburger.edu", &mut letter);
            if !self.literal_plus {
                self.append(mailbox, &letter)?;
                continue;
            }
            if answers == 0 || !self.multiappend {
                bytes.extend_from_slice(if answers == 0 { b"" } else { b"\r\n" });
                bytes.extend_from_slice(format!("x APPEND {mailbox}").as_bytes());
                answers += 1;
            }
            bytes.extend_from_slice(format!(" {{{}+}}\r\n", letter.len()).as_bytes());
            bytes.extend_from_slice(&letter);
        }
        if answers > 0 {
            bytes.extend_from_slice(b"\r\n");
            self.line.send(&bytes)?;
        }
        for _ in 0..answers {
            self.finish(|_| {}).with_context(|| format!("APPEND {mailbox}"))?;
        }
        Ok(())
    }

    /// Begins to idle: answered with `+`.
    pub fn idle(&mut self) -> Result<()> {
        self.line.send(b"x IDLE\r\n")?;
        loop {
            let line = self.line.line()?;
            if line.starts_with(b"+") {
                return Ok(());
            }
            if !line.starts_with(b"*") {
                bail!("IDLE: {}", String::from_utf8_lossy(line));
            }
        }
    }

    /// While idling: waits until the server says that a message has arrived.
    pub fn wait_for_exists(&mut self) -> Result<()> {
        while !self.line.line()?.ends_with(b" EXISTS") {}
        Ok(())
    }

    /// The socket, to break the session from another thread.
    pub fn breaker(&self) -> Result<TcpStream> {
        self.line.breaker()
    }

    /// Ends the session.
    pub fn logout(mut self) -> Result<()> {
        self.command("LOGOUT").map(drop)
    }

    fn begin(system: &System, rank: u64, tls: bool) -> Result<Self> {
        let address = system.imap()?;
        let mut imap = Self {
            line: Line::connect(address)?,
            multiappend: false,
            literal_plus: false,
            scratch: Vec::new(),
        };
        let greeting = imap.line.expect("* OK")?.to_vec();
        imap.learn(&greeting);
        if tls {
            imap.command("STARTTLS")?;
            imap.line.start_tls(address)?;
        }
        let login = format!(
            "LOGIN {} {}",
            system.target.accounts.address(rank),
            system.password()?
        );
        imap.line.send(format!("x {login}\r\n").as_bytes())?;
        let done = loop {
            let line = imap.line.line()?;
            if !line.starts_with(b"*") || line.starts_with(b"* CAPABILITY") {
                let line = line.to_vec();
                imap.learn(&line);
                if line.starts_with(b"x ") {
                    break line;
                }
            }
        };
        if !done.starts_with(b"x OK") {
            bail!("LOGIN: {}", String::from_utf8_lossy(&done));
        }
        Ok(imap)
    }

    /// Takes what it needs from a list of capabilities, wherever one is given.
    fn learn(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split([' ', ']']);
        self.multiappend |= words.clone().any(|word| word == "MULTIAPPEND");
        self.literal_plus |= words.any(|word| word == "LITERAL+");
    }

    /// Reads until the tagged answer, which must be OK; how many untagged lines came before.
    fn finish(&mut self, mut on: impl FnMut(&[u8])) -> Result<u64> {
        let mut count = 0;
        loop {
            let line = self.line.line()?;
            if line.starts_with(b"x ") {
                if !line.starts_with(b"x OK") {
                    bail!("{}", String::from_utf8_lossy(line));
                }
                return Ok(count);
            }
            count += 1;
            on(line);
            let mut literal = literal(line);
            while let Some(length) = literal {
                self.line.skip(length)?;
                literal = self::literal(self.line.line()?);
            }
        }
    }
}

/// The length of the literal that follows a line which ends with `{n}`.
fn literal(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}")?;
    let open = digits.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&digits[open + 1..]).ok()?.parse().ok()
}

/// The number that follows `label` in a line.
fn number_after(line: &[u8], label: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(line, label)? + label.len();
    let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number: Option<u64>, digit| {
        number
            .unwrap_or(0)
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::{Imap, literal, number_after};
    use crate::compare::letters::Letters;
    use crate::compare::line::Line;

    #[test]
    fn several_messages_are_one_command_and_literals_are_no_lines() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut stream = BufReader::new(stream);
            let mut heads = Vec::new();
            for _ in 0..3 {
                let mut head = String::new();
                stream.read_line(&mut head).expect("a head");
                let length = literal(head.trim_end().replace('+', "").as_bytes()).expect("a literal");
                stream.read_exact(&mut vec![0; length]).expect("a message");
                heads.push(head);
            }
            let mut rest = String::new();
            stream.read_line(&mut rest).expect("the end");
            let answer = b"* 3 EXISTS\r\nx OK done\r\n* 1 FETCH (ENVELOPE ({7}\r\nx NO no))\r\nx OK done\r\n";
            stream.get_mut().write_all(answer).expect("answered");
            (heads, rest)
        });
        let mut imap = Imap {
            line: Line::connect(address).expect("connected"),
            multiappend: false,
            literal_plus: false,
            scratch: Vec::new(),
        };
        imap.learn(b"* OK [CAPABILITY IMAP4rev1 LITERAL+ MULTIAPPEND] ready");
        imap.append_all("Here", 0..3, &Letters::new(500))
            .expect("appended");
        assert_eq!(imap.finish(|_| {}).expect("OK"), 1);
        let (heads, rest) = server.join().expect("served");
        assert!(heads[0].starts_with("x APPEND Here {") && heads[1].starts_with(" {") && rest == "\r\n");
    }

    #[test]
    fn literals_and_numbers_are_found() {
        assert_eq!(literal(b"* 1 FETCH (BODY[] {42}"), Some(42));
        assert_eq!(literal(b"* 1 FETCH (FLAGS ())"), None);
        assert_eq!(literal(b"odd}"), None);
        assert_eq!(
            number_after(b"* STATUS INBOX (MESSAGES 17)", b"MESSAGES "),
            Some(17)
        );
        assert_eq!(number_after(b"* STATUS INBOX ()", b"MESSAGES "), None);
    }
}
