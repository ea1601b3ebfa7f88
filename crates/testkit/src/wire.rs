//! A person at a terminal: lines out, lines in.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long any single answer may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A plain TCP connection spoken line by line.
pub struct Wire {
    reader: BufReader<TcpStream>,
    dialogue: String,
}

impl Wire {
    /// Connects, without reading a greeting. Tries for a while, since a server may just be starting.
    pub fn connect(address: SocketAddr) -> Self {
        let begin = Instant::now();
        loop {
            match Self::try_connect(address) {
                Ok(wire) => return wire,
                Err(error) if begin.elapsed() > PATIENCE => panic!("cannot connect to {address}: {error}"),
                Err(_) => pause(Duration::from_millis(20)),
            }
        }
    }

    /// Connects, without reading a greeting; an error when nobody takes the connection.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
            dialogue: String::new(),
        })
    }

    /// Sends a line; the CRLF is added.
    pub fn send(&mut self, line: &str) {
        self.note("C: ", line);
        self.send_bytes(format!("{line}\r\n").as_bytes());
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send(bytes) {
            panic!("cannot write: {error}\n{}", self.dialogue);
        }
    }

    /// Sends bytes as they are; an error when the other side is gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads a line without its line end; an error at the end of the connection.
    pub fn try_line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line)
            .trim_end_matches(['\r', '\n'])
            .to_owned();
        self.note("S: ", &line);
        Ok(line)
    }

    /// Reads a line.
    pub fn line(&mut self) -> String {
        match self.try_line() {
            Ok(line) => line,
            Err(error) => panic!("no answer: {error}\n{}", self.dialogue),
        }
    }

    /// Reads exactly so many bytes (a literal).
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        if let Err(error) = self.reader.read_exact(&mut bytes) {
            panic!("only part of {count} bytes: {error}\n{}", self.dialogue);
        }
        bytes
    }

    /// Reads one SMTP reply (all of its lines) and checks its code.
    pub fn reply(&mut self, code: &str) -> String {
        let mut text = String::new();
        loop {
            let line = self.line();
            assert!(
                line.starts_with(code),
                "expected {code}, got {line}\n{}",
                self.dialogue
            );
            let last = line.as_bytes().get(3) != Some(&b'-');
            text.push_str(&line);
            text.push('\n');
            if last {
                return text;
            }
        }
    }

    /// Sends an SMTP command and checks the reply's code.
    pub fn command(&mut self, line: &str, code: &str) -> String {
        self.send(line);
        self.reply(code)
    }

    /// Reads one line and checks how it begins.
    pub fn expect(&mut self, prefix: &str) -> String {
        let line = self.line();
        assert!(
            line.starts_with(prefix),
            "expected {prefix}…, got {line}\n{}",
            self.dialogue
        );
        line
    }

    /// Reads lines up to the one that is a lone dot, unstuffed, without it (POP3 multi-line).
    pub fn dot_block(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line == "." {
                return lines;
            }
            lines.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
        }
    }

    /// Checks that the other side closes now.
    pub fn expect_close(&mut self) {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => assert!(
                rest.is_empty(),
                "more came: {}\n{}",
                String::from_utf8_lossy(&rest),
                self.dialogue
            ),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("still open: {error}\n{}", self.dialogue),
        }
    }

    /// What was said so far.
    pub fn dialogue(&self) -> &str {
        &self.dialogue
    }

    fn note(&mut self, who: &str, line: &str) {
        if self.dialogue.len() < 20_000 {
            self.dialogue.push_str(who);
            self.dialogue.extend(line.chars().take(300));
            self.dialogue.push('\n');
        }
    }
}

/// Sends one message by hand, without authentication, as a foreign server would; the code of the final reply.
pub fn deliver(address: SocketAddr, from: &str, to: &[&str], message: &str) -> String {
    let mut wire = Wire::connect(address);
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    wire.command(&format!("MAIL FROM:<{from}>"), "250");
    for recipient in to {
        wire.command(&format!("RCPT TO:<{recipient}>"), "250");
    }
    wire.command("DATA", "354");
    let stuffed = message.replace("\r\n.", "\r\n..");
    wire.send_bytes(stuffed.as_bytes());
    wire.send_bytes(if stuffed.ends_with("\r\n") {
        b".\r\n"
    } else {
        b"\r\n.\r\n"
    });
    let reply = wire.line();
    wire.command("QUIT", "221");
    reply
}

/// Submits a letter as a user, over one connection of its own; every reply must be a good one.
pub fn submit(address: SocketAddr, user: &str, password: &str, to: &[&str], message: &str) {
    let mut wire = Wire::connect(address);
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    wire.command(
        &format!("AUTH PLAIN {}", base64(&format!("\0{user}\0{password}"))),
        "235",
    );
    wire.command(&format!("MAIL FROM:<{user}>"), "250");
    for recipient in to {
        wire.command(&format!("RCPT TO:<{recipient}>"), "250");
    }
    wire.command("DATA", "354");
    wire.send_bytes(message.as_bytes());
    wire.command(".", "250");
    wire.command("QUIT", "221");
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            encoded.push(if at <= chunk.len() { digit as char } else { '=' });
        }
    }
    encoded
}

/// Waits in a test thread.
#[allow(clippy::disallowed_methods, reason = "tests run in threads of their own")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Tries again and again until the closure has an answer, or fails the test with what was waited for.
pub fn eventually<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(
            begin.elapsed() < limit,
            "after {limit:?} still waiting for: {what}"
        );
        pause(Duration::from_millis(50));
    }
}
