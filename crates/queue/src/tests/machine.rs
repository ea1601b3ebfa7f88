//! Known answers of the state machine.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use postrider_types::{ContentId, ReversePath};

use crate::machine::{act, fresh, judge};
use crate::suite::new_unit;
use crate::{Error, NoticeKind, Outcome, RecipientState, Report, RetryPolicy, State, Unit, Verb};

const NOW: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;

fn unit(recipients: usize) -> Unit {
    fresh(
        new_unit(ContentId::generate(), "hamburger.edu", recipients),
        &RetryPolicy::default(),
        NOW,
    )
    .unwrap()
}

fn report(outcomes: &[Outcome]) -> Report {
    let recipients = outcomes
        .iter()
        .enumerate()
        .map(|(at, outcome)| (at, *outcome, format!("said {at}")))
        .collect();
    Report {
        began: NOW,
        reply: "said".into(),
        recipients,
        rest_at_once: false,
    }
}

#[test]
fn the_rest_is_due_at_once_when_the_server_takes_it_with_another_message() {
    let report = Report {
        rest_at_once: true,
        ..report(&[Outcome::Delivered, Outcome::Later])
    };
    let next = judge(&unit(2), &report, &RetryPolicy::default(), NOW, 0.5).unit;
    assert_eq!(
        (next.state, next.next_attempt, next.attempts),
        (State::Queued, NOW, 0)
    );
}

#[test]
fn each_recipient_has_its_own_outcome() {
    let outcomes = [Outcome::Delivered, Outcome::Failed, Outcome::Later];
    let verdict = judge(&unit(3), &report(&outcomes), &RetryPolicy::default(), NOW, 0.5);
    let states: Vec<_> = verdict
        .unit
        .new
        .recipients
        .iter()
        .map(|recipient| recipient.state)
        .collect();
    assert_eq!(
        states,
        [
            RecipientState::Delivered,
            RecipientState::Failed,
            RecipientState::Pending
        ]
    );
    assert_eq!((verdict.unit.state, verdict.unit.attempts), (State::Queued, 1));
    assert_eq!(verdict.unit.next_attempt, NOW + 2 * MINUTE);
    assert_eq!(
        verdict
            .notices
            .iter()
            .map(|notice| notice.kind)
            .collect::<Vec<_>>(),
        [NoticeKind::Failed]
    );
    assert_eq!(verdict.notices[0].recipients, [1]);
}

#[test]
fn a_debt_is_told_before_anything_else_happens() {
    let mut row = unit(2);
    row.new.recipients[0].state = RecipientState::Failed;
    row.owed = vec![0];
    let told = judge(
        &row,
        &Report::default(),
        &RetryPolicy::default(),
        row.expires + 1,
        0.5,
    );
    assert_eq!((told.unit.attempts, told.unit.state), (0, State::Queued));
    assert_eq!(told.notices.len(), 1);
    assert_eq!(
        told.unit.next_attempt,
        row.expires + 1,
        "and then it is tried at once"
    );
}

#[test]
fn time_is_up_after_a_last_attempt() {
    let policy = RetryPolicy::default();
    let mut row = unit(1);
    (row.attempts, row.warned) = (200, true);
    let early = judge(&row, &report(&[Outcome::Later]), &policy, row.expires - 1000, 0.5);
    assert_eq!(
        early.unit.next_attempt, row.expires,
        "the last attempt is made when time is up"
    );
    let late = judge(&row, &report(&[Outcome::Later]), &policy, row.expires, 0.5);
    assert_eq!(late.unit.state, State::Failed);
    assert_eq!(late.notices[0].kind, NoticeKind::Failed);
    assert_eq!(
        late.unit.new.recipients[0].last_reply,
        "given up after 5 days; last: said 0"
    );
}

#[test]
fn a_delay_is_told_once_and_only_to_those_who_want_it() {
    let policy = RetryPolicy::default();
    let later = NOW + 5 * 60 * MINUTE;
    let first = judge(&unit(1), &report(&[Outcome::Later]), &policy, later, 0.5);
    assert_eq!(first.notices[0].kind, NoticeKind::Delayed);
    assert!(first.unit.warned);
    assert!(
        judge(&first.unit, &report(&[Outcome::Later]), &policy, later, 0.5)
            .notices
            .is_empty()
    );
    let mut silent = unit(1);
    silent.new.recipients[0].notify.delay = false;
    assert!(
        judge(&silent, &report(&[Outcome::Later]), &policy, later, 0.5)
            .notices
            .is_empty()
    );
}

#[test]
fn a_null_reverse_path_is_never_told() {
    let mut row = unit(1);
    row.new.sender = ReversePath::NULL;
    let verdict = judge(
        &row,
        &report(&[Outcome::Failed]),
        &RetryPolicy::default(),
        NOW,
        0.5,
    );
    assert_eq!((verdict.unit.state, verdict.notices.len()), (State::Failed, 0));
}

#[test]
fn success_is_told_when_wanted_and_nobody_else_does() {
    for (wanted, outcome, told) in [
        (true, Outcome::Relayed, 1),
        (true, Outcome::Delivered, 0),
        (false, Outcome::Relayed, 0),
    ] {
        let mut row = unit(1);
        row.new.recipients[0].notify.success = wanted;
        let verdict = judge(&row, &report(&[outcome]), &RetryPolicy::default(), NOW, 0.5);
        assert_eq!(
            (verdict.unit.state, verdict.notices.len()),
            (State::Delivered, told)
        );
    }
}

#[test]
fn reports_about_others_are_ignored() {
    let mut row = unit(1);
    row.new.recipients[0].state = RecipientState::Delivered;
    let strange = Report {
        recipients: vec![(0, Outcome::Failed, "x".into()), (9, Outcome::Failed, "x".into())],
        ..report(&[])
    };
    let verdict = judge(&row, &strange, &RetryPolicy::default(), NOW, 0.5);
    assert_eq!((verdict.unit.state, verdict.notices.len()), (State::Delivered, 0));
}

#[test]
fn operators_are_told_why_not() {
    let row = unit(1);
    let held = act(&row, &Verb::Hold, NOW).unwrap();
    assert_eq!((held.state, held.next_attempt), (State::Held, 0));
    assert!(act(&held, &Verb::Retry, NOW).is_err());
    assert_eq!(
        act(&held, &Verb::Reroute("a:25".into()), NOW).unwrap().state,
        State::Held
    );
    assert_eq!(act(&held, &Verb::Release, NOW + 5).unwrap().next_attempt, NOW + 5);
    let sending = Unit {
        state: State::Sending,
        lease: NOW + Duration::from_secs(9).as_millis() as u64,
        ..row.clone()
    };
    for verb in [
        Verb::Hold,
        Verb::Release,
        Verb::Retry,
        Verb::Reroute("a:25".into()),
        Verb::Cancel,
    ] {
        assert!(
            matches!(act(&sending, &verb, NOW), Err(Error::Refused(_))),
            "{verb:?}"
        );
    }
    assert_eq!(
        act(&sending, &Verb::Cancel, sending.lease).unwrap().state,
        State::Cancelled
    );
    for wrong in ["a", ":25", "a:0", "a:99999", "a b:1"] {
        assert!(
            matches!(
                act(&row, &Verb::Reroute(wrong.into()), NOW),
                Err(Error::Invalid(_))
            ),
            "{wrong}"
        );
    }
    assert_eq!(act(&row, &Verb::Reroute(String::new()), NOW).unwrap().reroute, "");
}
