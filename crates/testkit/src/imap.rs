//! IMAP by hand: tagged commands, untagged answers, literals.

use std::net::SocketAddr;

use crate::wire::Wire;

/// A logged-in IMAP connection.
pub struct Imap {
    wire: Wire,
    tag: u32,
}

impl Imap {
    /// Connects and logs in.
    pub fn login(address: SocketAddr, user: &str, password: &str) -> Self {
        let mut imap = Self::connect(address);
        imap.ok(&format!("LOGIN \"{user}\" \"{password}\""));
        imap
    }

    /// Connects and reads the greeting.
    pub fn connect(address: SocketAddr) -> Self {
        let mut wire = Wire::connect(address);
        wire.expect("* OK");
        Self { wire, tag: 0 }
    }

    /// Sends a command; the untagged lines (literals inlined) and the tagged answer without its tag.
    pub fn command(&mut self, command: &str) -> (Vec<String>, String) {
        let tag = self.begin(command);
        self.finish(&tag)
    }

    /// Sends a command that must be answered OK; the untagged lines.
    pub fn ok(&mut self, command: &str) -> Vec<String> {
        let (lines, answer) = self.command(command);
        assert!(
            answer.starts_with("OK"),
            "{command} → {answer}\n{}",
            self.wire.dialogue()
        );
        lines
    }

    /// Appends a message; the tagged answer, which must be OK.
    pub fn append(&mut self, mailbox: &str, flags: &str, message: &str) -> String {
        let tag = self.begin(&format!("APPEND \"{mailbox}\" ({flags}) {{{}}}", message.len()));
        self.wire.expect("+");
        self.wire.send_bytes(message.as_bytes());
        self.wire.send_bytes(b"\r\n");
        let (_, answer) = self.finish(&tag);
        assert!(answer.starts_with("OK"), "APPEND → {answer}");
        answer
    }

    /// SELECT; the number of messages.
    pub fn select(&mut self, mailbox: &str) -> u32 {
        let lines = self.ok(&format!("SELECT \"{mailbox}\""));
        let exists = lines
            .iter()
            .find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS"));
        exists
            .and_then(|count| count.parse().ok())
            .expect("SELECT tells EXISTS")
    }

    /// UID SEARCH; the UIDs.
    pub fn search(&mut self, criteria: &str) -> Vec<u32> {
        let lines = self.ok(&format!("UID SEARCH {criteria}"));
        let found = lines
            .iter()
            .find_map(|line| line.strip_prefix("* SEARCH"))
            .unwrap_or("");
        found
            .split_whitespace()
            .map(|uid| uid.parse().expect("a UID"))
            .collect()
    }

    /// The whole of one message, by UID.
    pub fn fetch(&mut self, uid: u32) -> String {
        let lines = self.ok(&format!("UID FETCH {uid} BODY.PEEK[]"));
        lines
            .into_iter()
            .find(|line| line.contains("BODY[]"))
            .expect("FETCH answers the message")
    }

    /// Begins IDLE and waits until the server says that it idles.
    pub fn idle(&mut self) {
        self.begin("IDLE");
        self.wire.expect("+");
    }

    /// While idling: the next untagged line.
    pub fn next_line(&mut self) -> String {
        self.wire.line()
    }

    /// Ends IDLE; what else was said.
    pub fn done(&mut self) -> Vec<String> {
        self.wire.send("DONE");
        let tag = format!("a{}", self.tag);
        self.finish(&tag).0
    }

    /// The connection below.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    fn begin(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.wire.send(&format!("{tag} {command}"));
        tag
    }

    fn finish(&mut self, tag: &str) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        loop {
            let mut line = self.wire.line();
            while let Some(size) = literal_size(&line) {
                let literal = self.wire.bytes(size);
                line.push_str("\r\n");
                line.push_str(&String::from_utf8_lossy(&literal));
                line.push_str(&self.wire.line());
            }
            if let Some(answer) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                return (lines, answer.to_owned());
            }
            lines.push(line);
        }
    }
}

fn literal_size(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}
