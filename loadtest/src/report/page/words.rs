//! What operations are called, how they are grouped and what they mean, for a person who reads a report.

use crate::operation::Operation;

/// Operations that belong into one plot; at most five, one for each class of the style sheet.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its heading.
    pub name: &'static str,
    /// In the order of their colours.
    pub operations: &'static [Operation],
}

/// Every operation, once.
pub const FAMILIES: [Family; 5] = [
    Family {
        name: "Handing in mail",
        operations: &[
            Operation::MxMessage,
            Operation::SubmitMessage,
            Operation::MxConnect,
            Operation::SubmitConnect,
        ],
    },
    Family {
        name: "Mail on its way",
        operations: &[Operation::Outbound, Operation::ImapPush],
    },
    Family {
        name: "Reading with IMAP",
        operations: &[
            Operation::ImapLogin,
            Operation::ImapSelect,
            Operation::ImapResync,
            Operation::ImapFetch,
            Operation::ImapBody,
        ],
    },
    Family {
        name: "Changing with IMAP",
        operations: &[
            Operation::ImapStore,
            Operation::ImapMove,
            Operation::ImapSearch,
            Operation::ImapAppend,
        ],
    },
    Family {
        name: "Polling with POP3",
        operations: &[
            Operation::Pop3Login,
            Operation::Pop3List,
            Operation::Pop3Retrieve,
            Operation::Pop3Update,
        ],
    },
];

/// Classes of the style sheet for the lines of one plot: colours that colour-blind people tell apart, and dashes.
pub const COLOURS: [&str; 5] = ["c0", "c1", "c2", "c3", "c4"];

/// What is timed, in a few words.
pub const fn meaning(operation: Operation) -> &'static str {
    match operation {
        Operation::MxConnect => "another server connects: until EHLO is answered",
        Operation::MxMessage => "another server's message: MAIL to the final reply",
        Operation::SubmitConnect => "a user's program connects: until AUTH succeeded",
        Operation::SubmitMessage => "a user's message: MAIL to the final reply",
        Operation::Outbound => "from the 250 until the sink had the message",
        Operation::ImapPush => "from the 250 until an idling device was told",
        Operation::ImapLogin => "connect until LOGIN is answered",
        Operation::ImapSelect => "SELECT",
        Operation::ImapResync => "SELECT with QRESYNC",
        Operation::ImapFetch => "FETCH of flags and envelopes",
        Operation::ImapBody => "FETCH of a body",
        Operation::ImapStore => "STORE",
        Operation::ImapMove => "MOVE",
        Operation::ImapSearch => "SEARCH",
        Operation::ImapAppend => "APPEND",
        Operation::Pop3Login => "connect until the password is accepted",
        Operation::Pop3List => "UIDL or LIST",
        Operation::Pop3Retrieve => "RETR",
        Operation::Pop3Update => "QUIT with its deletions",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_in_one_family_with_a_colour() {
        let mut seen: Vec<Operation> = FAMILIES
            .iter()
            .flat_map(|family| family.operations)
            .copied()
            .collect();
        seen.sort_unstable();
        let mut all = Operation::ALL.to_vec();
        all.sort_unstable();
        assert_eq!(seen, all);
        assert!(
            FAMILIES
                .iter()
                .all(|family| family.operations.len() <= COLOURS.len())
        );
    }
}
