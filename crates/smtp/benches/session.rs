//! What the server half costs for a pipelined transaction with a message of 4 KiB, everything but the network.

#![allow(
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postrider_smtp::Reply;
use postrider_smtp::server::{Config, Event, Server};
use postrider_wire::{Session, Step};

const ENVELOPE: &[u8] =
    b"MAIL FROM:<alice@crepes.fr> SIZE=4096 BODY=8BITMIME\r\nRCPT TO:<bob@hamburger.edu>\r\nDATA\r\n";
const LINE: &[u8] = b"Do you like ketchup? How about pickles? And what of a little mustard then?\r\n";

/// Steps until the session wants input; octets of content it gave.
fn run(server: &mut Server, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> usize {
    let mut content = 0;
    loop {
        match server.step(now, input, output) {
            Step::Event(Event::Mail(mail)) => server.answer(Reply::sender_ok(&mail.reverse_path)),
            Step::Event(Event::Rcpt(rcpt)) => server.answer(Reply::recipient_ok(&rcpt.to)),
            Step::Event(Event::Data) => server.answer(Reply::start_mail_input()),
            Step::Event(Event::Chunk(piece)) => content += black_box(piece).len(),
            Step::Event(Event::MessageEnd(_)) => server.answer(Reply::plain(250, "2.0.0 accepted")),
            Step::NeedInput => return content,
            _ => panic!("the session went another way"),
        }
    }
}

fn transaction(c: &mut Criterion) {
    let message = [LINE.repeat(4096 / LINE.len()), b".\r\n".to_vec()].concat();
    let mut config = Config::default();
    config.limits.transactions = u32::MAX;
    let mut server = Server::new(Arc::new(config), false);
    let (now, mut input, mut output) = (Instant::now(), BytesMut::new(), BytesMut::new());
    input.extend_from_slice(b"EHLO crepes.fr\r\n");
    run(&mut server, now, &mut input, &mut output);

    let mut group = c.benchmark_group("server");
    group.throughput(Throughput::Bytes((ENVELOPE.len() + message.len()) as u64));
    group.bench_function("transaction of 4 KiB", |b| {
        b.iter(|| {
            output.clear();
            input.extend_from_slice(ENVELOPE);
            run(&mut server, now, &mut input, &mut output);
            input.extend_from_slice(&message);
            assert_eq!(run(&mut server, now, &mut input, &mut output), message.len() - 3);
        });
    });
    group.finish();
}

criterion_group!(benches, transaction);
criterion_main!(benches);
