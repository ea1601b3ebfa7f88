//! One letter, one trace: from the SMTP session through the calls between processes and the queue to the server it goes to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use postrider_testkit::collector::Collector;
use postrider_testkit::node::{Node, Shape, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::{eventually, submit};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");

#[test]
fn a_letter_is_one_trace_across_processes() {
    let (collector, peer) = (Collector::start(), Peer::start(Manner::default()));
    let mut node = Node::shaped(
        Shape::cluster(),
        BINARY,
        &Wish {
            hostname: "hamburger.edu".into(),
            routes: vec![("crepes.fr".into(), peer.address())],
            more: format!(
                "[telemetry]\notlp_endpoint = \"{}\"\nsample_ratio = 1.0\n",
                collector.endpoint()
            ),
            ..Wish::default()
        },
    );
    node.restart();
    node.add_account("bob@hamburger.edu", "hungry");
    // More than travels with the queue's rows, so that the worker has to ask the store for it.
    let letter = format!(
        "From: bob@hamburger.edu\r\nTo: alice@crepes.fr\r\nSubject: Condiments\r\nMessage-ID: <one@hamburger.edu>\r\n\r\n{}",
        "Do you like ketchup?\r\n".repeat(20_000)
    );
    submit(
        node.address("submission"),
        "bob@hamburger.edu",
        "hungry",
        &["bob@hamburger.edu", "alice@crepes.fr"],
        &letter,
    );
    eventually("the letter to be taken", Duration::from_secs(60), || {
        (!peer.taken().is_empty()).then_some(())
    });

    let trace = eventually(
        "every process to report its part",
        Duration::from_secs(60),
        || {
            let spans = collector.spans();
            let accept = spans.iter().find(|span| span.name == "accept")?.clone();
            let mut spans = spans;
            spans.retain(|span| span.trace == accept.trace);
            let served = |call: &str| {
                let call = format!("call=/postrider.mailstore.v1.MailStore/{call}");
                spans
                    .iter()
                    .find(|span| span.name == "serve" && span.attributes.contains(&call))
            };
            let attempt = spans.iter().find(|span| span.name == "attempt")?;
            let (put, deliver, read) = (served("PutMessage")?, served("Deliver")?, served("ReadContent")?);
            assert_eq!(accept.roles, "smtp-ingress");
            assert_eq!(attempt.roles, "delivery-worker");
            assert!([put, deliver, read].iter().all(|span| span.roles == "mail-store"));
            // The content was stored while it came, before there was anything to accept.
            assert_eq!((&put.parent, &deliver.parent), (&accept.parent, &accept.id));
            assert_eq!((&attempt.parent, &read.parent), (&accept.id, &attempt.id));
            Some(accept.trace)
        },
    );

    // The journals of all processes bear the same number, and any of them can be asked.
    let all = ["accepted", "stored", "queued", "attempt", "delivered"];
    let steps = node.trace(&["--id", &trace], &all);
    let times: Vec<&str> = steps.lines().map(|line| &line[..19]).collect();
    assert!(times.is_sorted(), "{steps}");
    node.processes()
        .iter_mut()
        .find(|one| one.name() == "mail-store-2")
        .unwrap()
        .kill();
    let steps = node.admin(&["trace", "--id", "one@hamburger.edu"]);
    assert!(steps.contains("delivered"), "{steps}");
    assert_eq!(steps.matches("missing").count(), 1, "{steps}");
    let own = node.admin(&["trace", "--here", "--id", &trace]);
    assert!(own.contains("accepted") && !own.contains("delivered"), "{own}");
}
