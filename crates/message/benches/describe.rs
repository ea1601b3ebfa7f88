//! How fast messages are described: a letter of 4 KiB, a multipart of 75 KiB.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const HEADER: &str = "Received: from crepes.fr (crepes.fr [192.0.2.1])\r\n\tby mx.hamburger.edu with ESMTPS id 01890a5d;\r\n\t\
    Sun, 22 Nov 2026 09:16:00 +0000\r\nReceived: from [192.0.2.77] (alice.crepes.fr [192.0.2.77])\r\n\tby crepes.fr with ESMTPSA\r\n\t\
    id 01890a5c; Sun, 22 Nov 2026 09:15:58 +0000\r\nFrom: Alice <alice@crepes.fr>\r\nTo: Bob Burger <bob@hamburger.edu>\r\n\
    Cc: \"Carol, the cook\" <carol@hamburger.edu>, dave@example.com\r\nSubject: =?utf-8?q?Do_you_like_caf=C3=A9?=\r\n\
    Date: Sun, 22 Nov 2026 09:15:57 +0000\r\nMessage-ID: <20261122091557.1@crepes.fr>\r\n\
    References: <a@crepes.fr> <b@hamburger.edu>\r\nIn-Reply-To: <b@hamburger.edu>\r\nMIME-Version: 1.0\r\n";

fn letter() -> Vec<u8> {
    let line = "Do you like ketchup? How about pickles? And what of a little mustard then?\r\n";
    let body = line.repeat((4096 - HEADER.len()) / line.len());
    format!("{HEADER}Content-Type: text/plain; charset=utf-8\r\n\r\n{body}").into_bytes()
}

fn multipart() -> Vec<u8> {
    let text = "Do you like ketchup? How about pickles?\r\n".repeat(60);
    let html = format!(
        "<html><body>{}</body></html>",
        "<p>Do you <b>like</b> ketchup?</p>\r\n".repeat(100)
    );
    let data = format!("{}\r\n", "QUJD".repeat(19)).repeat(880);
    format!(
        "{HEADER}Content-Type: multipart/mixed; boundary=\"=_one\"\r\n\r\n--=_one\r\n\
         Content-Type: multipart/alternative; boundary=\"=_two\"\r\n\r\n--=_two\r\nContent-Type: text/plain\r\n\r\n{text}\
         --=_two\r\nContent-Type: text/html\r\n\r\n{html}\r\n--=_two--\r\n--=_one\r\nContent-Type: image/png; name=\"p.png\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"p.png\"\r\n\r\n{data}--=_one--\r\n"
    )
    .into_bytes()
}

fn describe(c: &mut Criterion) {
    let mut group = c.benchmark_group("describe");
    for (name, message) in [("letter 4 KiB", letter()), ("multipart 75 KiB", multipart())] {
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| postrider_message::describe(black_box(&message)))
        });
    }
    group.finish();
    let stored = postrider_message::describe(&multipart()).encode();
    c.bench_function("decode summary", |b| {
        b.iter(|| postrider_message::Summary::decode(black_box(&stored)))
    });
    c.bench_function("decode description", |b| {
        b.iter(|| postrider_message::Description::decode(black_box(&stored)))
    });
}

criterion_group!(benches, describe);
criterion_main!(benches);
