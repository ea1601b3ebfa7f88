//! Plays tests/dialogues/*.txt against a session.
//!
//! `C:` the client sends a line; `S:` the server sends exactly this line (`…` stands for anything); `+:` time passes, in
//! seconds; `!:` something happens: `deliver TEXT`, `drain`, `tls`, `close`; `#` a comment. A server line that is not in the file, and
//! one in the file that is not sent, fail.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod support;

use std::collections::VecDeque;
use std::time::Duration;

use postrider_imap::session::Config;
use postrider_wire::{Session as _, Step};
use support::{Account, Owner};

struct Player {
    owner: Owner,
    /// Lines that the server has sent and the file has not mentioned.
    lines: VecDeque<String>,
    partial: Vec<u8>,
}

impl Player {
    fn new(plaintext: bool) -> Self {
        let config = Config {
            hostname: "imap.hamburger.edu".into(),
            starttls: true,
            append_limit: 1000,
            ..Config::default()
        };
        let owner = if plaintext {
            Owner::new(config, Account::textbook())
        } else {
            let session = postrider_imap::Session::new(std::sync::Arc::new(config));
            Owner::with(session, Account::textbook())
        };
        Self {
            owner,
            lines: VecDeque::new(),
            partial: Vec::new(),
        }
    }

    fn take(&mut self, octets: &[u8]) {
        self.partial.extend_from_slice(octets);
        while let Some(at) = self.partial.windows(2).position(|two| two == b"\r\n") {
            let line: Vec<u8> = self.partial.drain(..at + 2).collect();
            self.lines
                .push_back(String::from_utf8_lossy(&line[..at]).into_owned());
        }
    }

    fn play(&mut self, place: &str, line: &str) {
        let (kind, text) = line.split_once(':').unwrap_or((line, ""));
        let text = text.strip_prefix(' ').unwrap_or(text);
        if kind != "S" {
            assert!(
                self.lines.is_empty(),
                "{place}: the server also said {:?}",
                self.lines
            );
        }
        let output = match kind {
            "C" => self.owner.hear(format!("{text}\r\n").as_bytes()),
            "+" => self
                .owner
                .wait(Duration::from_secs(text.parse().expect("seconds"))),
            "!" => self.happen(place, text),
            "S" => {
                let said = self.lines.pop_front();
                let said = said.unwrap_or_else(|| panic!("{place}: the server said nothing, not {text:?}"));
                assert!(
                    fits(text, &said),
                    "{place}: the server said {said:?}, not {text:?}"
                );
                return;
            }
            _ => panic!("{place}: {line:?}?"),
        };
        self.take(&output);
    }

    fn happen(&mut self, place: &str, what: &str) -> bytes::BytesMut {
        match what.split_once(' ').unwrap_or((what, "")) {
            ("connect", _) => self.owner.run(),
            ("deliver", text) => {
                self.owner.account.deliver(text);
                self.owner.push()
            }
            ("drain", _) => {
                self.owner.session.drain();
                self.owner.run()
            }
            ("tls", _) => {
                assert_eq!(self.owner.last, Some(Step::StartTls), "{place}");
                self.owner.session.tls_started();
                self.owner.run()
            }
            ("closed", _) => {
                assert_eq!(self.owner.last, Some(Step::Close), "{place}: not closed");
                bytes::BytesMut::new()
            }
            _ => panic!("{place}: {what:?}?"),
        }
    }
}

fn fits(pattern: &str, line: &str) -> bool {
    match pattern.split_once('…') {
        None => pattern == line,
        Some((before, after)) => {
            let rest = line.strip_prefix(before);
            rest.is_some_and(|rest| {
                (0..=rest.len()).any(|at| rest.is_char_boundary(at) && fits(after, &rest[at..]))
            })
        }
    }
}

#[test]
fn every_dialogue_goes_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialogues");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    // Every file is played, so that one run names all that fail.
    let failed: Vec<_> = files
        .iter()
        .filter(|file| std::panic::catch_unwind(|| play(file)).is_err())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn play(file: &std::path::Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let mut player = Player::new(!text.contains("#!without-plaintext"));
    for (at, line) in text.lines().enumerate() {
        if !line.is_empty() && !line.starts_with('#') {
            player.play(&format!("{name}:{}", at + 1), line);
        }
    }
    assert!(
        player.lines.is_empty(),
        "{name}: the server also said {:?}",
        player.lines
    );
}
