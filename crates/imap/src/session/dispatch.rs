//! Which state allows which command, and what the session does with each (RFC 9051 §6).

use bytes::{BufMut, BytesMut};
use postrider_wire::Step;

use super::Event;
use super::server::{Current, Effect, Phase, Session, State};
use crate::command::{
    Command, Enable, Extension, FetchItem, SearchKey, Select, StatusItem, StatusItems, Tag,
};
use crate::parse::ParseError;
use crate::response::{Code, Kind, Reply, Syntax, enabled, untagged};

/// States in which a command is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Any,
    NotAuthenticated,
    Authenticated,
    Selected,
    /// Selected, and not read-only.
    Writable,
}

impl Session {
    /// Parses a whole command and acts on it.
    pub(super) fn dispatch(&mut self, line: &[u8], output: &mut BytesMut) -> Option<Step<Event>> {
        let (tag, rest) = match line.iter().position(|byte| *byte == b' ') {
            Some(at) => (
                line.get(..at).unwrap_or_default(),
                line.get(at + 1..).unwrap_or_default(),
            ),
            None => (line, &[][..]),
        };
        let Some(tag) = Tag::new(tag) else {
            self.bad(None, Reply::bad("expected a tag and a command"), output);
            return None;
        };
        match Command::parse(rest, self.syntax() == Syntax::Utf8) {
            Ok(command) => self.act(tag, command, output),
            Err(error) => {
                self.bad_syntax(Some(tag), error, output);
                None
            }
        }
    }

    pub(super) fn bad_syntax(&mut self, tag: Option<Tag>, error: ParseError, output: &mut BytesMut) {
        let reply = match error {
            ParseError::Charset => Reply::no("charset is not supported").with(Code::BadCharset),
            ParseError::MailboxName => Reply::no("mailbox name is not modified UTF-7").with(Code::Cannot),
            ParseError::UnknownCommand => Reply::bad("unknown command"),
            ParseError::Invalid(why) => Reply::bad(why),
            error => return self.bad(tag, Reply::bad(&error.to_string()), output),
        };
        self.bad(tag, reply, output);
    }

    fn act(&mut self, tag: Tag, command: Command, output: &mut BytesMut) -> Option<Step<Event>> {
        if let Err(reply) = self.check(&command) {
            self.bad(Some(tag), reply, output);
            return None;
        }
        self.turn_on_condstore(&command);
        match command {
            Command::Capability => {
                output.put_slice(b"* CAPABILITY ");
                self.put_capabilities(output);
                output.put_slice(b"\r\n");
                self.done(tag, "CAPABILITY completed", output)
            }
            Command::Logout => {
                untagged(
                    output,
                    Reply {
                        kind: Kind::Bye,
                        code: None,
                        text: "Logging out",
                    },
                );
                self.done(tag, "LOGOUT completed", output);
                self.phase = Phase::Closed;
                self.state = State::Logout;
                None
            }
            Command::StartTls => self.start_tls(tag, output),
            Command::Login(login) => self.login(tag, login, output),
            Command::Authenticate(authenticate) => self.authenticate(tag, authenticate, output),
            Command::Enable(Enable(extensions)) => {
                let new = self.enable(&extensions);
                enabled(output, &new);
                self.done(tag, "ENABLE completed", output)
            }
            Command::Idle => {
                output.put_slice(b"+ idling\r\n");
                self.begin(Current::new(tag, Effect::None), Event::Idle);
                self.phase = Phase::Idle;
                Some(Step::Event(Event::Idle))
            }
            Command::Select(select) => self.select(tag, select, output),
            Command::Close | Command::Unselect => {
                self.begin(Current::new(tag, Effect::Leave), Event::Command(command))
            }
            command => self.begin(Current::new(tag, Effect::None), Event::Command(command)),
        }
    }

    /// Completes a command that needs no owner.
    fn done(&mut self, tag: Tag, text: &str, output: &mut BytesMut) -> Option<Step<Event>> {
        self.current = Some(Box::new(Current::new(tag, Effect::None)));
        self.phase = Phase::Answer;
        self.complete(output, Reply::ok(text));
        None
    }

    /// SELECT closes what was selected before, whatever becomes of it (RFC 9051 §6.3.2).
    fn select(&mut self, tag: Tag, select: Select, output: &mut BytesMut) -> Option<Step<Event>> {
        if let State::Selected { .. } = self.state {
            untagged(output, Reply::ok("Previous mailbox is closed").with(Code::Closed));
            self.state = State::Authenticated;
        }
        let effect = Effect::Select {
            read_only: select.read_only,
        };
        self.begin(Current::new(tag, effect), Event::Command(Command::Select(select)))
    }

    /// What is newly on.
    fn enable(&mut self, extensions: &[Extension]) -> Vec<Extension> {
        let mut new = Vec::new();
        for extension in extensions {
            let on = match extension {
                Extension::CondStore => &mut self.enabled.condstore,
                Extension::QResync => &mut self.enabled.qresync,
                Extension::Utf8Accept => &mut self.enabled.utf8,
                Extension::Imap4Rev2 => &mut self.enabled.rev2,
            };
            if !std::mem::replace(on, true) {
                new.push(*extension);
            }
        }
        if new
            .iter()
            .any(|extension| matches!(extension, Extension::CondStore | Extension::QResync))
        {
            self.condstore_news = matches!(self.state, State::Selected { .. });
            self.enabled.condstore = true;
        }
        new
    }

    /// Some commands turn CONDSTORE on by being used (RFC 7162 §3.1).
    fn turn_on_condstore(&mut self, command: &Command) {
        let on = match command {
            Command::Select(select) => select.condstore || select.qresync.is_some(),
            Command::Status(status) => status.items.contains(StatusItem::HighestModSeq),
            Command::List(list) => list
                .returns
                .status
                .unwrap_or(StatusItems::EMPTY)
                .contains(StatusItem::HighestModSeq),
            Command::Fetch(fetch) => {
                fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq)
            }
            Command::Store(store) => store.unchanged_since.is_some(),
            Command::Search(search) => search.key.names_modseq(),
            Command::Sort(sort) => sort.search.names_modseq(),
            Command::Thread(thread) => thread.search.names_modseq(),
            _ => false,
        };
        if on && !self.enabled.condstore {
            self.enabled.condstore = true;
            // SELECT tells HIGHESTMODSEQ anyway.
            let told = matches!(command, Command::Select(_));
            self.condstore_news = !told && matches!(self.state, State::Selected { .. });
        }
    }

    fn check(&self, command: &Command) -> Result<(), Reply<'static>> {
        use Allowed::{Any, Authenticated, NotAuthenticated, Selected, Writable};
        let selected = matches!(self.state, State::Selected { .. });
        match (allowed(command), self.state) {
            (Any, _) | (NotAuthenticated, State::NotAuthenticated) => {}
            (NotAuthenticated, _) => return Err(Reply::bad("already authenticated")),
            (_, State::NotAuthenticated | State::Logout) => return Err(Reply::bad("log in first")),
            (Authenticated, _) => {}
            (Selected | Writable, _) if !selected => return Err(Reply::bad("select a mailbox first")),
            (Writable, State::Selected { read_only: true }) => return Err(Reply::no("mailbox is read-only")),
            (Selected | Writable, _) => {}
        }
        let needs_qresync = match command {
            Command::Select(select) => select.qresync.is_some(),
            Command::Fetch(fetch) => fetch.vanished,
            _ => false,
        };
        if needs_qresync && !self.enabled.qresync {
            return Err(Reply::bad("ENABLE QRESYNC first"));
        }
        Ok(())
    }
}

fn allowed(command: &Command) -> Allowed {
    match command {
        Command::Capability | Command::Noop | Command::Logout | Command::Id(_) => Allowed::Any,
        Command::StartTls | Command::Authenticate(_) | Command::Login(_) => Allowed::NotAuthenticated,
        Command::Store(_) | Command::Expunge(_) | Command::Move(_) => Allowed::Writable,
        Command::Check
        | Command::Close
        | Command::Unselect
        | Command::Search(_)
        | Command::Sort(_)
        | Command::Thread(_)
        | Command::Fetch(_)
        | Command::Copy(_) => Allowed::Selected,
        _ => Allowed::Authenticated,
    }
}

impl SearchKey {
    /// Whether MODSEQ is among the conditions.
    pub fn names_modseq(&self) -> bool {
        match self {
            SearchKey::ModSeq(_) => true,
            SearchKey::And(keys) => keys.iter().any(Self::names_modseq),
            SearchKey::Or(keys) => keys.0.names_modseq() || keys.1.names_modseq(),
            SearchKey::Not(key) => key.names_modseq(),
            _ => false,
        }
    }
}
