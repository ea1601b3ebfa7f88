//! Late deliveries to accounts of ours, under the ids they were first tried with.

use std::sync::Arc;

use postrider_proto::mailstore::deliver_result::Outcome as Delivered;
use postrider_proto::mailstore::{DeliverRecipient, DeliverRequest, deliver_request};
use postrider_proto::{Failure, Kind};
use postrider_queue::{Claim, Outcome, Report};
use postrider_runtime::Trace;
use tonic::Request;

use crate::resolve::Trouble;
use crate::shared::{Shared, span};

/// Accounts delivered to in one call.
const AT_ONCE: usize = 100;

/// Delivers a claimed unit.
pub async fn deliver(shared: &Arc<Shared>, claim: Claim) {
    let began = shared.queue.now();
    let _kept = shared.keep(claim.ticket());
    let (_span, trace) = span(&claim, "mail-store");
    shared.record.attempt(claim.unit(), "mail-store");
    match attempt(shared, &claim, trace.as_ref(), began).await {
        Ok(report) => shared.finish(claim, report).await,
        Err(failure) => {
            let permanent = failure.kind == Kind::NotFound;
            let class = if permanent { "5.3.0" } else { "4.3.0" };
            let trouble = Trouble {
                permanent,
                reply: format!("{class} the mail-store said: {failure}"),
            };
            shared.finish_all(claim, began, &trouble).await;
        }
    }
}

async fn attempt(
    shared: &Arc<Shared>,
    claim: &Claim,
    trace: Option<&Trace>,
    began: u64,
) -> Result<Report, Failure> {
    let unit = claim.unit();
    let mut report = Report {
        began,
        ..Report::default()
    };
    let waiting: Vec<usize> = unit.pending().collect();
    for some in waiting.chunks(AT_ONCE) {
        let named = some.iter().filter_map(|at| {
            let local = unit.new.recipients.get(*at)?.local.as_ref()?;
            Some((
                *at,
                DeliverRecipient {
                    account: local.account.get(),
                    delivery_id: local.delivery.as_bytes().to_vec().into(),
                    quota: local.quota,
                    ..DeliverRecipient::default()
                },
            ))
        });
        let (positions, recipients): (Vec<usize>, Vec<DeliverRecipient>) = named.unzip();
        let mut request = Request::new(DeliverRequest {
            content: Some(deliver_request::Content::ContentId(
                unit.new.content.as_bytes().to_vec().into(),
            )),
            recipients,
            received: unit.created,
            inline_id: Default::default(),
        });
        if let Some(trace) = trace {
            trace.tell(request.metadata_mut().as_mut());
        }
        let answer = shared.store.clone().deliver(request).await;
        let results = match answer {
            Ok(answer) => answer.into_inner().results,
            // What went well before must not be lost.
            Err(status) if !report.recipients.is_empty() => {
                report.reply = format!("4.3.0 the mail-store said: {}", status.message());
                return Ok(report);
            }
            Err(status) => return Err(status.into()),
        };
        for (at, result) in positions.into_iter().zip(results) {
            let (outcome, reply) = match result.outcome() {
                Delivered::Delivered => (
                    Outcome::Delivered,
                    format!("2.0.0 in folder {} as {}", result.folder, result.uid),
                ),
                Delivered::AlreadyDelivered => (Outcome::Delivered, "2.0.0 delivered earlier".to_owned()),
                // It may be emptied; the schedule says for how long that is waited for.
                Delivered::OverQuota => (
                    Outcome::Later,
                    format!("4.2.2 the mailbox is full: {}", result.detail),
                ),
                _ => (
                    Outcome::Later,
                    format!("4.3.0 not delivered now: {}", result.detail),
                ),
            };
            report.reply.clone_from(&reply);
            report.recipients.push((at, outcome, reply));
        }
    }
    Ok(report)
}
