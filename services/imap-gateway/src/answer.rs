//! How a command ends, as a value that can be carried to where it is written.

use std::borrow::Cow;
use std::io;

use postrider_imap::response::{Code, Kind, Numbers, Reply};
use postrider_index::UidSet;
use postrider_proto::Failure;

/// A tagged status: [`Reply`] with its own text and numbers.
#[derive(Debug)]
pub(crate) struct Answer {
    kind: Kind,
    code: AnswerCode,
    text: Cow<'static, str>,
}

/// A response code that owns what it names.
#[derive(Debug)]
pub(crate) enum AnswerCode {
    None,
    Plain(Code<'static>),
    MailboxId(String),
    AppendUid { validity: u32, uids: Vec<u32> },
    CopyUid(CopyUid),
    Modified(UidSet),
}

/// `COPYUID`
#[derive(Debug)]
pub(crate) struct CopyUid {
    pub validity: u32,
    pub source: Vec<u32>,
    pub destination: Vec<u32>,
}

impl Answer {
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Ok, text)
    }

    pub fn no(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::No, text)
    }

    pub fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Bad, text)
    }

    fn new(kind: Kind, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            code: AnswerCode::None,
            text: text.into(),
        }
    }

    pub fn with(self, code: Code<'static>) -> Self {
        self.with_code(AnswerCode::Plain(code))
    }

    pub fn with_code(self, code: AnswerCode) -> Self {
        Self { code, ..self }
    }

    pub fn is_ok(&self) -> bool {
        self.kind == Kind::Ok
    }

    pub fn reply(&self) -> Reply<'_> {
        Reply {
            kind: self.kind,
            code: match &self.code {
                AnswerCode::None => None,
                AnswerCode::Plain(code) => Some(*code),
                AnswerCode::MailboxId(id) => Some(Code::MailboxId(id)),
                AnswerCode::AppendUid { validity, uids } => Some(Code::AppendUid {
                    validity: *validity,
                    uids,
                }),
                AnswerCode::CopyUid(copied) => Some(copied.code()),
                AnswerCode::Modified(set) => Some(Code::Modified(Numbers::Set(set))),
            },
            text: &self.text,
        }
    }
}

impl CopyUid {
    pub fn code(&self) -> Code<'_> {
        Code::CopyUid {
            validity: self.validity,
            source: &self.source,
            destination: &self.destination,
        }
    }
}

/// Why a command does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It is answered, most often with NO.
    Answer(Answer),
    /// The connection is of no more use.
    Lost(io::Error),
}

/// What a command comes to.
pub(crate) type Outcome = Result<Answer, Stop>;

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Lost(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Answer(crate::failure::answer(&failure))
    }
}

impl From<Answer> for Stop {
    fn from(answer: Answer) -> Self {
        Stop::Answer(answer)
    }
}
