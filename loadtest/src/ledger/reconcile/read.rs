//! Reading accounts afterwards: every mailbox through IMAP, the maildrop through POP3.
//!
//! Nothing is changed: EXAMINE, BODY.PEEK, no DELE. What is read is digested and thrown away; one message of an account is in
//! memory at a time.

use std::io;

use bytes::BytesMut;
use postrider_imap::Command;
use postrider_imap::client::{Response, Value};
use postrider_imap::command::{Fetch, FetchItem, List, ListReturn, ListSelect, Section, SectionText};
use postrider_imap::mailbox::decode_utf7;
use postrider_imap::set::{MessageSet, SequenceSet};

use super::super::{Digested, Digester, FIELD};
use super::shard::{Fact, Key, Seen, Shards};
use crate::net::{Failure, Imap, Pop3};
use crate::target::Target;

/// Messages asked for with one FETCH.
const WINDOW: u32 = 200;

/// A reader of accounts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub target: &'a Target,
    pub shards: &'a Shards,
    /// Runs whose messages matter.
    pub runs: &'a [u32],
    /// Content is read, not only the id.
    pub content: bool,
}

/// Why an account could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Server(#[from] Failure),
    #[error("cannot write a working file: {0}")]
    Disk(#[from] io::Error),
}

impl Reader<'_> {
    /// Reads every mailbox of an account.
    pub(super) async fn mailboxes(&self, account: &str) -> Result<(), ReadError> {
        let mut imap = Imap::login(self.target, account).await?;
        for name in names(&mut imap).await? {
            self.mailbox(&mut imap, account, &name).await?;
        }
        // Everything is known; how the server takes its leave does not matter.
        let _ = imap.logout().await;
        Ok(())
    }

    /// Reads the maildrop of an account.
    pub(super) async fn maildrop(&self, account: &str) -> Result<(), ReadError> {
        let mut pop3 = Pop3::login(self.target, account).await?;
        let mut content = BytesMut::new();
        for (number, uid) in pop3.uidl().await? {
            pop3.retrieve(number, &mut content).await?;
            let read = digested(&content);
            self.found(account, read, |digest| Seen::in_maildrop(&uid, digest))?;
        }
        let _ = pop3.quit().await;
        Ok(())
    }

    async fn mailbox(&self, imap: &mut Imap, account: &str, name: &str) -> Result<(), ReadError> {
        let selected = match imap.select(name, true).await {
            Ok(selected) => selected,
            // Listed, but not for opening.
            Err(Failure::Refused(_)) => return Ok(()),
            Err(failure) => return Err(failure.into()),
        };
        let text = (!self.content).then(|| SectionText::HeaderFields(vec![FIELD.to_owned()]));
        let section = FetchItem::Section {
            section: Section {
                text,
                ..Section::default()
            },
            peek: true,
            partial: None,
        };
        let mut trouble = Ok(());
        let mut first = 1;
        while first <= selected.exists {
            let last = first.saturating_add(WINDOW - 1).min(selected.exists);
            let fetch = Command::Fetch(Fetch {
                uid: false,
                set: SequenceSet::of_numbers(first..=last).map_or(MessageSet::Saved, MessageSet::Numbers),
                items: vec![FetchItem::Uid, section.clone()],
                changed_since: None,
                vanished: false,
            });
            imap.each(&fetch, |response| {
                let Some((uid, text)) = fetched(&response) else {
                    return;
                };
                let seen = |digest| {
                    let digest = self.content.then_some(digest);
                    Seen::in_mailbox(name, selected.uid_validity, uid, digest)
                };
                if let Err(error) = self.found(account, digested(text), seen) {
                    trouble = Err(error);
                }
            })
            .await?;
            std::mem::replace(&mut trouble, Ok(()))?;
            first = last + 1;
        }
        Ok(())
    }

    /// Writes a copy down, if it is one of ours.
    fn found(&self, account: &str, read: Digested, seen: impl FnOnce(u64) -> Seen) -> io::Result<()> {
        match read.id.filter(|id| self.runs.contains(&id.run)) {
            Some(id) => self
                .shards
                .add_by_key(&Key::new(id, account), &Fact::Seen(seen(read.digest))),
            None => Ok(()),
        }
    }
}

/// How many messages are in an account's INBOX.
pub(super) async fn count(target: &Target, account: &str) -> Result<u64, Failure> {
    if target.imap.is_some() {
        let mut imap = Imap::login(target, account).await?;
        let selected = imap.select("INBOX", true).await?;
        let _ = imap.logout().await;
        return Ok(selected.exists.into());
    }
    let mut pop3 = Pop3::login(target, account).await?;
    let (messages, _) = pop3.stat().await?;
    let _ = pop3.quit().await;
    Ok(messages)
}

/// The names of all mailboxes that can be opened.
async fn names(imap: &mut Imap) -> Result<Vec<String>, Failure> {
    let list = Command::List(List {
        select: ListSelect::default(),
        reference: String::new(),
        patterns: vec!["*".into()],
        returns: ListReturn::default(),
        extended: false,
    });
    let mut names = Vec::new();
    imap.each(&list, |response| names.extend(listed(&response)))
        .await?;
    Ok(names)
}

/// The mailbox a LIST response names.
fn listed(response: &Response) -> Option<String> {
    let Response::Data {
        number: None,
        name,
        values,
    } = response
    else {
        return None;
    };
    let [Value::List(attributes), _, mailbox, ..] = values.as_slice() else {
        return None;
    };
    let cannot = |attribute: &Value| {
        let is = |known: &str| {
            attribute
                .as_atom()
                .is_some_and(|atom| atom.eq_ignore_ascii_case(known))
        };
        is("\\Noselect") || is("\\NonExistent")
    };
    if name != "LIST" || attributes.iter().any(cannot) {
        return None;
    }
    let text = String::from_utf8_lossy(mailbox.as_bytes()?).into_owned();
    Some(decode_utf7(&text).map_or_else(|| text.clone(), std::borrow::Cow::into_owned))
}

/// UID and text of a FETCH response that has both.
fn fetched(response: &Response) -> Option<(u32, &[u8])> {
    let Response::Data { name, values, .. } = response else {
        return None;
    };
    let [Value::List(items)] = values.as_slice() else {
        return None;
    };
    // Servers write the names of header fields back as they like, so only the beginning is compared.
    let text = items.chunks_exact(2).find_map(|pair| match pair {
        [Value::Atom(item), value]
            if item
                .get(..5)
                .is_some_and(|start| start.eq_ignore_ascii_case("BODY[")) =>
        {
            value.as_bytes()
        }
        _ => None,
    })?;
    let uid = response.attribute("UID")?.as_number()?;
    (name == "FETCH").then_some((u32::try_from(uid).ok()?, text))
}

fn digested(content: &[u8]) -> Digested {
    let mut digester = Digester::default();
    digester.push(content);
    digester.finish()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn response(text: &'static str) -> Response {
        Response::parse(&Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn mailboxes_as_servers_list_them() {
        let name = |text| listed(&response(text));
        assert_eq!(
            name("* LIST (\\HasNoChildren) \"/\" INBOX").as_deref(),
            Some("INBOX")
        );
        assert_eq!(
            name("* LIST () NIL \"Entw&APw-rfe\"").as_deref(),
            Some("Entwürfe")
        );
        assert_eq!(name("* LIST (\\NoSelect \\HasChildren) \"/\" a"), None);
        assert_eq!(name("* LSUB () \"/\" a"), None);
    }

    #[test]
    fn messages_as_servers_show_them() {
        let shown = response("* 3 FETCH (BODY[HEADER.FIELDS (X-LOAD-ID)] {4}\r\nX: y UID 7 FLAGS (\\Seen))");
        assert_eq!(fetched(&shown), Some((7, &b"X: y"[..])));
        assert_eq!(
            fetched(&response("* 3 FETCH (BODY[] \"\" UID 8)")),
            Some((8, &b""[..]))
        );
        assert_eq!(fetched(&response("* 3 FETCH (FLAGS (\\Seen) UID 8)")), None);
    }
}
