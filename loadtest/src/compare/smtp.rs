//! A lean SMTP client that pipelines MAIL, RCPT and DATA (RFC 2920) where it may, as Postfix's `smtp-source` and real senders do.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::line::Line;

/// A session after EHLO.
pub struct Smtp {
    line: Line,
    pipelining: bool,
    scratch: Vec<u8>,
}

impl Smtp {
    /// Connects and says EHLO.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let mut line = Line::connect(address)?;
        reply(&mut line, b'2')?;
        line.send(b"EHLO client.example\r\n")?;
        let mut pipelining = false;
        loop {
            let text = line.expect("250")?;
            pipelining |= text
                .get(4..)
                .is_some_and(|word| word.eq_ignore_ascii_case(b"PIPELINING"));
            if text.get(3) != Some(&b'-') {
                break;
            }
        }
        Ok(Self {
            line,
            pipelining,
            scratch: Vec::new(),
        })
    }

    /// AUTH PLAIN with an initial response (RFC 4954 §4).
    pub fn authenticate(&mut self, user: &str, password: &str) -> Result<()> {
        let response = STANDARD.encode(format!("\0{user}\0{password}"));
        self.line.send(format!("AUTH PLAIN {response}\r\n").as_bytes())?;
        reply(&mut self.line, b'2')
    }

    /// One transaction up to, and without, the content: the server says 354.
    pub fn begin(&mut self, from: &str, to: &str) -> Result<()> {
        let commands = [
            ("MAIL FROM:<", from, b'2'),
            ("RCPT TO:<", to, b'2'),
            ("DATA", "", b'3'),
        ];
        self.scratch.clear();
        for (verb, address, expected) in commands {
            self.scratch.extend_from_slice(verb.as_bytes());
            self.scratch.extend_from_slice(address.as_bytes());
            self.scratch
                .extend_from_slice(if address.is_empty() { b"\r\n" } else { b">\r\n" });
            if !self.pipelining {
                self.line.send(&self.scratch)?;
                reply(&mut self.line, expected)?;
                self.scratch.clear();
            }
        }
        if self.pipelining {
            self.line.send(&self.scratch)?;
            for (_, _, expected) in commands {
                reply(&mut self.line, expected)?;
            }
        }
        Ok(())
    }

    /// The content, which ends with `\r\n.\r\n`, without waiting.
    pub fn content(&mut self, content: &[u8]) -> Result<()> {
        self.line.send(content)
    }

    /// The reply to the final dot, which must be 250.
    pub fn accepted(&mut self) -> Result<()> {
        reply(&mut self.line, b'2')
    }

    /// QUIT, politely.
    pub fn quit(mut self) -> Result<()> {
        self.line.send(b"QUIT\r\n")?;
        reply(&mut self.line, b'2')
    }
}

/// Reads a reply, which must be of this class.
fn reply(line: &mut Line, class: u8) -> Result<()> {
    loop {
        let text = line.line()?;
        if text.first() != Some(&class) {
            bail!("SMTP: {}", String::from_utf8_lossy(text));
        }
        if text.get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
