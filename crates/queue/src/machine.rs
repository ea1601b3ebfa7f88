//! The state machine of a unit: pure functions from a row and what happened to the next row.
//!
//! ```text
//!              enqueue                claim                     every recipient has it
//!            ───────────▶  Queued  ───────────▶  Sending  ────────────────────────────▶  Delivered
//!                          ▲  │  ▲                 │ │ │ given back, lease passed
//!                  release │  │  └─────────────────┘ │ └──────────▶ Queued
//!                          │  │ hold   try later     │ refused, or time is up
//!                          │  ▼                      └──────────────────────────────▶  Failed
//!                          Held ───▶ Cancelled ◀─── Queued
//! ```
//!
//! Final units have no row. Operators' verbs are refused while a unit is being sent: an attempt on the wire cannot be taken
//! back, and "cancelled" must mean "never sent".

use postrider_types::DeliveryId;

use crate::notice::{self, Notice, NoticeKind};
use crate::{Destination, Error, NewUnit, Recipient, RecipientState, Result, RetryPolicy, State, Unit};

/// What became of one recipient in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The other side took it.
    Delivered,
    /// The other side took it, but will not tell the sender of success (it does not offer DSN).
    Relayed,
    /// 4xx, or not reached.
    Later,
    /// 5xx.
    Failed,
}

/// What an attempt brought. Recipients it does not name, and that wait, wait further.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// When the attempt began; 0: there was none, only a notification was due.
    pub began: u64,
    /// The attempt in one line.
    pub reply: String,
    /// Position of the recipient, its outcome, and the reply about it in one line.
    pub recipients: Vec<(usize, Outcome, String)>,
    /// The other side took the message for some recipients and takes the rest with another one (RFC 5321 §4.5.3.1.10): they
    /// are due at once, and this does not count as an attempt that failed.
    pub rest_at_once: bool,
}

/// What follows from a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The row to be, with the debt still in it.
    pub unit: Unit,
    /// The notifications that are due with it.
    pub notices: Vec<Notice>,
}

/// The row of a unit that has just been put in.
pub(crate) fn fresh(new: NewUnit, policy: &RetryPolicy, now: u64) -> Result<Unit> {
    if new.recipients.is_empty() {
        return Err(Error::Invalid("a unit needs a recipient".into()));
    }
    if new.destination == Destination::Local
        && new.recipients.iter().any(|recipient| recipient.local.is_none())
    {
        return Err(Error::Invalid(
            "a local unit needs a delivery for each recipient".into(),
        ));
    }
    Ok(Unit {
        state: State::Queued,
        generation: 1,
        attempts: 0,
        created: now,
        next_attempt: now.max(new.not_before),
        last_attempt: 0,
        expires: now.saturating_add(millis(policy.give_up)),
        warned: false,
        last_reply: String::new(),
        reroute: String::new(),
        lease: 0,
        owed: Vec::new(),
        new,
    })
}

/// What follows from an attempt; `random` is uniform in 0..1.
pub(crate) fn judge(unit: &Unit, report: &Report, policy: &RetryPolicy, now: u64, random: f64) -> Verdict {
    let mut next = unit.clone();
    if report.began != 0 {
        next.attempts = next.attempts.saturating_add(u32::from(!report.rest_at_once));
        next.last_attempt = report.began;
        next.last_reply.clone_from(&report.reply);
    }
    record(&mut next, report);
    if report.began != 0 && now >= next.expires {
        expire(&mut next);
    }
    next.lease = 0;
    let mut notices = notice::owed(&next);
    if next.pending().next().is_some() {
        next.state = State::Queued;
        let due = now.saturating_add(millis(policy.delay(next.attempts, random)));
        // A last attempt is made when time is up, not long before it. One that only told is tried at once.
        next.next_attempt = if report.began == 0 || report.rest_at_once {
            now
        } else {
            due.min(next.expires.max(now + 1))
        };
        if report.began != 0 {
            notices.extend(warning(&mut next, policy, now));
        }
    } else {
        let all = next
            .new
            .recipients
            .iter()
            .all(|recipient| recipient.state == RecipientState::Delivered);
        next.state = if all { State::Delivered } else { State::Failed };
        next.next_attempt = 0;
    }
    Verdict { unit: next, notices }
}

/// The deliveries that the ingress has made itself. `None`: none of them was waiting.
pub(crate) fn settle_local(unit: &Unit, delivered: &[DeliveryId], now: u64) -> Option<Unit> {
    let mut next = unit.clone();
    let mut changed = false;
    for at in 0..next.new.recipients.len() {
        let Some(recipient) = next.new.recipients.get_mut(at) else {
            continue;
        };
        let made = recipient
            .local
            .as_ref()
            .is_some_and(|local| delivered.contains(&local.delivery));
        if made && recipient.state == RecipientState::Pending {
            recipient.state = RecipientState::Delivered;
            changed = true;
            owe(&mut next, at, false);
        }
    }
    if changed && next.pending().next().is_none() {
        next.state = State::Delivered;
        if !next.owed.is_empty() {
            next.state = State::Queued;
            next.next_attempt = now;
        }
    }
    changed.then_some(next)
}

/// What operators do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// No attempt until released.
    Hold,
    /// Due now, after a hold.
    Release,
    /// Due now.
    Retry,
    /// Due now, and to `host:port` instead of the MX; empty: to the MX again.
    Reroute(String),
    /// Never sent once acknowledged, and nobody is told.
    Cancel,
}

/// Applies a verb, or says why not.
pub(crate) fn act(unit: &Unit, verb: &Verb, now: u64) -> Result<Unit> {
    let refuse = |why: &str| Err(Error::Refused(why.into()));
    if unit.state == State::Sending && unit.lease > now {
        return refuse("it is being sent right now");
    }
    if unit.state.is_final() {
        return refuse("it is final");
    }
    let held = unit.state == State::Held;
    let mut next = unit.clone();
    next.lease = 0;
    match verb {
        Verb::Hold if held => return refuse("it is held already"),
        Verb::Hold => (next.state, next.next_attempt) = (State::Held, 0),
        Verb::Release if !held => return refuse("it is not held"),
        Verb::Retry if held => return refuse("it is held; release it first"),
        Verb::Release | Verb::Retry => (next.state, next.next_attempt) = (State::Queued, now),
        Verb::Reroute(_) if unit.new.destination == Destination::Local => {
            return refuse("it goes to accounts of ours");
        }
        Verb::Reroute(to) => {
            next.reroute = host_and_port(to)?;
            if !held {
                (next.state, next.next_attempt) = (State::Queued, now);
            }
        }
        Verb::Cancel => next.state = State::Cancelled,
    }
    Ok(next)
}

fn record(unit: &mut Unit, report: &Report) {
    for (at, outcome, reply) in &report.recipients {
        let waits = |recipient: &&mut Recipient| recipient.state == RecipientState::Pending;
        let Some(recipient) = unit.new.recipients.get_mut(*at).filter(waits) else {
            continue;
        };
        recipient.last_reply.clone_from(reply);
        recipient.state = match outcome {
            Outcome::Delivered | Outcome::Relayed => RecipientState::Delivered,
            Outcome::Later => continue,
            Outcome::Failed => RecipientState::Failed,
        };
        owe(unit, *at, *outcome == Outcome::Delivered);
    }
}

/// Notes that the sender is to be told of a recipient's outcome, if it wants to be. `confirmed`: the other side does it.
fn owe(unit: &mut Unit, at: usize, confirmed: bool) {
    let local = unit.new.destination == Destination::Local;
    let (Some(recipient), Ok(position)) = (unit.new.recipients.get(at), u32::try_from(at)) else {
        return;
    };
    let wanted = match recipient.state {
        RecipientState::Failed => recipient.notify.failure,
        RecipientState::Delivered => recipient.notify.success && (local || !confirmed),
        RecipientState::Pending => false,
    };
    if wanted && !unit.new.sender.is_null() && !unit.owed.contains(&position) {
        unit.owed.push(position);
    }
}

fn expire(unit: &mut Unit) {
    let waited = waited(unit.expires.saturating_sub(unit.created));
    let waiting: Vec<usize> = unit.pending().collect();
    for at in waiting {
        if let Some(recipient) = unit.new.recipients.get_mut(at) {
            let last = if recipient.last_reply.is_empty() {
                &unit.last_reply
            } else {
                &recipient.last_reply
            };
            recipient.last_reply = format!("given up after {waited}; last: {last}");
            recipient.state = RecipientState::Failed;
        }
        owe(unit, at, false);
    }
}

/// So many milliseconds in the largest unit that does not say nothing.
fn waited(millis: u64) -> String {
    let minutes = millis / 60_000;
    let (number, unit) = match minutes {
        0..120 => (minutes, "minute"),
        120..2880 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

fn warning(unit: &mut Unit, policy: &RetryPolicy, now: u64) -> Option<Notice> {
    let late = now.saturating_sub(unit.created) >= millis(policy.warn_after);
    if !late || unit.warned || unit.new.sender.is_null() {
        return None;
    }
    let wants = |at: &usize| {
        unit.new
            .recipients
            .get(*at)
            .is_some_and(|recipient| recipient.notify.delay)
    };
    let about: Vec<u32> = unit
        .pending()
        .filter(wants)
        .filter_map(|at| u32::try_from(at).ok())
        .collect();
    unit.warned = true;
    (!about.is_empty()).then(|| Notice::new(unit, NoticeKind::Delayed, about))
}

fn host_and_port(text: &str) -> Result<String> {
    let text = text.trim();
    let valid = text.is_empty()
        || text.rsplit_once(':').is_some_and(|(host, port)| {
            let host_ok =
                !host.is_empty() && host.len() <= 255 && host.bytes().all(|byte| byte.is_ascii_graphic());
            host_ok && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
    if valid {
        Ok(text.into())
    } else {
        Err(Error::Invalid(format!("`{text}` is not host:port")))
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
