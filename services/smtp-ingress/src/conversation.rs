//! One connection: acts on what its SMTP session asks.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_message::trace::Protocol;
use postrider_proto::directory::resolve_response::Kind as Meaning;
use postrider_queue::Notify;
use postrider_runtime::{Handler, Peer, Port, Trace};
use postrider_smtp::server::{Event, MessageEnd, Server};
use postrider_smtp::{ForwardPath, Mail, Rcpt, Reply};
use postrider_types::{Address, UnitId};
use tracing::Instrument;

use crate::accept::{Message, millis, refusal};
use crate::authenticate::{Account, Candidate, Gate};
use crate::content::{Collected, Collector, Tools};
use crate::header::{Completion, Origin, Stamp};
use crate::identity::Seed;
use crate::listener::{Ingress, Kind};
use crate::metrics::{METRICS, outcome};
use crate::plan::Envelope;
use crate::recipients::{NotAdded, Recipient, Recipients};
use crate::replies;

/// What acts for one connection.
pub struct Conversation {
    ingress: Arc<Ingress>,
    kind: Kind,
    peer: Peer,
    account: Option<Account>,
    candidate: Option<Box<Candidate>>,
    transaction: Option<Box<Transaction>>,
}

/// A message on its way in.
struct Transaction {
    mail: Mail,
    recipients: Recipients,
    content: Option<Collector>,
    seed: Seed,
    trace: Trace,
}

impl Conversation {
    pub(crate) fn new(ingress: Arc<Ingress>, kind: Kind, peer: Peer) -> Self {
        Self {
            ingress,
            kind,
            peer,
            account: None,
            candidate: None,
            transaction: None,
        }
    }

    fn peer_ip(&self) -> IpAddr {
        self.peer.address.ip().to_canonical()
    }

    fn gate(&self) -> Gate<'_> {
        Gate {
            directory: &self.ingress.directory,
            counters: &*self.ingress.counters,
            rates: &self.ingress.config.rates,
            peer: self.peer_ip(),
        }
    }

    /// May a transaction begin?
    async fn mail(&mut self, mail: Mail) -> Reply {
        let reply = match (&self.account, &mail.reverse_path.0) {
            (Some(account), address) => self.may_submit(account, address.as_ref()).await,
            (None, _) => self.may_deliver().await,
        };
        if let Some(reply) = reply {
            return reply;
        }
        let ok = Reply::sender_ok(&mail.reverse_path);
        self.transaction = Some(Box::new(Transaction {
            mail,
            recipients: Recipients::default(),
            content: None,
            seed: Seed::generate(),
            trace: Trace::begin(),
        }));
        ok
    }

    /// Why an account may not submit with an address now. The null path is for notifications of user agents (RFC 8098 §3).
    async fn may_submit(&self, account: &Account, address: Option<&Address>) -> Option<Reply> {
        let most = self.ingress.config.rates.submitted_per_hour;
        if most > 0
            && self
                .ingress
                .counters
                .get(&submitted_key(account))
                .await
                .is_ok_and(|count| count >= most)
        {
            return Some(replies::too_fast());
        }
        match address {
            Some(address) if *address != account.address => {
                match self.ingress.directory.may_send_as(account.id, address).await {
                    Ok(true) => None,
                    Ok(false) => Some(replies::not_your_address()),
                    Err(failure) => Some(away(&failure)),
                }
            }
            _ => None,
        }
    }

    /// Why another server may not deliver now.
    async fn may_deliver(&self) -> Option<Reply> {
        let most = self.ingress.config.rates.received_per_minute;
        if most == 0 {
            return None;
        }
        let key = format!("received:{}", self.peer_ip());
        let count = self.ingress.counters.add(&key, 1, Duration::from_secs(60)).await;
        count.is_ok_and(|count| count > most).then(replies::too_fast)
    }

    async fn rcpt(&mut self, rcpt: Rcpt) -> Reply {
        let may_relay = self.account.is_some();
        let Some(transaction) = &mut self.transaction else {
            return replies::try_later();
        };
        let reply = match add(&self.ingress, &mut transaction.recipients, &rcpt, may_relay).await {
            Ok(()) => Reply::recipient_ok(&rcpt.to),
            Err(reply) => {
                let (sender, trace) = (&transaction.mail.reverse_path, &transaction.trace);
                let detail = format!(
                    "{} from {}: {reply}",
                    self.kind.name(),
                    self.peer.address.ip().to_canonical()
                );
                self.ingress
                    .acceptor
                    .note_refused(sender, rcpt.to.to_string(), trace, detail);
                reply
            }
        };
        METRICS.recipient(self.kind.name(), reply.code);
        reply
    }

    fn origin(&self, session: &Server, port: &dyn Port) -> Origin {
        Origin {
            helo: session.hello().unwrap_or_default().to_owned(),
            ip: Some(self.peer_ip()),
            protocol: Protocol {
                extended: session.is_extended(),
                tls: session.is_tls(),
                authenticated: self.account.is_some(),
                utf8: self
                    .transaction
                    .as_ref()
                    .is_some_and(|transaction| transaction.mail.utf8),
            },
            tls: port.tls().map(|tls| format!("{} {}", tls.version, tls.cipher)),
        }
    }

    /// Makes room for the message. Waits a while when the budget is spent, since the client waits for 354; whoever would
    /// wait for longer than clients do (RFC 5321 §4.5.3.2.4) is told to come again.
    async fn data(&mut self, origin: Origin) -> Reply {
        let Some(transaction) = &mut self.transaction else {
            return replies::try_later();
        };
        let seconds = i64::try_from(millis() / 1000).unwrap_or_default();
        let stamp = Stamp {
            origin: &origin,
            by: &self.ingress.config.hostname,
            id: &transaction.seed.content().to_string(),
            sender: &transaction.mail.reverse_path,
            recipient: transaction.recipients.only(),
            seconds,
        };
        let completion = self.account.as_ref().map(|account| completion(account, seconds));
        let (trace, sender) = (transaction.trace, &transaction.mail.reverse_path);
        let collector = Collector::begin(
            self.ingress.tools(),
            trace,
            sender,
            &transaction.recipients,
            stamp.top(),
            completion,
            transaction.mail.size,
        );
        match tokio::time::timeout(self.ingress.config.timeouts.storage, collector).await {
            Ok(collector) => transaction.content = Some(collector),
            Err(_) => return replies::no_room(),
        }
        Reply::start_mail_input()
    }

    async fn chunk(&mut self, piece: Bytes) {
        if let Some(content) = self
            .transaction
            .as_mut()
            .and_then(|transaction| transaction.content.as_mut())
        {
            content.push(piece).await;
        }
    }

    /// The message is whole: takes it, or says why not.
    async fn message_end(&mut self, end: MessageEnd) -> Reply {
        let Some(transaction) = self.transaction.take() else {
            return replies::try_later();
        };
        let begun = Instant::now();
        let (span, trace) = transaction
            .trace
            .span(|| tracing::info_span!("accept", listener = self.kind.name(), size = end.size));
        let incoming = Incoming {
            mail: transaction.mail,
            recipients: transaction.recipients,
            seed: transaction.seed,
            eight_bit: end.eight_bit,
            submitter: self.account.as_ref(),
            trace,
            detail: format!("{} from {}", self.kind.name(), self.peer_ip()),
        };
        let reply = match transaction.content {
            Some(content) => match Box::pin(take(&self.ingress, content, incoming))
                .instrument(span)
                .await
            {
                Ok(id) => replies::accepted(&id),
                Err(reply) => reply,
            },
            None => replies::try_later(),
        };
        METRICS.message(
            self.kind.name(),
            outcome(reply.code),
            end.size,
            begun.elapsed().as_secs_f64(),
        );
        reply
    }

    async fn password(&mut self, user: String, password: postrider_types::Secret, session: &mut Server) {
        let (check, candidate) = self.gate().password(user, &password).await;
        self.candidate = Some(Box::new(candidate));
        session.password_checked(check);
    }

    async fn verifier(&mut self, user: String, session: &mut Server) {
        let (verifier, candidate) = self.gate().verifier(user).await;
        self.candidate = Some(Box::new(candidate));
        session.verifier(verifier);
    }
}

impl Handler<Server> for Conversation {
    type Outside = ();

    async fn event(&mut self, session: &mut Server, event: Event, port: &mut dyn Port) -> io::Result<()> {
        match event {
            Event::Mail(mail) => session.answer(self.mail(mail).await),
            Event::Rcpt(rcpt) => session.answer(self.rcpt(rcpt).await),
            Event::Data => {
                let origin = self.origin(session, port);
                session.answer(self.data(origin).await);
            }
            Event::Chunk(piece) => self.chunk(piece).await,
            Event::MessageEnd(end) => session.answer(self.message_end(end).await),
            Event::Aborted(_) => self.transaction = None,
            Event::Password { user, password } => self.password(user, password, session).await,
            Event::Verifier { user } => self.verifier(user, session).await,
            Event::Authenticated { .. } => {
                let candidate = self.candidate.take().unwrap_or_default();
                self.account = self.gate().succeeded(*candidate);
                if self.account.is_none() {
                    return Err(io::Error::other(
                        "the directory let in somebody without an address",
                    ));
                }
            }
            Event::AuthenticationFailed => {
                let candidate = self.candidate.take().unwrap_or_default();
                self.gate().failed(*candidate).await;
            }
        }
        Ok(())
    }

    fn drain(&mut self, session: &mut Server) {
        session.drain();
    }
}

impl Ingress {
    /// What a collector works with.
    pub(crate) fn tools(&self) -> Tools<'_> {
        Tools {
            store: &self.store,
            config: &self.config,
            budget: &self.budget,
        }
    }
}

/// A message whose content is whole.
pub(crate) struct Incoming<'a> {
    pub mail: Mail,
    pub recipients: Recipients,
    pub seed: Seed,
    pub eight_bit: bool,
    pub submitter: Option<&'a Account>,
    pub trace: Trace,
    pub detail: String,
}

/// What submission adds to a message that lacks it (RFC 6409 §8).
pub(crate) fn completion(account: &Account, seconds: i64) -> Completion {
    Completion {
        sender: account.address.clone(),
        host: account.address.domain().as_str().to_owned(),
        unique: UnitId::generate().to_string(),
        seconds,
    }
}

/// Adds what a recipient means, or says why it is refused.
pub(crate) async fn add(
    ingress: &Ingress,
    recipients: &mut Recipients,
    rcpt: &Rcpt,
    may_relay: bool,
) -> Result<(), Reply> {
    let (name, address) = match &rcpt.to {
        ForwardPath::Postmaster => ("postmaster".to_owned(), None),
        ForwardPath::Address(address) => (address.to_string(), Some(address)),
    };
    let resolved = ingress
        .directory
        .resolve(&name)
        .await
        .map_err(|failure| away(&failure))?;
    let notify = rcpt.notify.map_or_else(Notify::default, |wanted| Notify {
        success: wanted.success,
        failure: wanted.failure,
        delay: wanted.delay,
    });
    let given = |address: Address| Recipient {
        address,
        original: rcpt.orcpt.clone().unwrap_or_default(),
        notify,
    };
    let added = match (resolved.kind(), address) {
        (Meaning::Local, address) => {
            let elsewhere = resolved
                .targets
                .iter()
                .any(|target| matches!(target.to, Some(postrider_proto::directory::target::To::Remote(_))));
            if elsewhere && ingress.acceptor.queue_is_away() {
                return Err(replies::try_later());
            }
            let own = || Address::new(&format!("postmaster@{}", ingress.config.hostname)).ok();
            let address = address.cloned().or_else(own).ok_or_else(replies::unknown_user)?;
            recipients.add_resolved(&given(address), &resolved)
        }
        (Meaning::Remote, Some(address)) if may_relay => {
            if ingress.acceptor.queue_is_away() {
                return Err(replies::try_later());
            }
            recipients.add_remote(given(address.clone()))
        }
        (Meaning::Remote, _) => return Err(replies::no_relay()),
        (Meaning::UnknownUser, _) => return Err(replies::unknown_user()),
        (Meaning::Disabled, _) => return Err(replies::disabled()),
        (Meaning::Unspecified, _) => return Err(replies::try_later()),
    };
    added.map_err(|why| match why {
        NotAdded::TooMany => replies::too_many_targets(),
        NotAdded::NoTarget => replies::try_later(),
    })
}

/// Takes a whole message: looks at its header, then accepts it. The id it is known by.
pub(crate) async fn take(
    ingress: &Ingress,
    mut content: Collector,
    incoming: Incoming<'_>,
) -> Result<String, Reply> {
    let facts = content.facts();
    if facts.received >= ingress.config.received_lines {
        return Err(replies::loops());
    }
    if let Some(account) = incoming.submitter.filter(|_| ingress.config.check_authors) {
        for author in facts.authors.iter().filter(|author| **author != account.address) {
            match ingress.directory.may_send_as(account.id, author).await {
                Ok(true) => {}
                Ok(false) => return Err(replies::not_your_name()),
                Err(failure) => return Err(away(&failure)),
            }
        }
    }
    let Collected {
        content,
        size,
        skip,
        fingerprint,
        facts,
        reservations,
    } = content.finish().await.map_err(|failure| {
        tracing::warn!(%failure, "a message could not be stored");
        refusal(&failure)
    })?;
    let Incoming {
        mail,
        recipients,
        seed,
        eight_bit,
        submitter,
        trace,
        detail,
    } = incoming;
    let sender_utf8 = mail
        .reverse_path
        .0
        .as_ref()
        .is_some_and(|address| !address.is_ascii());
    let envelope = Envelope {
        size,
        skip,
        eight_bit,
        utf8: facts.eight_bit || sender_utf8 || recipients.need_utf8(),
        envid: mail.envid.unwrap_or_default(),
        ret: mail.ret,
        submitter: submitter.map(|account| account.id),
        traceparent: trace.to_string(),
        message_id: facts.message_id,
        sender: mail.reverse_path,
    };
    let count = recipients.count() as u64;
    let message = Message {
        content,
        envelope,
        fingerprint,
        seed,
        trace,
        detail,
    };
    let accepted = ingress.acceptor.accept(message, recipients).await?;
    drop(reservations);
    if let Some(account) = submitter {
        // Without counters there is no limit.
        let _ = ingress
            .counters
            .add(&submitted_key(account), count, Duration::from_secs(3600))
            .await;
    }
    Ok(accepted.content.to_string())
}

pub(crate) fn submitted_key(account: &Account) -> String {
    format!("submitted:{}", account.id)
}

/// The directory is away, or does not understand.
fn away(failure: &postrider_proto::Failure) -> Reply {
    tracing::warn!(%failure, "the directory gave no answer");
    replies::try_later()
}
