//! One connection to one host, and the messages that go over it.
//!
//! ```text
//! connect ─▶ Ready ─▶ send the unit that caused the connection ─▶ Finished ─▶ Ready ─┐
//!               ▲                                                                    │ next unit of the site,
//!               └────────────────────────────────────────────────────────────────────┘ or nobody for a while: QUIT
//! ```
//! While the reply to a message is awaited the next unit that waits is begun behind it (`Ahead`), and its outcome is
//! recorded beside the connection: a message costs one round trip.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use postrider_queue::engine::WakeUp;
use postrider_queue::{Claim, Outcome};
use postrider_runtime::{Handler, Port};
use postrider_smtp::client::{Client, Event, Failure, Verdict};

use crate::attempt::{self, Attempt};
use crate::content::Source;
use crate::keep::Kept;
use crate::shared::{Shared, span};
use crate::site::Site;

/// Looks after one connection.
pub struct Conversation {
    shared: Arc<Shared>,
    site: Arc<Site>,
    /// The host's name, for people.
    host: String,
    /// What is special about the connection: its TLS, or why there is none.
    how: String,
    /// Claimed, and not begun yet.
    next: Option<Claim>,
    sending: Option<Sending>,
    /// Begun behind the one that is being sent, before the reply to that is there.
    following: Option<Sending>,
    state: Progress,
    begun: Instant,
    messages: usize,
    /// No more work is taken: the node is stopping, or QUIT was said.
    ending: bool,
}

/// How far a connection came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Greeting and EHLO are under way.
    Greeting,
    /// It served, or serves.
    Served,
    /// It is of no use.
    Failed(Failure),
}

/// A message on its way.
struct Sending {
    attempt: Attempt,
    /// Which one it is on this connection, from 1.
    number: usize,
    source: Source,
    kept: Kept,
    since: Instant,
    /// What went wrong on our side.
    trouble: Option<String>,
    _span: tracing::Span,
}

/// What happens beside the connection.
pub enum Outside {
    /// A unit for it.
    Work(WakeUp),
    /// Nothing for a while.
    Idle,
}

impl Conversation {
    /// Begins with a unit. `how`: what is known of the connection already.
    pub fn new(shared: Arc<Shared>, site: Arc<Site>, host: String, how: String, claim: Claim) -> Self {
        Self {
            shared,
            site,
            host,
            how,
            next: Some(claim),
            sending: None,
            following: None,
            state: Progress::Greeting,
            begun: Instant::now(),
            messages: 0,
            ending: false,
        }
    }

    /// How far it came.
    pub fn progress(&self) -> &Progress {
        &self.state
    }

    /// The unit that could not be begun.
    pub fn take_unbegun(&mut self) -> Option<Claim> {
        self.next.take()
    }

    /// The connection is over: hears what the session makes of it, so that no unit is left without an outcome.
    pub async fn close(&mut self, session: &mut Client) {
        use postrider_wire::{Session, Step};
        session.input_closed();
        let (mut input, mut output) = Default::default();
        // A few steps lead from every state to its end.
        for _ in 0..16 {
            match session.step(Instant::now(), &mut input, &mut output) {
                Step::Event(Event::Finished(outcome)) => self.finished(&outcome.verdicts).await,
                Step::Event(Event::Failed(failure)) => self.failed(failure),
                // It waits for content, or for work: neither comes any more.
                Step::Event(_) | Step::Waiting => session.abandon(),
                Step::NeedInput | Step::StartTls => {}
                Step::Close => break,
            }
        }
        self.finished(&[]).await;
        self.finished(&[]).await;
    }

    async fn ready(&mut self, session: &mut Client) {
        self.state = Progress::Served;
        if self.messages > 0 && !self.may_go_on(session) {
            return self.quit(session);
        }
        match self.next.take() {
            Some(claim) => self.begin(session, claim).await,
            None if self.ending => self.quit(session),
            // Work comes from outside, or the time for it passes.
            None => {}
        }
    }

    /// Whether one more message may go over the connection.
    fn may_go_on(&self, session: &Client) -> bool {
        let reuse = &self.shared.settings.reuse;
        let worn = self.messages >= reuse.messages.max(1) || self.begun.elapsed() > reuse.age;
        !worn && !self.ending && session.may_send_more() && self.site.may_go_on()
    }

    /// Begins the next message behind the one whose reply is awaited, if one waits.
    async fn ahead(&mut self, session: &mut Client, port: &mut dyn Port) -> io::Result<()> {
        if !self.may_go_on(session) {
            return Ok(());
        }
        let Some(wake_up) = self.site.pop() else {
            return Ok(());
        };
        let mut beginning = pin!(async {
            if let Some(claim) = self.shared.claim(wake_up).await {
                self.begin(session, claim).await;
            }
        });
        // Usually all of it is in memory, and one write serves both messages. What takes time must not keep the first one
        // back.
        if beginning.as_mut().now_or_never().is_some() {
            return Ok(());
        }
        let (flushed, ()) = tokio::join!(port.flush(), beginning);
        flushed
    }

    fn quit(&mut self, session: &mut Client) {
        self.ending = true;
        session.quit();
    }

    /// Begins a message; one that this server can never take is finished without a word.
    async fn begin(&mut self, session: &mut Client, claim: Claim) {
        let began = self.shared.queue.now();
        let unit = claim.unit();
        let positions = attempt::waiting(unit);
        let plan = match attempt::plan(unit, &positions, session.capabilities()) {
            Ok(plan) => plan,
            Err(reply) => {
                let report =
                    attempt::same_for_all(unit, began, Outcome::Failed, &format!("{}: {reply}", self.host));
                return self.shared.finish(claim, report).await;
            }
        };
        let new = &unit.new;
        let reader = self.shared.reader(new.content, new.skip, new.size);
        let (_span, trace) = span(&claim, &self.host);
        let reader = reader.with(claim.body().cloned()).traced(trace);
        let source = match Source::open(reader, plan.change, new.skip).await {
            Ok(source) => source,
            Err(error) => {
                let trouble =
                    crate::resolve::Trouble::temporary(format!("4.3.0 the content cannot be read: {error}"));
                return self.shared.finish_all(claim, began, &trouble).await;
            }
        };
        self.shared.record.attempt(
            unit,
            if self.how.is_empty() {
                self.host.clone()
            } else {
                format!("{} ({})", self.host, self.how)
            },
        );
        let kept = self.shared.keep(claim.ticket());
        let attempt = Attempt {
            claim,
            positions,
            began,
            confirms: session.capabilities().dsn,
        };
        self.messages += 1;
        let begun = Sending {
            attempt,
            number: self.messages,
            source,
            kept,
            since: Instant::now(),
            trouble: None,
            _span,
        };
        match &self.sending {
            None => self.sending = Some(begun),
            Some(_) => self.following = Some(begun),
        }
        session.send(plan.envelope);
    }

    async fn content(&mut self, session: &mut Client) {
        let Some(sending) = &mut self.sending else {
            return session.abandon();
        };
        let given_up = if sending.kept.is_lost() {
            Some("the claim was lost".to_owned())
        } else if sending.since.elapsed() > self.shared.settings.network.message {
            Some("the transfer took too long".to_owned())
        } else {
            match sending.source.next().await {
                Ok(piece) if sending.source.is_over() => {
                    session.last(piece);
                    None
                }
                Ok(piece) => {
                    session.content(piece);
                    None
                }
                Err(error) => Some(format!("the content cannot be read: {error}")),
            }
        };
        if given_up.is_some() {
            sending.trouble = given_up;
            session.abandon();
        }
    }

    async fn finished(&mut self, verdicts: &[Verdict]) {
        let Some(sending) = std::mem::replace(&mut self.sending, self.following.take()) else {
            return;
        };
        let Sending {
            attempt,
            number,
            kept,
            since,
            trouble,
            ..
        } = sending;
        // A connection that was kept open may be gone by the time it is used again, or have had its share (421): that says
        // nothing of the unit, which goes over a new one.
        let closing = |verdict: &&Verdict| matches!(verdict, Verdict::Refused(reply) if reply.code == 421);
        let gone = |verdict: &Verdict| closing(&verdict) || *verdict == Verdict::Failed(Failure::Closed);
        if number > 1 && trouble.is_none() && verdicts.iter().all(gone) {
            if let Some(Verdict::Refused(reply)) = verdicts.iter().find(closing) {
                let detail = format!("{}: {reply}; again over another connection", self.host);
                self.shared.record.attempt(attempt.claim.unit(), detail);
                self.site.overloaded();
            }
            return self.shared.give_back(attempt.claim).await;
        }
        let mut report = attempt::report(&attempt, verdicts, &self.host, &self.how);
        if let Some(trouble) = trouble {
            report = attempt::same_for_all(
                attempt.claim.unit(),
                attempt.began,
                Outcome::Later,
                &format!("4.3.0 {trouble}"),
            );
        } else if report.recipients.is_empty() {
            let reply = format!("{}: 4.4.2 the connection was lost", self.host);
            report = attempt::same_for_all(attempt.claim.unit(), attempt.began, Outcome::Later, &reply);
        }
        if attempt::is_overloaded(verdicts) {
            self.site.overloaded();
        } else if self.site.succeeded() && self.shared.grow.try_send(self.site.clone()).is_err() {
            // More connections than there are in all, or the worker drains.
            self.site.forgo();
        }
        self.shared
            .record
            .metrics
            .attempts
            .add(1, &[opentelemetry::KeyValue::new("outcome", "sent")]);
        self.shared
            .record
            .metrics
            .duration
            .record(since.elapsed().as_secs_f64(), &[]);
        self.shared.finish_aside(attempt.claim, report, kept).await;
    }

    fn failed(&mut self, failure: Failure) {
        // Behind the first message it is the end of an idle connection: nobody waits for it.
        if self.state == Progress::Greeting {
            self.state = Progress::Failed(failure);
        }
    }
}

impl Handler<Client> for Conversation {
    type Outside = Outside;

    async fn event(&mut self, session: &mut Client, event: Event, port: &mut dyn Port) -> io::Result<()> {
        match event {
            Event::Ready => {
                if let (Progress::Greeting, Some(tls)) = (&self.state, port.tls()) {
                    self.how = format!("{} {}, certificate not verified", tls.version, tls.cipher);
                }
                self.ready(session).await;
            }
            Event::Content => self.content(session).await,
            Event::Ahead => self.ahead(session, port).await?,
            Event::Finished(outcome) => self.finished(&outcome.verdicts).await,
            Event::Failed(failure) => self.failed(failure),
        }
        Ok(())
    }

    async fn outside(&mut self) -> Outside {
        if self.state != Progress::Served || self.sending.is_some() || self.ending {
            return std::future::pending().await;
        }
        let idle = self.shared.settings.reuse.idle;
        match tokio::time::timeout(idle, self.site.next()).await {
            Ok(wake_up) => Outside::Work(wake_up),
            Err(_) => Outside::Idle,
        }
    }

    async fn on_outside(
        &mut self,
        session: &mut Client,
        outside: Outside,
        _: &mut dyn Port,
    ) -> io::Result<()> {
        match outside {
            Outside::Idle => self.quit(session),
            Outside::Work(wake_up) => {
                if let Some(claim) = self.shared.claim(wake_up).await {
                    self.begin(session, claim).await;
                }
            }
        }
        Ok(())
    }

    fn drain(&mut self, session: &mut Client) {
        self.ending = true;
        if self.state == Progress::Served && self.sending.is_none() {
            session.quit();
        }
    }
}
