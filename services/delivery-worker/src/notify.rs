//! Notifications (RFC 3464): what the sender is told, and the units that carry it.
//!
//! A notification is content in the mail-store and a unit of the queue, whose id the queue has derived; the queue records
//! the outcome and takes the unit in one step. To an account of ours it is a local unit, to everyone else a remote one.

use bytes::Bytes;
use postrider_message::date::DateTime;
use postrider_message::header;
use postrider_message::notify::{Action, Original, Report, ReportedRecipient};
use postrider_message::trace::return_path;
use postrider_proto::directory::resolve_response::Kind as Resolved;
use postrider_proto::directory::{ResolveRequest, target};
use postrider_proto::mailstore::{PutMessageOptions, PutMessageRequest, put_message_request};
use postrider_proto::{Failure, Kind};
use postrider_queue::{
    Destination, LocalDelivery, NewUnit, Notice, NoticeKind, Notify, Priority, Recipient, RecipientState,
    Unit,
};
use postrider_types::{AccountId, Address, ContentId, DeliveryId, ReversePath, UnitId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::content::PIECE;
use crate::shared::Shared;

/// The most of the original that is read for its header.
const HEADER: u64 = 64 * 1024;

/// A kind's name in the journal.
pub fn kind_name(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Failed => "failed",
        NoticeKind::Delayed => "delayed",
        NoticeKind::Relayed => "relayed",
        NoticeKind::Delivered => "delivered",
    }
}

/// Makes the notifications that are due. None for a sender who is not there any more: nobody is left to be told.
pub async fn compose(shared: &Shared, unit: &Unit, notices: &[Notice]) -> Result<Vec<NewUnit>, Failure> {
    let Some(sender) = &unit.new.sender.0 else {
        return Ok(Vec::new());
    };
    let goes_to = destinations(shared, sender).await?;
    let mut units = Vec::new();
    if goes_to.is_empty() {
        return Ok(units);
    }
    for notice in notices {
        let message = store(shared, unit, notice, sender).await?;
        for (at, (destination, recipients)) in goes_to.iter().enumerate() {
            units.push(message.unit(unit, derived(notice.id, at), destination.clone(), recipients));
        }
    }
    Ok(units)
}

/// Where the sender's mail goes: with aliases followed, like all mail.
async fn destinations(
    shared: &Shared,
    sender: &Address,
) -> Result<Vec<(Destination, Vec<Recipient>)>, Failure> {
    let request = ResolveRequest {
        address: sender.to_string(),
    };
    let answer = shared.directory.clone().resolve(request).await?.into_inner();
    let remote = |address: Address| {
        let domain = address.domain().clone();
        (Destination::Remote(domain), vec![recipient(address, None)])
    };
    if answer.kind() == Resolved::Remote {
        return Ok(vec![remote(sender.clone())]);
    }
    let (mut local, mut all) = (Vec::new(), Vec::new());
    for to in answer.targets.into_iter().filter_map(|target| target.to) {
        match to {
            target::To::Local(to) => {
                let delivery = LocalDelivery {
                    account: AccountId::new(to.account),
                    delivery: DeliveryId::default(),
                    quota: to.quota,
                };
                let address = Address::new(&to.address).unwrap_or_else(|_| sender.clone());
                local.push(recipient(address, Some(delivery)));
            }
            target::To::Remote(to) => all.extend(Address::new(&to).ok().map(remote)),
        }
    }
    if !local.is_empty() {
        all.push((Destination::Local, local));
    }
    Ok(all)
}

fn recipient(address: Address, local: Option<LocalDelivery>) -> Recipient {
    Recipient {
        address,
        original: String::new(),
        // Nobody is told what became of a notification.
        notify: Notify {
            success: false,
            failure: false,
            delay: false,
        },
        state: RecipientState::Pending,
        last_reply: String::new(),
        local,
    }
}

/// A notification in the mail-store.
struct Stored {
    content: ContentId,
    size: u64,
    skip: u64,
    eight_bit: bool,
    utf8: bool,
    message_id: String,
}

impl Stored {
    fn unit(&self, about: &Unit, id: UnitId, destination: Destination, recipients: &[Recipient]) -> NewUnit {
        let mut recipients = recipients.to_vec();
        for (at, recipient) in recipients.iter_mut().enumerate() {
            if let Some(local) = &mut recipient.local {
                // The same in every repetition, so that no mailbox gets it twice.
                local.delivery = DeliveryId::from_bytes(*derived(id, at + 1).as_bytes());
            }
        }
        NewUnit {
            id,
            content: self.content,
            skip: self.skip,
            size: self.size,
            sender: ReversePath::NULL,
            destination,
            recipients,
            priority: Priority::Low,
            eight_bit: self.eight_bit,
            utf8: self.utf8,
            envelope_id: String::new(),
            return_full: false,
            submitter: None,
            trace: about.new.trace.clone(),
            message_id: self.message_id.clone(),
            not_before: 0,
        }
    }
}

/// The id of the `at`-th unit of a notification: its own for the first, and one that differs for each further.
fn derived(id: UnitId, at: usize) -> UnitId {
    let mut bytes = *id.as_bytes();
    let mixed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    bytes
        .iter_mut()
        .skip(8)
        .zip(mixed)
        .for_each(|(byte, mix)| *byte ^= mix);
    UnitId::from_bytes(bytes)
}

async fn store(shared: &Shared, unit: &Unit, notice: &Notice, sender: &Address) -> Result<Stored, Failure> {
    let new = &unit.new;
    let (beginning, there) = match shared
        .reader(new.content, new.skip, new.size)
        .read(new.skip, HEADER)
        .await
    {
        Ok(beginning) => (beginning, true),
        // The notification matters more than what it returns.
        Err(failure) if failure.kind == Kind::NotFound => (Bytes::new(), false),
        Err(failure) => return Err(failure),
    };
    let length = new.size.saturating_sub(new.skip);
    let full = notice.kind == NoticeKind::Failed
        && new.return_full
        && there
        && length <= shared.settings.limits.returned;
    let recipients: Vec<ReportedRecipient> = notice
        .recipients
        .iter()
        .filter_map(|at| new.recipients.get(usize::try_from(*at).ok()?))
        .map(|recipient| reported(unit, notice.kind, recipient))
        .collect();
    let unique = notice.id.to_string();
    let report = Report {
        host: shared.settings.hostname.as_str(),
        to: sender,
        unique: &unique,
        // A notification made again must be the same one.
        time: DateTime::utc(seconds(unit.last_attempt.max(unit.created))),
        arrival: seconds(unit.created),
        envelope_id: &new.envelope_id,
        message_id: &new.message_id,
        subject: &header::first(&beginning, "Subject").unwrap_or_default(),
        recipients: &recipients,
        original: if full {
            Original::Full {
                eight_bit: new.eight_bit,
                utf8: new.utf8,
            }
        } else {
            Original::Header(&beginning)
        },
    };
    let composed = report.compose();
    let front = return_path(&ReversePath::NULL).into_bytes();
    let skip = front.len() as u64;
    let original = if full { length } else { 0 };
    let size = skip + composed.head.len() as u64 + original + composed.tail.len() as u64;
    let content = put(
        shared,
        unit,
        [front, composed.head].concat(),
        original,
        composed.tail,
        size,
    )
    .await?;
    let message_id = format!("{unique}@{}", shared.settings.hostname);
    Ok(Stored {
        content,
        size,
        skip,
        eight_bit: composed.eight_bit,
        utf8: composed.utf8,
        message_id,
    })
}

/// Streams a notification in: what stands before the original, the original, what stands behind it.
async fn put(
    shared: &Shared,
    unit: &Unit,
    head: Vec<u8>,
    original: u64,
    tail: Vec<u8>,
    size: u64,
) -> Result<ContentId, Failure> {
    let (sender, requests) = mpsc::channel(1);
    let mut reader = shared.reader(unit.new.content, unit.new.skip, unit.new.skip + original);
    let feed = async move {
        let piece = |bytes: Bytes| PutMessageRequest {
            part: Some(put_message_request::Part::Chunk(bytes)),
        };
        let options = put_message_request::Part::Options(PutMessageOptions { max_size: size });
        let mut pieces: Vec<PutMessageRequest> = vec![PutMessageRequest { part: Some(options) }];
        let in_pieces = |bytes: Vec<u8>| {
            let bytes = Bytes::from(bytes);
            let step = PIECE as usize;
            (0..bytes.len())
                .step_by(step)
                .map(move |at| bytes.slice(at..bytes.len().min(at + step)))
        };
        pieces.extend(in_pieces(head).map(piece));
        for request in pieces {
            if sender.send(request).await.is_err() {
                return Ok(());
            }
        }
        loop {
            let bytes = reader.next().await?;
            if bytes.is_empty() {
                break;
            }
            if sender.send(piece(bytes)).await.is_err() {
                return Ok(());
            }
        }
        for bytes in in_pieces(tail) {
            let _ = sender.send(piece(bytes)).await;
        }
        Ok::<(), Failure>(())
    };
    let mut client = shared.store.clone();
    let store = async {
        let answer = client
            .put_message(ReceiverStream::new(requests))
            .await?
            .into_inner();
        let lost = || Failure::new(Kind::Internal, "the mail-store answered with an id that is none");
        ContentId::from_slice(&answer.content_id)
            .ok_or_else(lost)
            .map(|content| (content, answer.size))
    };
    let (fed, stored) = tokio::join!(feed, store);
    fed?;
    let (content, stored) = stored?;
    if stored != size {
        return Err(Failure::new(
            Kind::Internal,
            format!("{stored} octets of a notification were stored, not {size}"),
        ));
    }
    Ok(content)
}

fn reported(unit: &Unit, kind: NoticeKind, recipient: &Recipient) -> ReportedRecipient {
    let said = Said::parse(&recipient.last_reply);
    ReportedRecipient {
        address: recipient.address.clone(),
        original: recipient.original.clone(),
        action: match kind {
            NoticeKind::Failed => Action::Failed,
            NoticeKind::Delayed => Action::Delayed,
            NoticeKind::Relayed => Action::Relayed,
            NoticeKind::Delivered => Action::Delivered,
        },
        status: said.status,
        remote: said.host,
        reply: said.reply,
        is_smtp_reply: said.is_smtp,
        attempts: unit.attempts,
        last_attempt: (unit.last_attempt > 0).then(|| seconds(unit.last_attempt)),
        retry_until: Some(seconds(unit.expires)),
    }
}

/// A recipient's last reply, taken apart: `host: reply`, or our own words with a status in front.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    host: String,
    status: String,
    reply: String,
    is_smtp: bool,
}

impl Said {
    fn parse(text: &str) -> Self {
        let last = text
            .strip_prefix("given up")
            .and_then(|rest| rest.split_once("; last: "))
            .map_or(text, |(_, last)| last);
        let is_status = |word: &str| {
            let mut parts = word.split('.');
            let number =
                |part: Option<&str>| part.is_some_and(|part| part.len() <= 3 && part.parse::<u16>().is_ok());
            number(parts.next()) && number(parts.next()) && number(parts.next()) && parts.next().is_none()
        };
        let is_code = |word: &str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
        let first = |text: &str| text.split([' ', '-']).next().unwrap_or_default().to_owned();
        if let Some((host, reply)) = last.split_once(": ").filter(|(host, _)| !host.contains(' ')) {
            let word = first(reply);
            if is_code(&word) {
                return Self {
                    host: host.into(),
                    status: String::new(),
                    reply: reply.into(),
                    is_smtp: true,
                };
            }
            if is_status(&word) {
                let reply = reply.get(word.len() + 1..).unwrap_or_default().to_owned();
                return Self {
                    host: host.into(),
                    status: word,
                    reply,
                    is_smtp: false,
                };
            }
        }
        // Our own words: `556 5.1.10 …` or `5.1.2 …`.
        let rest = last.strip_prefix("556 ").unwrap_or(last);
        let word = first(rest);
        match is_status(&word) {
            true => {
                let reply = rest.get(word.len() + 1..).unwrap_or_default().to_owned();
                Self {
                    host: String::new(),
                    status: word,
                    reply,
                    is_smtp: false,
                }
            }
            false => Self {
                host: String::new(),
                status: String::new(),
                reply: last.into(),
                is_smtp: false,
            },
        }
    }
}

fn seconds(millis: u64) -> i64 {
    i64::try_from(millis / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_replies_are_taken_apart() {
        let said = |text: &str| {
            let said = Said::parse(text);
            (said.host, said.status, said.reply, said.is_smtp)
        };
        let is =
            |host: &str, status: &str, reply: &str, smtp| (host.into(), status.into(), reply.into(), smtp);
        assert_eq!(
            said("mx.a.example: 550 5.1.1 no"),
            is("mx.a.example", "", "550 5.1.1 no", true)
        );
        assert_eq!(
            said("given up after 5 days; last: mx.a.example: 451 4.3.0 later"),
            is("mx.a.example", "", "451 4.3.0 later", true)
        );
        assert_eq!(
            said("mx.a.example: 4.4.2 no answer in time"),
            is("mx.a.example", "4.4.2", "no answer in time", false)
        );
        assert_eq!(
            said("5.1.2 the domain x does not exist"),
            is("", "5.1.2", "the domain x does not exist", false)
        );
        assert_eq!(said("556 5.1.10 null MX"), is("", "5.1.10", "null MX", false));
        assert_eq!(said(""), is("", "", "", false));
        assert_eq!(said("é"), is("", "", "é", false));
    }

    #[test]
    fn each_unit_of_a_notification_has_its_own_id() {
        let id = UnitId::generate();
        assert_eq!(derived(id, 0), id);
        let all: std::collections::HashSet<UnitId> = (0..100).map(|at| derived(id, at)).collect();
        assert_eq!(all.len(), 100);
        assert_eq!(derived(id, 7).as_bytes()[..6], id.as_bytes()[..6]);
    }
}
