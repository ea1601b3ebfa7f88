//! SORT and UID SORT (RFC 5256, RFC 5267 §3).
//!
//! Texts are compared with their case taken away character by character, which is what i;unicode-casemap (RFC 5051) does
//! for most scripts.

use std::cmp::Ordering;

use postrider_imap::command::{Sort, SortField, SortKey};
use postrider_imap::response::{self, ESearch, Numbers};
use postrider_imap::thread::base_subject;
use postrider_index::UidSet;
use postrider_message::{EnvelopeAddress, Summary, word};
use postrider_proto::mailstore::MessageRow;
use postrider_types::{Uid, Version};

use super::Exec;
use crate::answer::{Answer, Outcome, Stop};

/// One message, with what it is sorted by.
struct Sortable {
    uid: Uid,
    values: Vec<Value>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(Box<str>),
}

impl Exec<'_> {
    pub(super) async fn sort(&mut self, sort: Sort) -> Outcome {
        let found = self.find(&sort.search).await?;
        let order = self.sorted(&sort.keys, &found.uids).await?;
        let view = &self.mailbox()?.view;
        let numbers: Vec<u32> = order
            .iter()
            .filter_map(|uid| {
                if sort.uid {
                    Some(uid.0)
                } else {
                    view.sequence(*uid)
                }
            })
            .collect();
        let Some(returns) = sort.returns else {
            response::sort(self.port.output(), numbers.iter().copied(), found.modseq);
            return Ok(Answer::ok("SORT completed"));
        };
        if returns.save {
            self.mailbox()?.view.save(found.uids.clone());
        }
        if returns.min || returns.max || returns.all || returns.count {
            let answer = ESearch {
                uid: sort.uid,
                min: numbers.first().copied().filter(|_| returns.min),
                max: numbers.last().copied().filter(|_| returns.max),
                count: returns
                    .count
                    .then_some(u32::try_from(numbers.len()).unwrap_or(u32::MAX)),
                all: returns.all.then_some(Numbers::List(&numbers)),
                modseq: found.modseq,
            };
            response::esearch(self.port.output(), self.session.tag(), answer);
        }
        Ok(Answer::ok("SORT completed"))
    }

    /// The messages in order. Takes memory in the order of the answer.
    async fn sorted(&mut self, keys: &[SortKey], uids: &UidSet) -> Result<Vec<Uid>, Stop> {
        let described = keys
            .iter()
            .any(|key| !matches!(key.field, SortField::Arrival | SortField::Size));
        let mut messages = Vec::new();
        self.each_row(uids, described, |row, summary| {
            messages.push(Sortable {
                uid: Uid(row.uid),
                values: keys.iter().map(|key| value(key.field, row, summary)).collect(),
            });
        })
        .await?;
        messages.sort_by(|a, b| compare(keys, a, b));
        Ok(messages.into_iter().map(|message| message.uid).collect())
    }

    /// Shows every message that is still there, with its summary if it is wanted; ascending.
    pub(super) async fn each_row(
        &mut self,
        uids: &UidSet,
        described: bool,
        mut look: impl FnMut(&MessageRow, &Summary),
    ) -> Result<(), Stop> {
        if uids.is_empty() {
            return Ok(());
        }
        let selected = self.mailbox()?;
        let (account, folder) = (selected.folder.account, selected.folder.id);
        let mut pieces = self
            .shared
            .store
            .messages(account, folder, uids, Version(0), described)
            .await?;
        let unknown = Summary::default();
        while let Some(piece) = pieces.next().await? {
            for row in &piece.messages {
                // A damaged description sorts as an empty one.
                let summary = described
                    .then(|| Summary::decode(&row.description).ok())
                    .flatten();
                look(row, summary.as_ref().unwrap_or(&unknown));
            }
            tokio::task::consume_budget().await;
        }
        Ok(())
    }
}

/// The sent date in UTC, or INTERNALDATE where it cannot be read; seconds (RFC 5256 §2.2).
pub(super) fn sent(row: &MessageRow, summary: &Summary) -> i64 {
    let sent = summary.envelope.sent().map(|date| date.seconds);
    sent.unwrap_or_else(|| i64::try_from(row.received / 1000).unwrap_or(i64::MAX))
}

fn value(field: SortField, row: &MessageRow, summary: &Summary) -> Value {
    let envelope = &summary.envelope;
    match field {
        SortField::Arrival => Value::Number(i64::try_from(row.received).unwrap_or(i64::MAX)),
        SortField::Size => Value::Number(i64::try_from(row.size).unwrap_or(i64::MAX)),
        SortField::Date => Value::Number(sent(row, summary)),
        SortField::From => first(&envelope.from),
        SortField::To => first(&envelope.to),
        SortField::Cc => first(&envelope.cc),
        SortField::Subject => {
            let subject = word::decode(envelope.subject.as_deref().unwrap_or_default());
            text(&base_subject(&subject).0)
        }
    }
}

/// The first address's local part (RFC 5256 §3).
fn first(addresses: &[EnvelopeAddress]) -> Value {
    let mailbox = addresses.first().and_then(|address| address.mailbox.as_deref());
    text(mailbox.unwrap_or_default())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_uppercase().into())
}

fn compare(keys: &[SortKey], a: &Sortable, b: &Sortable) -> Ordering {
    let by_keys = keys
        .iter()
        .zip(a.values.iter().zip(&b.values))
        .map(|(key, (a, b))| if key.reverse { b.cmp(a) } else { a.cmp(b) });
    by_keys
        .fold(Ordering::Equal, Ordering::then)
        .then(a.uid.cmp(&b.uid))
}
