//! What is measured: the operations a user or another server waits for, and how each ended.

use serde::{Deserialize, Serialize};

/// Something that a client does and waits for. Its latency counts from the moment it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Another server connects to port 25: until the answer to EHLO (after STARTTLS when it is used).
    MxConnect,
    /// Another server's transaction: from MAIL until the reply to the final dot.
    MxMessage,
    /// A user's program connects to submission: until AUTH has succeeded.
    SubmitConnect,
    /// A user's transaction: from MAIL until the reply to the final dot.
    SubmitMessage,
    /// From the 250 of a submission until the sink held the message whole.
    Outbound,
    /// From the 250 of a message until an idling device was told of it.
    ImapPush,
    /// IMAP: connect until LOGIN is answered.
    ImapLogin,
    /// SELECT without parameters.
    ImapSelect,
    /// SELECT with QRESYNC.
    ImapResync,
    /// FETCH of metadata (flags, envelope).
    ImapFetch,
    /// FETCH of a body or a part of it.
    ImapBody,
    /// STORE of flags.
    ImapStore,
    /// MOVE to another mailbox.
    ImapMove,
    /// SEARCH.
    ImapSearch,
    /// APPEND.
    ImapAppend,
    /// POP3: connect until the password is accepted.
    Pop3Login,
    /// UIDL or LIST of the maildrop.
    Pop3List,
    /// RETR of one message.
    Pop3Retrieve,
    /// QUIT, with the deletions it makes true.
    Pop3Update,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As asked.
    Done,
    /// Refused for now: 4yz, `NO [UNAVAILABLE]`, `-ERR [SYS/TEMP]`, `[IN-USE]`.
    Deferred,
    /// Refused for good: 5yz, any other `NO`, `BAD` or `-ERR`.
    Refused,
    /// No answer: the connection could not be made, broke, or was silent for too long.
    Broken,
}

impl Operation {
    /// Every operation, in the order of a report.
    pub const ALL: [Self; 19] = [
        Self::MxConnect,
        Self::MxMessage,
        Self::SubmitConnect,
        Self::SubmitMessage,
        Self::Outbound,
        Self::ImapPush,
        Self::ImapLogin,
        Self::ImapSelect,
        Self::ImapResync,
        Self::ImapFetch,
        Self::ImapBody,
        Self::ImapStore,
        Self::ImapMove,
        Self::ImapSearch,
        Self::ImapAppend,
        Self::Pop3Login,
        Self::Pop3List,
        Self::Pop3Retrieve,
        Self::Pop3Update,
    ];

    /// The name in reports and files, as serde writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MxConnect => "mx-connect",
            Self::MxMessage => "mx-message",
            Self::SubmitConnect => "submit-connect",
            Self::SubmitMessage => "submit-message",
            Self::Outbound => "outbound",
            Self::ImapPush => "imap-push",
            Self::ImapLogin => "imap-login",
            Self::ImapSelect => "imap-select",
            Self::ImapResync => "imap-resync",
            Self::ImapFetch => "imap-fetch",
            Self::ImapBody => "imap-body",
            Self::ImapStore => "imap-store",
            Self::ImapMove => "imap-move",
            Self::ImapSearch => "imap-search",
            Self::ImapAppend => "imap-append",
            Self::Pop3Login => "pop3-login",
            Self::Pop3List => "pop3-list",
            Self::Pop3Retrieve => "pop3-retrieve",
            Self::Pop3Update => "pop3-update",
        }
    }

    /// Whether the operation takes a message in, so that its 250 (or `OK`) is a promise.
    pub const fn is_acceptance(self) -> bool {
        matches!(self, Self::MxMessage | Self::SubmitMessage | Self::ImapAppend)
    }
}

#[cfg(test)]
mod tests {
    use super::Operation;

    #[test]
    fn names_are_those_of_the_files() {
        for operation in Operation::ALL {
            let written = serde_json::to_string(&operation).expect("a name");
            assert_eq!(written, format!("\"{}\"", operation.name()));
        }
    }
}
