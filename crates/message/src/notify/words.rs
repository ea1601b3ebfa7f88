//! A report in plain words.

use super::{Action, Report, ReportedRecipient, shortened};
use crate::date::DateTime;
use crate::fold::one_line;
use crate::word;

/// Longest line of the text.
const MAX_LINE: usize = 76;

/// The report's subject, by the worst that happened.
pub(super) fn subject(recipients: &[ReportedRecipient]) -> &'static str {
    match recipients.iter().map(|it| it.action).min() {
        Some(Action::Failed) => "Your message could not be delivered",
        Some(Action::Delayed) => "Your message is delayed",
        _ => "Your message was delivered",
    }
}

/// The report's text, CRLF line ends.
pub(super) fn text(report: &Report<'_>) -> String {
    let mut out = String::new();
    paragraph(&mut out, "", &format!("This is the mail server {}.", report.host));
    let message = match one_line(&word::decode(report.subject), false) {
        subject if subject.is_empty() => "Your message".to_owned(),
        subject => format!(
            "Your message \"{}\"",
            subject.chars().take(200).collect::<String>()
        ),
    };
    let when = DateTime::utc(report.arrival).rfc5322();
    for action in [
        Action::Failed,
        Action::Delayed,
        Action::Delivered,
        Action::Relayed,
        Action::Expanded,
    ] {
        let about: Vec<_> = report
            .recipients
            .iter()
            .filter(|it| it.action == action)
            .collect();
        if about.is_empty() {
            continue;
        }
        out.push_str("\r\n");
        paragraph(&mut out, "", &format!("{message} of {when} {}", outcome(action)));
        for it in about {
            recipient(&mut out, it);
        }
    }
    out.push_str("\r\n");
    paragraph(
        &mut out,
        "",
        "The details for your mail program and the message, or its header, follow below.",
    );
    out
}

fn outcome(action: Action) -> &'static str {
    match action {
        Action::Failed => "could not be delivered to:",
        Action::Delayed => {
            "has not been delivered yet to the addresses below. It is still being tried: you need not send it again."
        }
        Action::Delivered => "was delivered to:",
        Action::Relayed => "was handed on, to a server that will not report whether it arrives, for:",
        Action::Expanded => "was sent on to the members of:",
    }
}

fn recipient(out: &mut String, it: &ReportedRecipient) {
    out.push_str(&format!("\r\n  {}\r\n", it.address));
    let status = it.status();
    if matches!(it.action, Action::Failed | Action::Delayed) {
        paragraph(
            out,
            "    ",
            &format!("{} {}", reason(&status, it), advice(&status, it.action)),
        );
    }
    let reply = one_line(&shortened(&it.reply), false);
    if !reply.is_empty() {
        let who = match it.remote.as_str() {
            "" if it.is_smtp_reply => "The other server answered:".to_owned(),
            "" => "Last problem:".to_owned(),
            remote if it.is_smtp_reply => format!("The server {} answered:", one_line(remote, true)),
            remote => format!("Last problem, with {}:", one_line(remote, true)),
        };
        paragraph(out, "    ", &who);
        paragraph(out, "      ", &reply);
    }
    match (it.attempts, it.last_attempt) {
        (0, _) | (_, None) => {}
        (1, Some(last)) => paragraph(
            out,
            "    ",
            &format!("It was tried once, on {}.", DateTime::utc(last).rfc5322()),
        ),
        (times, Some(last)) => {
            paragraph(
                out,
                "    ",
                &format!(
                    "It was tried {times} times, last on {}.",
                    DateTime::utc(last).rfc5322()
                ),
            );
        }
    }
    if let (Action::Delayed, Some(until)) = (it.action, it.retry_until) {
        let until = DateTime::utc(until).rfc5322();
        paragraph(
            out,
            "    ",
            &format!("It will be tried until {until}; you will be told if that fails."),
        );
    }
}

/// Why, by the subject and detail of the status code (RFC 3463 §3).
fn reason(status: &str, it: &ReportedRecipient) -> String {
    let domain = it.address.domain();
    let detail = status.get(2..).unwrap_or_default();
    let for_now = status.starts_with('4');
    match detail {
        // What a server says for now is mostly about its load, or about senders it does not know yet.
        "2.1" if for_now => "The mailbox takes no mail at the moment.".into(),
        _ if for_now && detail.starts_with("7.") => {
            "The other server does not take the message yet; many put off whom they do not know.".into()
        }
        "1.1" => format!("There is no mailbox of this name at {domain}."),
        "1.2" => format!("There is no mail server for {domain}: perhaps the domain does not exist."),
        "1.10" => format!("{domain} does not accept mail at all."),
        "1.3" | "1.4" | "1.6" => "The address is not valid there (any more).".into(),
        "1.7" | "1.8" => "The other server does not accept your address as the sender.".into(),
        "2.1" => "The mailbox is disabled.".into(),
        "2.2" => "The mailbox is full.".into(),
        "2.3" | "3.4" => "The message is too large for the other server.".into(),
        "4.1" => format!("The mail server of {domain} could not be reached."),
        "4.3" | "4.4" => format!("The mail server of {domain} could not be found."),
        "4.6" => "The message went round in a circle between servers.".into(),
        "4.7" => "It could not be delivered in all the time it was tried.".into(),
        "6.7" => "The address or the message has characters that the other server cannot take.".into(),
        _ => match detail.split('.').next() {
            Some("1") => "The other server does not accept the address.".into(),
            Some("2") => "There is a problem with the mailbox.".into(),
            Some("3") => "There is a problem in the other mail system.".into(),
            Some("4") => "There is a problem in the network between the servers.".into(),
            Some("5") => "The two servers did not understand one another.".into(),
            Some("6") => "The message has contents the other server cannot take.".into(),
            Some("7") => "The other server refused the message for reasons of security or policy.".into(),
            _ if it.is_smtp_reply => "The other server did not accept the message.".into(),
            _ => "It did not work.".into(),
        },
    }
}

fn advice(status: &str, action: Action) -> &'static str {
    if action == Action::Delayed {
        return "";
    }
    match status.get(2..).unwrap_or_default() {
        "1.1" | "1.2" | "1.3" | "1.6" | "1.10" => {
            "Please check the address, and send the message again if it was wrong."
        }
        "2.1" | "2.2" => "Please tell the recipient some other way, or try again later.",
        "2.3" | "3.4" => "Please send it in smaller pieces, or by a link to where it can be fetched.",
        "4.7" | "4.1" | "4.3" | "4.4" => {
            "You may send it again later, or reach the recipient some other way."
        }
        "6.7" => "Please ask the recipient for an address without special characters.",
        detail if detail.starts_with("7.") => {
            "The answer below may say more; the other side's postmaster can tell why."
        }
        _ => "",
    }
}

/// Wraps a paragraph; what has no space stays in one piece.
fn paragraph(out: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > MAX_LINE {
            out.push_str("\r\n");
            column = 0;
        }
        if column == 0 {
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push_str("\r\n");
}
