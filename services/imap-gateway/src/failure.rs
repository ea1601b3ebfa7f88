//! Failures of other roles, as clients may know them (RFC 5530, RFC 9051 §7.1).

use postrider_imap::response::Code;
use postrider_proto::{Failure, Kind};

use crate::answer::Answer;

/// What a failure is to a client, when it says nothing about a mailbox's name.
pub(crate) fn answer(failure: &Failure) -> Answer {
    match failure.kind {
        Kind::NotFound => Answer::no("no such mailbox").with(Code::NonExistent),
        Kind::AlreadyExists => Answer::no(said(failure)).with(Code::AlreadyExists),
        Kind::Exhausted => Answer::no("the mailbox is full").with(Code::OverQuota),
        Kind::Invalid | Kind::Precondition => Answer::no(said(failure)).with(Code::Cannot),
        Kind::Denied | Kind::Unauthenticated => Answer::no(said(failure)).with(Code::NoPerm),
        Kind::Unavailable | Kind::Deadline => {
            Answer::no("not possible at the moment, try again").with(Code::Unavailable)
        }
        Kind::Internal => {
            tracing::error!(%failure, "a request failed");
            Answer::no("internal error").with(Code::ServerBug)
        }
    }
}

/// A mailbox that messages should go to does not exist: the client may create it.
pub(crate) fn destination(failure: &Failure) -> Answer {
    match failure.kind {
        Kind::NotFound => Answer::no("no such mailbox").with(Code::TryCreate),
        // A name that no mailbox can have.
        Kind::Invalid => Answer::no(said(failure)).with(Code::Cannot),
        _ => answer(failure),
    }
}

fn said(failure: &Failure) -> String {
    failure.message.clone()
}

pub(crate) fn unavailable(what: &'static str) -> Failure {
    Failure::new(Kind::Deadline, what)
}

pub(crate) fn damaged(what: impl Into<String>) -> Failure {
    Failure::new(Kind::Internal, what)
}
