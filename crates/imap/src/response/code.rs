//! Response codes (RFC 9051 §7.1 and the extensions').

use bytes::{BufMut, BytesMut};
use postrider_types::{Flags, Keyword};

use super::mailbox::put_flags;
use super::text::{Numbers, number, numbers};

/// What a program can make of a status response.
#[derive(Debug, Clone, Copy)]
pub enum Code<'a> {
    /// `ALERT`: show the text to the user.
    Alert,
    /// `ALREADYEXISTS`: the mailbox is there.
    AlreadyExists,
    /// `APPENDUID`: in the order of the command's messages.
    AppendUid {
        /// The mailbox's UIDVALIDITY.
        validity: u32,
        /// What the messages got.
        uids: &'a [u32],
    },
    /// `AUTHENTICATIONFAILED`
    AuthenticationFailed,
    /// `AUTHORIZATIONFAILED`
    AuthorizationFailed,
    /// `BADCHARSET (US-ASCII UTF-8)`
    BadCharset,
    /// `CANNOT`: never, whoever asks.
    Cannot,
    /// `CLIENTBUG`
    ClientBug,
    /// `CLOSED`: what follows is about the next mailbox. The session says it itself.
    Closed,
    /// `CONTACTADMIN`
    ContactAdmin,
    /// `COPYUID`: pairwise. Nothing is written when there are no pairs (RFC 4315 §3).
    CopyUid {
        /// The destination's UIDVALIDITY.
        validity: u32,
        /// Ascending.
        source: &'a [u32],
        /// Of the copies, as many.
        destination: &'a [u32],
    },
    /// `CORRUPTION`
    Corruption,
    /// `EXPUNGEISSUED`: messages vanished that this session has not been told of.
    ExpungeIssued,
    /// `HASCHILDREN`: DELETE of a mailbox with others below.
    HasChildren,
    /// `HIGHESTMODSEQ`
    HighestModSeq(u64),
    /// `INUSE`: try again.
    InUse,
    /// `LIMIT`
    Limit,
    /// `MAILBOXID` (RFC 8474): 1 to 255 characters of `[A-Za-z0-9_-]`.
    MailboxId(&'a str),
    /// `MODIFIED`: these failed UNCHANGEDSINCE.
    Modified(Numbers<'a>),
    /// `NOMODSEQ`
    NoModSeq,
    /// `NONEXISTENT`
    NonExistent,
    /// `NOPERM`
    NoPerm,
    /// `NOTSAVED`: the `$` result is empty (RFC 5182).
    NotSaved,
    /// `OVERQUOTA`
    OverQuota,
    /// `PARSE`: a message could not be parsed.
    Parse,
    /// `PERMANENTFLAGS`
    PermanentFlags {
        /// System flags that can be changed for good.
        flags: Flags,
        /// Keywords in use, which can be changed as well.
        keywords: &'a [Keyword],
        /// `\*`: and any new keyword.
        new_keywords: bool,
    },
    /// `PRIVACYREQUIRED`
    PrivacyRequired,
    /// `READ-ONLY`: completes EXAMINE, or a SELECT that got no more.
    ReadOnly,
    /// `READ-WRITE`: completes SELECT.
    ReadWrite,
    /// `SERVERBUG`
    ServerBug,
    /// `TOOBIG` (RFC 7889, RFC 7888)
    TooBig,
    /// `TRYCREATE`: APPEND or COPY to a mailbox that is not there.
    TryCreate,
    /// `UIDNEXT`
    UidNext(u32),
    /// `UIDNOTSTICKY`
    UidNotSticky,
    /// `UIDVALIDITY`
    UidValidity(u32),
    /// `UNAVAILABLE`: temporary.
    Unavailable,
    /// `UNKNOWN-CTE` (RFC 3516)
    UnknownCte,
    /// `UNSEEN` (RFC 3501): the first message without `\Seen`.
    Unseen(u32),
    /// `USEATTR` (RFC 6154): the special use cannot be given.
    UseAttr,
}

impl Code<'_> {
    /// Appends `[` code `]` and a space.
    pub(crate) fn write(self, out: &mut BytesMut) {
        if matches!(self, Code::CopyUid { source, .. } if source.is_empty())
            || matches!(self, Code::AppendUid { uids, .. } if uids.is_empty())
            || matches!(self, Code::Modified(set) if set.is_empty())
        {
            return;
        }
        out.put_u8(b'[');
        out.put_slice(self.name().as_bytes());
        match self {
            Code::AppendUid { validity, uids } => {
                space_number(out, validity.into());
                space_numbers(out, Numbers::List(uids));
            }
            Code::CopyUid {
                validity,
                source,
                destination,
            } => {
                space_number(out, validity.into());
                space_numbers(out, Numbers::List(source));
                space_numbers(out, Numbers::List(destination));
            }
            Code::BadCharset => out.put_slice(b" (US-ASCII UTF-8)"),
            Code::HighestModSeq(value) => space_number(out, value),
            Code::UidNext(value) | Code::UidValidity(value) | Code::Unseen(value) => {
                space_number(out, value.into())
            }
            Code::MailboxId(id) => {
                out.put_slice(b" (");
                out.put_slice(id.as_bytes());
                out.put_u8(b')');
            }
            Code::Modified(set) => space_numbers(out, set),
            Code::PermanentFlags {
                flags,
                keywords,
                new_keywords,
            } => {
                out.put_u8(b' ');
                put_flags(out, flags, keywords, new_keywords);
            }
            _ => {}
        }
        out.put_slice(b"] ");
    }

    fn name(self) -> &'static str {
        match self {
            Code::Alert => "ALERT",
            Code::AlreadyExists => "ALREADYEXISTS",
            Code::AppendUid { .. } => "APPENDUID",
            Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Code::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Code::BadCharset => "BADCHARSET",
            Code::Cannot => "CANNOT",
            Code::ClientBug => "CLIENTBUG",
            Code::Closed => "CLOSED",
            Code::ContactAdmin => "CONTACTADMIN",
            Code::CopyUid { .. } => "COPYUID",
            Code::Corruption => "CORRUPTION",
            Code::ExpungeIssued => "EXPUNGEISSUED",
            Code::HasChildren => "HASCHILDREN",
            Code::HighestModSeq(_) => "HIGHESTMODSEQ",
            Code::InUse => "INUSE",
            Code::Limit => "LIMIT",
            Code::MailboxId(_) => "MAILBOXID",
            Code::Modified(_) => "MODIFIED",
            Code::NoModSeq => "NOMODSEQ",
            Code::NonExistent => "NONEXISTENT",
            Code::NoPerm => "NOPERM",
            Code::NotSaved => "NOTSAVED",
            Code::OverQuota => "OVERQUOTA",
            Code::Parse => "PARSE",
            Code::PermanentFlags { .. } => "PERMANENTFLAGS",
            Code::PrivacyRequired => "PRIVACYREQUIRED",
            Code::ReadOnly => "READ-ONLY",
            Code::ReadWrite => "READ-WRITE",
            Code::ServerBug => "SERVERBUG",
            Code::TooBig => "TOOBIG",
            Code::TryCreate => "TRYCREATE",
            Code::UidNext(_) => "UIDNEXT",
            Code::UidNotSticky => "UIDNOTSTICKY",
            Code::UidValidity(_) => "UIDVALIDITY",
            Code::Unavailable => "UNAVAILABLE",
            Code::UnknownCte => "UNKNOWN-CTE",
            Code::Unseen(_) => "UNSEEN",
            Code::UseAttr => "USEATTR",
        }
    }
}

fn space_number(out: &mut BytesMut, value: u64) {
    out.put_u8(b' ');
    number(out, value);
}

fn space_numbers(out: &mut BytesMut, set: Numbers<'_>) {
    out.put_u8(b' ');
    numbers(out, set);
}

#[cfg(test)]
mod tests {
    use postrider_index::UidSet;
    use postrider_types::{SystemFlag, Uid};

    use super::*;

    fn written(code: Code<'_>) -> String {
        let mut out = BytesMut::new();
        code.write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn codes_with_arguments() {
        let modified: UidSet = [7, 9, 10].map(Uid).into_iter().collect();
        let keywords = [Keyword::new("$Junk").unwrap()];
        for (code, text) in [
            (
                Code::AppendUid {
                    validity: 38505,
                    uids: &[3955],
                },
                "[APPENDUID 38505 3955] ",
            ),
            (
                Code::CopyUid {
                    validity: 38505,
                    source: &[304, 319, 320],
                    destination: &[3956, 3957, 3958],
                },
                "[COPYUID 38505 304,319:320 3956:3958] ",
            ),
            (
                Code::CopyUid {
                    validity: 1,
                    source: &[1, 2],
                    destination: &[9, 4],
                },
                "[COPYUID 1 1:2 9,4] ",
            ),
            (
                Code::CopyUid {
                    validity: 1,
                    source: &[],
                    destination: &[],
                },
                "",
            ),
            (Code::Modified(Numbers::Set(&modified)), "[MODIFIED 7,9:10] "),
            (Code::Modified(Numbers::List(&[])), ""),
            (Code::MailboxId("F3"), "[MAILBOXID (F3)] "),
            (
                Code::HighestModSeq(715_194_045_007),
                "[HIGHESTMODSEQ 715194045007] ",
            ),
            (
                Code::PermanentFlags {
                    flags: Flags::EMPTY.with(SystemFlag::Deleted),
                    keywords: &keywords,
                    new_keywords: true,
                },
                "[PERMANENTFLAGS (\\Deleted $Junk \\*)] ",
            ),
            (
                Code::PermanentFlags {
                    flags: Flags::EMPTY,
                    keywords: &[],
                    new_keywords: false,
                },
                "[PERMANENTFLAGS ()] ",
            ),
        ] {
            assert_eq!(written(code), text);
        }
    }
}
