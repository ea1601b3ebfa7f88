//! The session's state and what its owner may ask and answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use postrider_sasl::Exchange;

use super::capability::{self, Standing};
use super::{Config, Enabled};
use crate::command::Tag;
use crate::frame::{Framer, Literal};
use crate::response::{Code, Kind, Reply, Syntax, untagged};

/// RFC 9051 §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The user is not known.
    NotAuthenticated,
    /// The user is known.
    Authenticated,
    /// A mailbox is open.
    Selected {
        /// By EXAMINE, or since SELECT was completed with `READ-ONLY`.
        read_only: bool,
    },
    /// The connection is ending.
    Logout,
}

/// What the session is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was written yet.
    Greeting,
    /// A command is being received.
    Command,
    /// The owner's answer is missing.
    Answer,
    /// A line of an authentication exchange is being received.
    Sasl,
    /// The owner is to say whether it wants the message.
    AppendAnswer(Literal),
    /// A message is being received.
    AppendData { left: u64 },
    /// What follows a message is being received.
    AppendTail,
    /// Until DONE.
    Idle,
    /// The rest of a refused command is thrown away, a literal first.
    Discard { left: u64 },
    /// The handshake is to begin.
    StartTls,
    /// Over.
    Closed,
}

/// What completing the command changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Authenticate,
    Select {
        read_only: bool,
    },
    Leave,
    /// IDLE was ended by something that is not DONE.
    BrokenIdle,
}

/// The command being handled.
#[derive(Debug)]
pub(super) struct Current {
    pub tag: Tag,
    pub effect: Effect,
    pub exchange: Option<Box<Exchange>>,
    pub append: Option<super::append::Progress>,
}

impl Current {
    pub fn new(tag: Tag, effect: Effect) -> Self {
        Self {
            tag,
            effect,
            exchange: None,
            append: None,
        }
    }
}

/// One connection, from the server's side.
///
/// Idle, it owns nothing on the heap but (while IDLE lasts) the command's tag.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Arc<Config>,
    pub(super) state: State,
    pub(super) phase: Phase,
    pub(super) current: Option<Box<Current>>,
    pub(super) framer: Framer,
    pub(super) deadline: Option<Instant>,
    pub(super) enabled: Enabled,
    pub(super) condstore_news: bool,
    pub(super) secure: bool,
    pub(super) plaintext: bool,
    pub(super) draining: bool,
    pub(super) input_closed: bool,
    /// Failed authentications and, before authentication, bad commands.
    pub(super) failures: u8,
}

impl Session {
    /// A session that will greet with OK. When TLS is on already, call `tls_started` before the first step.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            state: State::NotAuthenticated,
            phase: Phase::Greeting,
            current: None,
            framer: Framer::default(),
            deadline: None,
            enabled: Enabled::default(),
            condstore_news: false,
            secure: false,
            plaintext: false,
            draining: false,
            input_closed: false,
            failures: 0,
        }
    }

    /// A session that will greet with PREAUTH: the user is known already.
    pub fn preauthenticated(config: Arc<Config>) -> Self {
        Self {
            state: State::Authenticated,
            ..Self::new(config)
        }
    }

    /// A session that says `* BYE` instead of a greeting and closes (too many connections). To be called before the first
    /// step.
    pub fn refuse(&mut self, output: &mut BytesMut, code: Option<Code<'_>>, text: &str) {
        self.bye(output, code, text);
    }

    /// Passwords may cross this connection without TLS (it never leaves the machine, or the operator says so).
    pub fn allow_plaintext(&mut self) {
        self.plaintext = true;
    }

    /// Completes the command: `tag OK/NO/BAD …`. `OK` to LOGIN, AUTHENTICATE, SELECT, EXAMINE, CLOSE or UNSELECT changes the
    /// state; `OK` to authentication without a code gets the capabilities as its code. Without a command to complete it does nothing.
    pub fn complete(&mut self, output: &mut BytesMut, reply: Reply<'_>) {
        let next = match self.phase {
            Phase::Answer => Phase::Command,
            Phase::AppendAnswer(literal) if literal.synchronising => Phase::Command,
            Phase::AppendAnswer(literal) => Phase::Discard { left: literal.size },
            _ => return,
        };
        let Some(current) = self.current.take() else {
            return;
        };
        self.phase = next;
        self.deadline = None;
        output.put_slice(current.tag.as_bytes());
        output.put_u8(b' ');
        match (current.effect, reply.kind) {
            (Effect::BrokenIdle, _) => Reply::bad("expected DONE").write(output),
            (Effect::Authenticate, Kind::Ok) => {
                self.state = State::Authenticated;
                self.failures = 0;
                self.welcome(output, reply);
            }
            (Effect::Authenticate, _) => {
                reply.write(output);
                let refused = !matches!(reply.code, Some(Code::Unavailable | Code::ServerBug));
                self.failed(output, u8::from(refused), self.config.max_failures);
            }
            (Effect::Select { read_only }, Kind::Ok) => {
                let read_only = read_only || matches!(reply.code, Some(Code::ReadOnly));
                self.state = State::Selected { read_only };
                reply.write(output);
            }
            (Effect::Leave, Kind::Ok) => {
                self.state = State::Authenticated;
                reply.write(output);
            }
            _ => reply.write(output),
        }
    }

    /// The answer to [`super::Event::Append`]: send it. Writes the continuation if the client waits for one.
    pub fn accept_message(&mut self, output: &mut BytesMut) {
        if let Phase::AppendAnswer(literal) = self.phase {
            if literal.synchronising {
                output.put_slice(b"+ Go ahead\r\n");
            }
            self.phase = Phase::AppendData { left: literal.size };
            self.deadline = None;
        }
    }

    /// Ends the connection now: `* BYE`, then close (the account is disabled, the mailbox was deleted). A command in
    /// progress is not completed.
    pub fn bye(&mut self, output: &mut BytesMut, code: Option<Code<'_>>, text: &str) {
        if self.phase != Phase::Closed {
            untagged(
                output,
                Reply {
                    kind: Kind::Bye,
                    code,
                    text,
                },
            );
            self.phase = Phase::Closed;
            self.state = State::Logout;
            self.current = None;
        }
    }

    /// Ends the connection at the next safe place: after the command in progress, or at once when there is none.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// The mailbox is no longer selected, although the client did not ask (it was deleted). Most owners say BYE instead.
    pub fn deselect(&mut self) {
        if let State::Selected { .. } = self.state {
            self.state = State::Authenticated;
        }
    }

    /// Where the session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// What the client has turned on.
    pub fn enabled(&self) -> Enabled {
        self.enabled
    }

    /// How strings are written now.
    pub fn syntax(&self) -> Syntax {
        self.enabled.syntax()
    }

    /// Whether CONDSTORE was turned on since the last call while a mailbox was selected: `[HIGHESTMODSEQ]` is owed then
    /// (RFC 7162 §3.1.2.2). To be asked before each command is acted on.
    pub fn take_condstore_news(&mut self) -> bool {
        std::mem::take(&mut self.condstore_news)
    }

    /// The tag of the command in progress, for ESEARCH; empty when there is none.
    pub fn tag(&self) -> &str {
        self.current.as_ref().map_or("", |current| current.tag.as_str())
    }

    /// Whether IDLE lasts: announcements may be written at any time.
    pub fn is_idling(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether the connection is inside TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Appends the capability names.
    pub(super) fn put_capabilities(&self, output: &mut BytesMut) {
        let standing = Standing {
            authenticated: !matches!(self.state, State::NotAuthenticated),
            secure: self.secure,
            plaintext: self.secure || self.plaintext,
        };
        capability::put(output, &self.config, standing);
    }

    /// `OK [CAPABILITY …] text`
    fn welcome(&self, output: &mut BytesMut, reply: Reply<'_>) {
        if reply.code.is_some() {
            return reply.write(output);
        }
        output.put_slice(b"OK [CAPABILITY ");
        self.put_capabilities(output);
        output.put_slice(b"] ");
        crate::response::human(output, reply.text);
        output.put_slice(b"\r\n");
    }

    /// Counts a failure; ends the connection when there are too many.
    pub(super) fn failed(&mut self, output: &mut BytesMut, count: u8, limit: u8) {
        self.failures = self.failures.saturating_add(count);
        if self.failures >= limit.max(1) {
            self.bye(output, None, "Too many failures");
        }
    }
}
