//! The reading half: a stream over day files, oldest first, in constant memory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Step;
use super::file::{day_files, file_name};

/// The longest line that is read; a longer one is no step.
const LINE_LIMIT: u64 = 64 * 1024;

/// Ids of other steps of the same messages that are remembered between the two passes.
const RELATED: usize = 100_000;

/// Which messages: those with a step at which everything that is set matches. An empty filter matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A content id, unit id, trace id, or a Message-ID with or without angle brackets.
    pub id: String,
    /// The sender, in any case.
    pub from: String,
    /// The recipient, in any case.
    pub to: String,
    /// Milliseconds since the Unix epoch; 0: from the beginning. Earlier steps are left out.
    pub since: u64,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.id.is_empty() && self.from.is_empty() && self.to.is_empty()
    }

    /// Whether the step itself is one that was asked for.
    fn names(&self, step: &Step) -> bool {
        let Step {
            content,
            message_id,
            unit,
            trace,
            ..
        } = step;
        let by_id = self.id.is_empty()
            || [content, message_id, unit, trace]
                .into_iter()
                .any(|id| *id == self.id);
        by_id && is_wanted(&self.from, &step.from) && is_wanted(&self.to, &step.to)
    }

    /// Whether the step can be one of a message that was asked for: it names nobody else.
    fn allows(&self, step: &Step) -> bool {
        (step.from.is_empty() || is_wanted(&self.from, &step.from))
            && (step.to.is_empty() || is_wanted(&self.to, &step.to))
    }
}

fn is_wanted(wanted: &str, address: &str) -> bool {
    wanted.is_empty() || wanted.eq_ignore_ascii_case(address)
}

/// Every step of the messages that match, oldest first: also those that name no recipient (the acceptance), or no
/// Message-ID (an attempt), and belong to them by content, unit or trace. Reading blocks: not for an executor thread.
///
/// # Errors
/// When the directory cannot be read. Lines that are no steps (a line cut by a crash) are left out.
pub fn read(directory: &Path, filter: Filter) -> io::Result<Steps> {
    let mut filter = filter;
    filter.id = filter
        .id
        .trim()
        .trim_start_matches('<')
        .trim_end_matches('>')
        .to_owned();
    let first = file_name(filter.since / 86_400_000);
    let names = day_files(directory)?.into_iter().filter(|name| *name >= first);
    let files: Vec<PathBuf> = names.map(|name| directory.join(name)).collect();
    let related = if filter.is_empty() {
        HashSet::new()
    } else {
        related(&files, &filter)
    };
    Ok(Steps {
        lines: Lines::new(files),
        filter,
        related,
    })
}

/// The stream of steps.
pub struct Steps {
    lines: Lines,
    filter: Filter,
    related: HashSet<String>,
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            let line = self.lines.next_line()?;
            let Ok(step) = serde_json::from_slice::<Step>(line) else {
                continue;
            };
            let belongs = self.filter.names(&step)
                || self.filter.allows(&step) && ids(&step).into_iter().any(|id| self.related.contains(id));
            if belongs && step.time >= self.filter.since {
                return Some(step);
            }
        }
    }
}

/// What ties a step to others of the same message.
fn ids(step: &Step) -> impl IntoIterator<Item = &String> {
    [&step.content, &step.unit, &step.trace]
        .into_iter()
        .filter(|id| !id.is_empty())
}

/// Contents, units and traces of the steps that were asked for.
fn related(files: &[PathBuf], filter: &Filter) -> HashSet<String> {
    let mut related = HashSet::new();
    let mut lines = Lines::new(files.to_vec());
    // JSON writes an id of ours, and nearly every Message-ID, as it is: most lines need not be parsed.
    let literal = filter
        .id
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    while let Some(line) = lines.next_line() {
        if literal && memchr::memmem::find(line, filter.id.as_bytes()).is_none() {
            continue;
        }
        let Ok(step) = serde_json::from_slice::<Step>(line) else {
            continue;
        };
        if filter.names(&step) && step.time >= filter.since && related.len() < RELATED {
            related.extend(ids(&step).into_iter().cloned());
        }
    }
    related
}

/// Lines of several files, one after the other.
struct Lines {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<BufReader<File>>,
    line: Vec<u8>,
}

impl Lines {
    fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files: files.into_iter(),
            open: None,
            line: Vec::new(),
        }
    }

    /// The next whole line without its end. A file that vanishes meanwhile (its time was up) is left out.
    fn next_line(&mut self) -> Option<&[u8]> {
        loop {
            let Some(file) = &mut self.open else {
                self.open = File::open(self.files.next()?)
                    .ok()
                    .map(|file| BufReader::with_capacity(1 << 16, file));
                continue;
            };
            self.line.clear();
            match file.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut self.line) {
                Ok(1..) if self.line.ends_with(b"\n") => {
                    self.line.pop();
                    break;
                }
                // Too long, or the writer is just at it: neither is a step.
                Ok(1..) => {}
                Ok(0) | Err(_) => self.open = None,
            }
        }
        Some(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::{FileJournal, Journal};

    fn step(step: &str, content: &str, unit: &str, message_id: &str, to: &str) -> Step {
        let own = |text: &str| text.to_owned();
        Step {
            step: own(step),
            content: own(content),
            unit: own(unit),
            message_id: own(message_id),
            from: own("alice@crepes.fr"),
            to: own(to),
            ..Step::default()
        }
    }

    fn journal(steps: Vec<Step>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let journal = FileJournal::open(directory.path(), Duration::from_secs(86_400)).unwrap();
        for step in steps {
            journal.record(step);
        }
        drop(journal);
        directory
    }

    fn names(directory: &Path, filter: Filter) -> Vec<String> {
        read(directory, filter).unwrap().map(|step| step.step).collect()
    }

    #[test]
    fn a_message_is_followed_by_any_of_its_ids() {
        let directory = journal(vec![
            step("accepted", "c1", "", "m1@crepes.fr", "bob@hamburger.edu"),
            step("queued", "c1", "u1", "", "bob@hamburger.edu"),
            step("accepted", "c2", "", "m2@crepes.fr", "carol@hamburger.edu"),
            step("attempt", "", "u1", "", "bob@hamburger.edu"),
            step("delivered", "c1", "u1", "m1@crepes.fr", "bob@hamburger.edu"),
        ]);
        let by = |id: &str| {
            names(
                directory.path(),
                Filter {
                    id: id.into(),
                    ..Filter::default()
                },
            )
        };
        assert_eq!(by("c1"), ["accepted", "queued", "attempt", "delivered"]);
        assert_eq!(by("<m1@crepes.fr>"), by("c1"));
        assert_eq!(by("u1"), by("c1"));
        assert_eq!(by("nothing"), [""; 0]);
        let to = Filter {
            to: "Carol@Hamburger.EDU".into(),
            ..Filter::default()
        };
        assert_eq!(names(directory.path(), to), ["accepted"]);
        let from = Filter {
            from: "alice@crepes.fr".into(),
            ..Filter::default()
        };
        assert_eq!(names(directory.path(), from).len(), 5);
        let future = Filter {
            since: u64::MAX / 2,
            ..Filter::default()
        };
        assert_eq!(names(directory.path(), future), [""; 0]);
    }

    #[test]
    fn a_step_without_a_recipient_belongs_to_its_message() {
        let directory = journal(vec![
            step("accepted", "c1", "", "m1@crepes.fr", ""),
            step("stored", "c1", "", "m1@crepes.fr", "carol@hamburger.edu"),
            step("queued", "c1", "u1", "m1@crepes.fr", "bob@elsewhere.example"),
            step("accepted", "c2", "", "m2@crepes.fr", ""),
        ]);
        let to = |to: &str| {
            names(
                directory.path(),
                Filter {
                    to: to.into(),
                    ..Filter::default()
                },
            )
        };
        assert_eq!(to("bob@elsewhere.example"), ["accepted", "queued"]);
        assert_eq!(to("carol@hamburger.edu"), ["accepted", "stored"]);
    }

    #[test]
    fn lines_that_are_no_steps_are_left_out() {
        let directory = journal(vec![step("accepted", "c1", "", "", "")]);
        let name = day_files(directory.path()).unwrap().pop().unwrap();
        let mut text = std::fs::read(directory.path().join(&name)).unwrap();
        text.extend_from_slice(b"{\"step\":\n\xff\xfe\n");
        text.extend(std::iter::repeat_n(b'x', 200_000));
        text.extend_from_slice(b"\n{\"time\":1,\"step\":\"queued\"}\n{\"time\":1,\"step\":\"cut\"");
        std::fs::write(directory.path().join(&name), text).unwrap();
        assert_eq!(names(directory.path(), Filter::default()), ["accepted", "queued"]);
    }

    #[test]
    fn old_days_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["2001-01-01.jsonl", "notes.jsonl"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        drop(FileJournal::open(directory.path(), Duration::from_secs(86_400)).unwrap());
        assert!(!directory.path().join("2001-01-01.jsonl").exists());
        assert!(directory.path().join("notes.jsonl").exists(), "not ours");
    }
}
