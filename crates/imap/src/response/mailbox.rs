//! Responses about mailboxes: LIST, LSUB, STATUS, NAMESPACE, FLAGS, EXISTS, RECENT, EXPUNGE, VANISHED
//! (RFC 9051 §7.2 to §7.5, RFC 3501 §7.2, §7.3, RFC 7162 §3.2.10).

use bytes::{BufMut, BytesMut};
use postrider_types::{Flags, Keyword};

use super::text::{Numbers, Syntax, mailbox, number, numbers, string};
use crate::command::{SpecialUse, StatusItem};

/// The hierarchy delimiter.
pub(crate) const DELIMITER: u8 = b'/';

/// What LIST says of a mailbox (RFC 9051 §7.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// `\NonExistent`: only its subscription or its children exist. Implies `\Noselect`.
    NonExistent,
    /// `\Noselect`
    NoSelect,
    /// `\Noinferiors`
    NoInferiors,
    /// `\HasChildren`
    HasChildren,
    /// `\HasNoChildren`
    HasNoChildren,
    /// `\Marked`
    Marked,
    /// `\Unmarked`
    Unmarked,
    /// `\Subscribed`
    Subscribed,
    /// `\Remote`
    Remote,
    /// A special use.
    Use(SpecialUse),
}

impl Attribute {
    /// As LIST writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Attribute::NonExistent => "\\NonExistent",
            Attribute::NoSelect => "\\Noselect",
            Attribute::NoInferiors => "\\Noinferiors",
            Attribute::HasChildren => "\\HasChildren",
            Attribute::HasNoChildren => "\\HasNoChildren",
            Attribute::Marked => "\\Marked",
            Attribute::Unmarked => "\\Unmarked",
            Attribute::Subscribed => "\\Subscribed",
            Attribute::Remote => "\\Remote",
            Attribute::Use(special) => special.as_str(),
        }
    }
}

/// One line of a LIST answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListLine<'a> {
    /// What is to be said of it.
    pub attributes: &'a [Attribute],
    /// Its name; empty in the answer to `LIST "" ""`.
    pub name: &'a str,
    /// CHILDINFO ("SUBSCRIBED"): it is named because a subscribed mailbox is below it (RFC 5258 §3.5).
    pub child_subscribed: bool,
    /// OLDNAME: what the client called it (RFC 9051 §6.3.9.7).
    pub old_name: Option<&'a str>,
}

/// The NAMESPACE answer: prefixes that end in the delimiter, or are empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Namespaces<'a> {
    /// The user's own.
    pub personal: &'a [&'a str],
    /// Other users'.
    pub other: &'a [&'a str],
    /// Shared.
    pub shared: &'a [&'a str],
}

/// `* LIST (…) "/" name …`
pub fn list(out: &mut BytesMut, line: ListLine<'_>, syntax: Syntax) {
    list_line(out, b"* LIST (", line.attributes, line.name, syntax);
    if line.child_subscribed || line.old_name.is_some() {
        out.put_slice(b" (");
        if line.child_subscribed {
            out.put_slice(b"\"CHILDINFO\" (\"SUBSCRIBED\")");
        }
        if let Some(old) = line.old_name {
            if line.child_subscribed {
                out.put_u8(b' ');
            }
            out.put_slice(b"\"OLDNAME\" (");
            mailbox(out, old, syntax);
            out.put_u8(b')');
        }
        out.put_u8(b')');
    }
    out.put_slice(b"\r\n");
}

/// `* LSUB (…) "/" name`
pub fn lsub(out: &mut BytesMut, attributes: &[Attribute], name: &str, syntax: Syntax) {
    list_line(out, b"* LSUB (", attributes, name, syntax);
    out.put_slice(b"\r\n");
}

fn list_line(out: &mut BytesMut, start: &[u8], attributes: &[Attribute], name: &str, syntax: Syntax) {
    out.put_slice(start);
    for (at, attribute) in attributes.iter().enumerate() {
        if at > 0 {
            out.put_u8(b' ');
        }
        out.put_slice(attribute.as_str().as_bytes());
    }
    out.put_slice(b") \"");
    out.put_u8(DELIMITER);
    out.put_slice(b"\" ");
    mailbox(out, name, syntax);
}

/// `* STATUS name (…)`. [`StatusItem::MailboxId`] is not a number: give it as `mailbox_id`.
pub fn mailbox_status(
    out: &mut BytesMut,
    name: &str,
    items: &[(StatusItem, u64)],
    mailbox_id: Option<&str>,
    syntax: Syntax,
) {
    out.put_slice(b"* STATUS ");
    mailbox(out, name, syntax);
    out.put_slice(b" (");
    for (at, (item, value)) in items.iter().enumerate() {
        if at > 0 {
            out.put_u8(b' ');
        }
        out.put_slice(item.as_str().as_bytes());
        out.put_u8(b' ');
        number(out, *value);
    }
    if let Some(id) = mailbox_id {
        if !items.is_empty() {
            out.put_u8(b' ');
        }
        out.put_slice(b"MAILBOXID (");
        out.put_slice(id.as_bytes());
        out.put_u8(b')');
    }
    out.put_slice(b")\r\n");
}

/// `* NAMESPACE …`
pub fn namespace(out: &mut BytesMut, namespaces: Namespaces<'_>, syntax: Syntax) {
    out.put_slice(b"* NAMESPACE");
    for kind in [namespaces.personal, namespaces.other, namespaces.shared] {
        out.put_u8(b' ');
        if kind.is_empty() {
            out.put_slice(b"NIL");
            continue;
        }
        out.put_u8(b'(');
        for prefix in kind {
            out.put_u8(b'(');
            string(out, prefix.as_bytes(), syntax);
            out.put_slice(b" \"");
            out.put_u8(DELIMITER);
            out.put_slice(b"\")");
        }
        out.put_u8(b')');
    }
    out.put_slice(b"\r\n");
}

/// `* FLAGS (…)`: all system flags and these keywords.
pub fn flags(out: &mut BytesMut, keywords: &[Keyword]) {
    out.put_slice(b"* FLAGS ");
    flag_list(out, Flags::from_bits(u8::MAX), keywords);
    out.put_slice(b"\r\n");
}

/// `* n EXISTS`
pub fn exists(out: &mut BytesMut, count: u32) {
    counted(out, count, b" EXISTS\r\n");
}

/// `* n RECENT` (RFC 3501; not sent when rev2 is on).
pub fn recent(out: &mut BytesMut, count: u32) {
    counted(out, count, b" RECENT\r\n");
}

/// `* n EXPUNGE`
pub fn expunge(out: &mut BytesMut, sequence: u32) {
    counted(out, sequence, b" EXPUNGE\r\n");
}

/// `* VANISHED uids` or `* VANISHED (EARLIER) uids`; nothing when there are none.
pub fn vanished(out: &mut BytesMut, uids: Numbers<'_>, earlier: bool) {
    if uids.is_empty() {
        return;
    }
    out.put_slice(if earlier {
        b"* VANISHED (EARLIER) "
    } else {
        b"* VANISHED "
    });
    numbers(out, uids);
    out.put_slice(b"\r\n");
}

/// `flag-list`
pub(crate) fn flag_list(out: &mut BytesMut, flags: Flags, keywords: &[Keyword]) {
    put_flags(out, flags, keywords, false);
}

/// `flag-list`, or `flag-perm`s with `\*` at the end.
pub(super) fn put_flags(out: &mut BytesMut, flags: Flags, keywords: &[Keyword], any: bool) {
    let system = flags.iter().map(|flag| flag.as_str());
    let names = system
        .chain(keywords.iter().map(Keyword::as_str))
        .chain(any.then_some("\\*"));
    out.put_u8(b'(');
    for (at, name) in names.enumerate() {
        if at > 0 {
            out.put_u8(b' ');
        }
        out.put_slice(name.as_bytes());
    }
    out.put_u8(b')');
}

fn counted(out: &mut BytesMut, count: u32, rest: &[u8]) {
    out.put_slice(b"* ");
    number(out, count.into());
    out.put_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(put: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// RFC 5258 §5, RFC 9051 §6.3.9.7.
    #[test]
    fn lists_with_extended_data() {
        let line = ListLine {
            attributes: &[Attribute::NonExistent, Attribute::Use(SpecialUse::Sent)],
            name: "Foo bar",
            child_subscribed: true,
            old_name: Some("old"),
        };
        assert_eq!(
            written(|out| list(out, line, Syntax::Rev1)),
            "* LIST (\\NonExistent \\Sent) \"/\" \"Foo bar\" (\"CHILDINFO\" (\"SUBSCRIBED\") \"OLDNAME\" (old))\r\n"
        );
    }

    #[test]
    fn counts_and_identities() {
        let items = [(StatusItem::Messages, 231), (StatusItem::UidNext, 44292)];
        assert_eq!(
            written(|out| mailbox_status(out, "blurdybloop", &items, Some("F1"), Syntax::Rev1)),
            "* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292 MAILBOXID (F1))\r\n"
        );
        let spaces = Namespaces {
            personal: &["", "a b/"],
            other: &["~"],
            shared: &[],
        };
        assert_eq!(
            written(|out| namespace(out, spaces, Syntax::Rev1)),
            "* NAMESPACE ((\"\" \"/\")(\"a b/\" \"/\")) ((\"~\" \"/\")) NIL\r\n"
        );
        assert_eq!(
            written(|out| vanished(out, Numbers::List(&[41, 43, 44]), true)),
            "* VANISHED (EARLIER) 41,43:44\r\n"
        );
        assert_eq!(written(|out| vanished(out, Numbers::List(&[]), false)), "");
    }
}
