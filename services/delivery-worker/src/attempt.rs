//! One unit on its way to one server: what is said, and what the replies mean for each recipient.

use postrider_queue::{Claim, Outcome, Report, Unit};
use postrider_smtp::client::{Envelope, Failure, Verdict};
use postrider_smtp::{Body, Capabilities, Enhanced, ForwardPath, Mail, Notify, Rcpt, Ret};

use crate::content::Change;

/// The most characters of a reply that are kept with a recipient. A unit may have a thousand recipients, and a reply 16 KiB.
const MOST_REPLY: usize = 800;

/// An attempt that is under way.
pub struct Attempt {
    /// The unit is ours.
    pub claim: Claim,
    /// Positions in the unit of the recipients that are named, in the envelope's order.
    pub positions: Vec<usize>,
    /// When it began, milliseconds since the Unix epoch.
    pub began: u64,
    /// The other side tells of success itself (it offers DSN).
    pub confirms: bool,
}

/// What is said to a server, or why nothing can be said.
pub struct Plan {
    /// MAIL and RCPT.
    pub envelope: Envelope,
    /// How the content is changed.
    pub change: Change,
}

/// Plans an attempt for a server that can so much. `Err`: it can never take the message; the reply says why.
pub fn plan(unit: &Unit, positions: &[usize], capabilities: &Capabilities) -> Result<Plan, String> {
    let new = &unit.new;
    let named = positions.iter().filter_map(|at| new.recipients.get(*at));
    let ascii = new.sender.0.as_ref().is_none_or(|sender| sender.is_ascii())
        && named.clone().all(|recipient| recipient.address.is_ascii());
    if !ascii && !capabilities.smtp_utf8 {
        return Err("553 5.6.7 the server does not take addresses beyond ASCII (SMTPUTF8)".into());
    }
    let utf8 = new.utf8 && capabilities.smtp_utf8;
    // Octets above 127, in the body or (with SMTPUTF8) in the header.
    let wide = new.eight_bit || new.utf8;
    let (change, body) = match (wide, capabilities.eight_bit_mime) {
        (false, _) => (Change::None, Body::SevenBit),
        (true, false) => (Change::SevenBit, Body::SevenBit),
        (true, true) if new.utf8 && !utf8 => (Change::AsciiHeader, Body::EightBitMime),
        (true, true) => (Change::None, Body::EightBitMime),
    };
    let mail = Mail {
        reverse_path: new.sender.clone(),
        // What is converted has another size, which is not known yet.
        size: (change == Change::None).then(|| new.size.saturating_sub(new.skip)),
        body,
        utf8,
        ret: Some(if new.return_full { Ret::Full } else { Ret::Headers }),
        envid: (!new.envelope_id.is_empty()).then(|| new.envelope_id.clone()),
    };
    let rcpt = |recipient: &postrider_queue::Recipient| Rcpt {
        to: ForwardPath::Address(recipient.address.clone()),
        notify: (recipient.notify != postrider_queue::Notify::default()).then_some(Notify {
            success: recipient.notify.success,
            failure: recipient.notify.failure,
            delay: recipient.notify.delay,
        }),
        orcpt: (!recipient.original.is_empty()).then(|| recipient.original.clone()),
    };
    Ok(Plan {
        envelope: Envelope {
            mail,
            recipients: named.map(rcpt).collect(),
        },
        change,
    })
}

/// The recipients that wait.
pub fn waiting(unit: &Unit) -> Vec<usize> {
    unit.pending().collect()
}

/// What the verdicts of a transaction mean. `host`: who gave them; `how`: over what connection.
pub fn report(attempt: &Attempt, verdicts: &[Verdict], host: &str, how: &str) -> Report {
    let mut report = Report {
        began: attempt.began,
        ..Report::default()
    };
    for (position, verdict) in attempt.positions.iter().zip(verdicts) {
        let (outcome, reply) = weigh(verdict, attempt.confirms);
        let reply: String = format!("{host}: {reply}").chars().take(MOST_REPLY).collect();
        if report.reply.is_empty() || outcome != Outcome::Delivered {
            report.reply = if how.is_empty() {
                reply.clone()
            } else {
                format!("{reply} ({how})")
            };
        }
        report.recipients.push((*position, outcome, reply));
    }
    let took = |verdict: &Verdict| matches!(verdict, Verdict::Delivered(_));
    report.rest_at_once = verdicts.iter().any(took) && verdicts.iter().any(is_too_many);
    report
}

/// Whether the server wants a recipient with another message: 452 4.5.3, or its RCPTMAX.
fn is_too_many(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Refused(reply) => {
            reply.code == 452 && matches!(reply.enhanced, None | Some(Enhanced(4, 5, 3)))
        }
        Verdict::Failed(failure) => *failure == Failure::TooManyRecipients,
        Verdict::Delivered(_) | Verdict::Unknown(_) => false,
    }
}

/// The same outcome for everyone who waits.
pub fn same_for_all(unit: &Unit, began: u64, outcome: Outcome, reply: &str) -> Report {
    let recipients = unit.pending().map(|at| (at, outcome, reply.to_owned())).collect();
    Report {
        began,
        reply: reply.to_owned(),
        recipients,
        rest_at_once: false,
    }
}

fn weigh(verdict: &Verdict, confirms: bool) -> (Outcome, String) {
    match verdict {
        Verdict::Delivered(reply) => (
            if confirms {
                Outcome::Delivered
            } else {
                Outcome::Relayed
            },
            reply.to_string(),
        ),
        Verdict::Refused(reply) if reply.is_permanent() => (Outcome::Failed, reply.to_string()),
        Verdict::Refused(reply) => (Outcome::Later, reply.to_string()),
        Verdict::Failed(Failure::TooLarge(limit)) => (
            Outcome::Failed,
            format!("552 5.3.4 the server takes at most {limit} octets"),
        ),
        Verdict::Failed(failure) if failure.is_permanent() => {
            (Outcome::Failed, format!("554 5.6.3 {failure}"))
        }
        Verdict::Failed(failure) => (Outcome::Later, format!("4.4.2 {failure}")),
        // The server may have it. RFC 5321 §4.5.4.1 decides for trying again: rather twice than never.
        Verdict::Unknown(failure) => (
            Outcome::Later,
            format!("4.4.2 {failure} behind the message; it may arrive twice"),
        ),
    }
}

/// Whether the verdicts speak of a server that has too much to do: 421, or silence.
pub fn is_overloaded(verdicts: &[Verdict]) -> bool {
    verdicts.iter().any(|verdict| match verdict {
        Verdict::Refused(reply) => reply.code == 421,
        Verdict::Failed(failure) | Verdict::Unknown(failure) => {
            matches!(failure, Failure::TimedOut | Failure::Closed)
        }
        Verdict::Delivered(_) => false,
    })
}
