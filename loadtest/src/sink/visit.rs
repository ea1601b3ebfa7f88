//! One client's visit: the protocol's server half, answered as the rules say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postrider_smtp::server::{Config, Event, MessageEnd, Server};
use postrider_smtp::{Direction, Enhanced, Mail, Observer, Reply};
use postrider_wire::{Session, Step};
use tokio::time::sleep;

use super::Shared;
use super::hello;
use super::letter::Letter;
use super::plan::{Answer, Dice, Manner};
use super::record::{Received, count, epoch_micros};
use super::rules::{Extension, Stage, TlsMode};
use super::wire::{Filled, Wire};
use crate::ledger::{MessageId, Place, Sighting, SinkEntry};

/// A client and what it does here.
pub(super) struct Visit {
    shared: Arc<Shared>,
    listener: SocketAddr,
    client: SocketAddr,
    manner: Manner,
    dice: Dice,
    server: Server,
    heard: Arc<Heard>,
    output: BytesMut,
    letter: Option<Letter>,
    /// What was answered 250 last, and how many lines had been heard by then: if none follows, nobody knows whether the
    /// client has read the answer.
    last: Option<(Vec<Sighting>, u64)>,
}

/// What the observer has heard.
#[derive(Debug, Default)]
struct Heard {
    /// Command lines.
    lines: AtomicU64,
    /// How many of them were EHLO or HELO.
    hellos: AtomicU64,
}

/// What becomes of the connection after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    /// Say what is to be said, then close.
    Close,
    /// Without a word.
    Vanish,
}

impl Visit {
    pub(super) fn new(
        shared: Arc<Shared>,
        listener: SocketAddr,
        client: SocketAddr,
        manner: Manner,
        dice: Dice,
    ) -> Self {
        let mut config = Config {
            hostname: shared.plan.rules().hostname.clone(),
            starttls: manner.tls != TlsMode::None,
            ..Config::default()
        };
        config.limits.transactions = 100_000;
        let mut server = Server::new(Arc::new(config), false);
        let heard = Arc::new(Heard::default());
        server.observe(Box::new(Ear(heard.clone())));
        Self {
            shared,
            listener,
            client,
            manner,
            dice,
            server,
            heard,
            output: BytesMut::new(),
            letter: None,
            last: None,
        }
    }

    /// Plays the whole visit.
    pub(super) async fn play(mut self, mut wire: Wire) {
        let then = self.converse(&mut wire).await;
        self.doubt();
        match then {
            Then::Vanish => wire.vanish(),
            Then::GoOn | Then::Close => {
                // The peer may be gone; it does not hear the last word then.
                let _ = wire.flush(&mut self.output).await;
                wire.close().await;
            }
        }
    }

    async fn converse(&mut self, wire: &mut Wire) -> Then {
        let greeting = self.answer(Stage::Greeting);
        sleep_some(greeting.delay).await;
        if let Some(refusal) = greeting.refusal {
            self.count_refusal(&refusal);
            refusal.encode(false, &mut self.output);
            return Then::Close;
        }
        let mut input = BytesMut::new();
        let mut stopping = Some(self.shared.stop.clone());
        let mut hellos = 0;
        loop {
            let step = self.server.step(Instant::now(), &mut input, &mut self.output);
            if self.heard.hellos.load(Ordering::Relaxed) != hellos {
                hellos = self.heard.hellos.load(Ordering::Relaxed);
                if self.hello().await == Then::Close {
                    return Then::Close;
                }
            }
            match step {
                Step::Event(event) => match self.event(event, wire).await {
                    Then::GoOn => {}
                    other => return other,
                },
                Step::NeedInput => {
                    if wire.flush(&mut self.output).await.is_err() {
                        return Then::Vanish;
                    }
                    let deadline = self.server.deadline();
                    match wire.fill(&mut input, deadline, stopping.as_ref()).await {
                        Filled::Go => {}
                        Filled::Closed => self.server.input_closed(),
                        Filled::Stopping => {
                            stopping = None;
                            self.server.drain();
                        }
                    }
                }
                Step::StartTls => {
                    input.clear();
                    if self.start_tls(wire).await == Then::Vanish {
                        return Then::Vanish;
                    }
                }
                // Every question is answered at once, so nothing is ever waited for.
                Step::Waiting | Step::Close => return Then::Close,
            }
        }
    }

    async fn start_tls(&mut self, wire: &mut Wire) -> Then {
        let flushed = wire.flush(&mut self.output).await;
        let acceptor = self.shared.identity.as_ref().map(|identity| identity.acceptor());
        match (flushed, acceptor) {
            (Ok(()), Some(acceptor)) if self.manner.tls != TlsMode::Broken => {
                if wire.start_tls(&acceptor).await.is_err() {
                    return Then::Vanish;
                }
                self.server.tls_started();
                Then::GoOn
            }
            _ => Then::Vanish,
        }
    }

    /// EHLO or HELO was said, and its answer is the last in the output.
    async fn hello(&mut self) -> Then {
        let answer = self.answer(Stage::Ehlo);
        sleep_some(answer.delay).await;
        match answer.refusal {
            Some(refusal) => {
                self.count_refusal(&refusal);
                hello::replace(&mut self.output, &refusal);
                if refusal.code == 421 {
                    Then::Close
                } else {
                    Then::GoOn
                }
            }
            None => {
                hello::leave_out(&mut self.output, &self.manner.without);
                Then::GoOn
            }
        }
    }

    async fn event(&mut self, event: Event, wire: &mut Wire) -> Then {
        match event {
            Event::Mail(mail) => self.mail(mail, wire).await,
            Event::Rcpt(rcpt) => self.rcpt(rcpt.to.to_string(), wire).await,
            Event::Data => self.data(wire).await,
            Event::Chunk(piece) => self.chunk(&piece),
            Event::MessageEnd(end) => self.message_end(end, wire).await,
            Event::Aborted(_) => {
                self.letter = None;
                Then::GoOn
            }
            // AUTH is not offered.
            Event::Password { .. }
            | Event::Verifier { .. }
            | Event::Authenticated { .. }
            | Event::AuthenticationFailed => Then::Close,
        }
    }

    async fn mail(&mut self, mail: Mail, wire: &mut Wire) -> Then {
        let answer = self.answer(Stage::Mail);
        let sender = mail.reverse_path.0.as_ref().map(ToString::to_string);
        let reply = if self.manner.tls == TlsMode::Required && !self.server.is_tls() {
            Reply::new(530, Enhanced(5, 7, 0), "Must issue a STARTTLS command first")
        } else {
            answer
                .refusal
                .unwrap_or_else(|| Reply::sender_ok(&mail.reverse_path))
        };
        if reply.is_positive() {
            let keeper = self.keeps().then(|| self.shared.clone());
            self.letter = Some(Letter::new(sender.unwrap_or_default(), mail.size, keeper));
        }
        self.say(reply, answer.delay, wire).await
    }

    async fn rcpt(&mut self, recipient: String, wire: &mut Wire) -> Then {
        let about = [recipient];
        let answer = Self::roll(&self.shared, Stage::Rcpt, self.listener, &about, &mut self.dice);
        let [recipient] = about;
        let Some(letter) = &mut self.letter else {
            return Then::Close;
        };
        let puts_off = |after| {
            let (greylist, now) = (&self.shared.greylist, Instant::now());
            greylist.puts_off(&letter.sender, &recipient, self.client.ip(), after, now)
        };
        let reply = match answer.refusal {
            Some(refusal) => refusal,
            None if answer.greylist.is_some_and(puts_off) => {
                Reply::new(451, Enhanced(4, 7, 1), "Greylisted, please try again later")
            }
            None => Reply::new(250, Enhanced(2, 1, 5), "Recipient ok"),
        };
        if reply.is_positive() {
            letter.recipients.push(recipient);
        } else if reply.is_permanent() && self.refused(recipient, None, &reply).is_err() {
            return Then::Vanish;
        }
        self.say(reply, answer.delay, wire).await
    }

    async fn data(&mut self, wire: &mut Wire) -> Then {
        let answer = self.answer(Stage::Data);
        if let Some(letter) = self.letter.as_mut().filter(|_| answer.drop) {
            // Half of it, when it is known how much that is.
            letter.drop_at = Some(letter.size.unwrap_or_default() / 2);
        }
        let reply = answer.refusal.unwrap_or_else(Reply::start_mail_input);
        self.say(reply, answer.delay, wire).await
    }

    fn chunk(&mut self, piece: &[u8]) -> Then {
        let Some(letter) = &mut self.letter else {
            return Then::GoOn;
        };
        letter.push(piece);
        if letter.is_cut() { Then::Vanish } else { Then::GoOn }
    }

    async fn message_end(&mut self, end: MessageEnd, wire: &mut Wire) -> Then {
        let answer = self.answer(Stage::Dot);
        if !answer.delay.is_zero() {
            // Whoever waits here has not been answered: only what is written down below has been received.
            if wire.flush(&mut self.output).await.is_err() {
                return Then::Vanish;
            }
            sleep(answer.delay).await;
        }
        let Some(letter) = self.letter.take() else {
            return Then::Close;
        };
        if letter.drop_at.is_some() {
            return Then::Vanish;
        }
        if end.eight_bit && self.manner.without.contains(&Extension::EightBitMime) {
            // The client's own fault, so it is not written down as a refusal: its message counts as lost.
            let reply = Reply::new(554, Enhanced(5, 6, 1), "Body type not supported by remote host");
            return self.say(reply, Duration::ZERO, wire).await;
        }
        let (recipients, received) = (letter.recipients.clone(), letter.received);
        let (id, sightings) = letter.sightings(&self.shared, !answer.drop);
        if let Some(refusal) = answer.refusal {
            if refusal.is_permanent() {
                for recipient in recipients {
                    if self.refused(recipient, id, &refusal).is_err() {
                        return Then::Vanish;
                    }
                }
            }
            return self.say(refusal, Duration::ZERO, wire).await;
        }
        if let Err(error) = self.shared.record.seen(sightings.iter().cloned()) {
            tracing::error!("cannot write the sink's record: {error}");
            let reply = Reply::new(451, Enhanced(4, 3, 0), "cannot write this down");
            return self.say(reply, Duration::ZERO, wire).await;
        }
        self.received(Received {
            id,
            recipients,
            size: received,
            at: Instant::now(),
            answered: !answer.drop,
        });
        if answer.drop {
            return Then::Vanish;
        }
        self.last = Some((sightings, self.heard.lines.load(Ordering::Relaxed)));
        let reply = Reply::new(250, Enhanced(2, 0, 0), "Message accepted for delivery");
        self.say(reply, Duration::ZERO, wire).await
    }

    /// Counts a message, and tells whoever watches.
    fn received(&self, received: Received) {
        let counters = &self.shared.counters;
        if received.answered {
            count(&counters.messages, 1);
            count(&counters.copies, received.recipients.len() as u64);
        } else {
            count(&counters.unanswered, 1);
        }
        if let Some(watch) = &self.shared.watch {
            watch(&received);
        }
    }

    fn refused(&self, recipient: String, message: Option<MessageId>, reply: &Reply) -> std::io::Result<()> {
        let written = self.shared.record.refused(SinkEntry::Refused {
            recipient,
            message,
            reply: reply.to_string(),
            when: epoch_micros(),
        });
        if let Err(error) = &written {
            tracing::error!("cannot write the sink's record: {error}");
        }
        written
    }

    /// A client that says nothing more after a 250 may not have read it: then it sends the message again, rightly.
    fn doubt(&mut self) {
        let lines = self.heard.lines.load(Ordering::Relaxed);
        let Some((sightings, _)) = self.last.take().filter(|(_, heard)| *heard == lines) else {
            return;
        };
        let doubted = sightings.into_iter().map(|mut sighting| {
            if let Place::Sink { answered, .. } = &mut sighting.place {
                *answered = false;
            }
            sighting
        });
        if let Err(error) = self.shared.record.seen(doubted) {
            tracing::error!("cannot write the sink's record: {error}");
        }
    }

    /// Answers what was asked, after a while.
    async fn say(&mut self, reply: Reply, delay: Duration, wire: &mut Wire) -> Then {
        if !delay.is_zero() {
            if wire.flush(&mut self.output).await.is_err() {
                return Then::Vanish;
            }
            sleep(delay).await;
        }
        self.count_refusal(&reply);
        if reply.code == 421 {
            // RFC 5321 §3.8: who says it closes.
            reply.encode(self.server.is_extended(), &mut self.output);
            return Then::Close;
        }
        self.server.answer(reply);
        Then::GoOn
    }

    fn count_refusal(&self, reply: &Reply) {
        match reply.code / 100 {
            4 => count(&self.shared.counters.deferred, 1),
            5 => count(&self.shared.counters.refused, 1),
            _ => 0,
        };
    }

    /// How an answer about the letter, or the connection, is given.
    fn answer(&mut self, stage: Stage) -> Answer {
        let recipients = self.letter.as_ref().map(|letter| letter.recipients.as_slice());
        let recipients = recipients.unwrap_or_default();
        Self::roll(&self.shared, stage, self.listener, recipients, &mut self.dice)
    }

    fn roll(
        shared: &Shared,
        stage: Stage,
        listener: SocketAddr,
        recipients: &[String],
        dice: &mut Dice,
    ) -> Answer {
        shared.plan.answer(stage, listener, recipients, dice)
    }

    /// Whether clients may have to convert messages for this connection.
    fn keeps(&self) -> bool {
        let converts = [Extension::EightBitMime, Extension::SmtpUtf8];
        converts
            .iter()
            .any(|extension| self.manner.without.contains(extension))
    }
}

/// Counts what the client says.
struct Ear(Arc<Heard>);

impl Observer for Ear {
    fn line(&mut self, direction: Direction, line: &[u8]) {
        if direction == Direction::Sent {
            return;
        }
        self.0.lines.fetch_add(1, Ordering::Relaxed);
        let verb = line.get(..4).unwrap_or_default();
        if verb.eq_ignore_ascii_case(b"EHLO") || verb.eq_ignore_ascii_case(b"HELO") {
            self.0.hellos.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn sleep_some(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
