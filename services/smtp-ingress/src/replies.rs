//! What this role says, beyond what SMTP itself says.

use postrider_smtp::{Enhanced, Reply};

/// 451 4.3.0: something of ours is away.
pub(crate) fn try_later() -> Reply {
    Reply::new(
        451,
        Enhanced(4, 3, 0),
        "not possible at the moment, try again later",
    )
}

/// 452 4.3.1: all memory for messages is in use.
pub(crate) fn no_room() -> Reply {
    Reply::new(
        452,
        Enhanced(4, 3, 1),
        "too many messages at the same time, try again later",
    )
}

/// 550 5.7.1: neither a domain of ours nor a user of ours.
pub(crate) fn no_relay() -> Reply {
    Reply::new(
        550,
        Enhanced(5, 7, 1),
        "this server does not take mail for that domain",
    )
}

/// 550 5.1.1
pub(crate) fn unknown_user() -> Reply {
    Reply::new(550, Enhanced(5, 1, 1), "no such user here")
}

/// 550 5.2.1
pub(crate) fn disabled() -> Reply {
    Reply::new(550, Enhanced(5, 2, 1), "this mailbox is disabled")
}

/// 452 4.5.3: aliases have multiplied the recipients beyond measure.
pub(crate) fn too_many_targets() -> Reply {
    Reply::new(
        452,
        Enhanced(4, 5, 3),
        "too many recipients; send the rest with another message",
    )
}

/// 553 5.7.1: MAIL FROM is not the account's.
pub(crate) fn not_your_address() -> Reply {
    Reply::new(
        553,
        Enhanced(5, 7, 1),
        "this account may not send with that address",
    )
}

/// 550 5.7.1: From or Sender is not the account's.
pub(crate) fn not_your_name() -> Reply {
    Reply::new(
        550,
        Enhanced(5, 7, 1),
        "this account may not send with the address in From or Sender",
    )
}

/// 450 4.7.1: a limit of rates.
pub(crate) fn too_fast() -> Reply {
    Reply::new(450, Enhanced(4, 7, 1), "too many messages, try again later")
}

/// 554 5.4.6
pub(crate) fn loops() -> Reply {
    Reply::new(
        554,
        Enhanced(5, 4, 6),
        "too many Received fields: the message goes round in circles",
    )
}

/// 452 4.2.2: full, but this message would fit into an emptier mailbox.
pub(crate) fn mailbox_full() -> Reply {
    Reply::new(452, Enhanced(4, 2, 2), "the mailbox is full")
}

/// 552 5.2.2: larger than the whole mailbox may be.
pub(crate) fn larger_than_mailbox() -> Reply {
    Reply::new(
        552,
        Enhanced(5, 2, 2),
        "the message is larger than the mailbox may be",
    )
}

/// 552 5.3.4
pub(crate) fn too_large() -> Reply {
    Reply::new(
        552,
        Enhanced(5, 3, 4),
        "the message is larger than this server takes",
    )
}

/// 250: responsible from now on.
pub(crate) fn accepted(id: &str) -> Reply {
    Reply::new(
        250,
        Enhanced(2, 0, 0),
        format!("Message accepted for delivery, {id}"),
    )
}
