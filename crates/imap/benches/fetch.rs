//! What one line of a folder listing costs to write, and one command to read.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use postrider_imap::Command;
use postrider_imap::response::{FetchLine, Syntax};
use postrider_message::SummaryView;
use postrider_types::{Flags, Keyword, SystemFlag};

const MESSAGE: &str = "From: Alice Example <alice@crepes.fr>\r\nTo: Bob <bob@hamburger.edu>, carol@hamburger.edu\r\n\
    Cc: \"Dave, of Sales\" <dave@hamburger.edu>\r\nSubject: Do you like ketchup? And how about pickles?\r\n\
    Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <20260101.120000.12345@crepes.fr>\r\n\
    In-Reply-To: <20260101.110000.54321@hamburger.edu>\r\n\r\nText.\r\n";

fn lines(criterion: &mut Criterion) {
    let description = postrider_message::describe(MESSAGE.as_bytes());
    let keywords = [Keyword::new("$Forwarded").expect("a keyword")];
    let flags = Flags::EMPTY.with(SystemFlag::Seen).with(SystemFlag::Answered);
    let mut out = BytesMut::with_capacity(1 << 20);
    criterion.bench_function(
        "FETCH line: UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE",
        |bencher| {
            bencher.iter(|| {
                if out.len() > 1 << 19 {
                    out.clear();
                }
                let mut line = FetchLine::start(&mut out, 123_456, Syntax::Rev1);
                line.uid(&mut out, 234_567);
                line.flags(&mut out, flags, &keywords);
                line.internal_date(&mut out, 1_767_225_600_000);
                line.size(&mut out, 4321);
                line.envelope(&mut out, black_box(&description.envelope));
                line.end(&mut out);
            });
        },
    );
    let stored = description.encode();
    criterion.bench_function("FETCH line: UID ENVELOPE from a stored description", |bencher| {
        bencher.iter(|| {
            if out.len() > 1 << 19 {
                out.clear();
            }
            let summary = SummaryView::new(black_box(&stored)).expect("it was just made");
            let mut line = FetchLine::start(&mut out, 123_456, Syntax::Rev1);
            line.uid(&mut out, 234_567);
            line.envelope(&mut out, summary.envelope);
            line.end(&mut out);
        });
    });
    for text in [
        "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)",
        "NOOP",
        "UID SEARCH UNSEEN SINCE 1-Feb-2025",
    ] {
        criterion.bench_function(text, |bencher| {
            bencher.iter(|| Command::parse(black_box(text.as_bytes()), false))
        });
    }
}

criterion_group!(benches, lines);
criterion_main!(benches);
