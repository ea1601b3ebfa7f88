//! Runs against the sink, which takes mail on port 25 as well as any server.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::merge::merge;
use crate::operation::Operation;
use crate::sink::{self, Sink};

async fn server() -> (Sink, Target) {
    let options = sink::Options {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        rules: Rules::perfect(),
        record: None,
        watch: None,
    };
    let server = Sink::start(options).await.expect("it listens");
    let target = format!(
        "name = \"sink\"\nsmtp = \"{}\"\n[accounts]\ndomain = \"hamburger.edu\"\npattern = \"user{{}}\"\ncount = 10\n\
         password = \"hungry\"\n",
        server.addresses()[0]
    );
    (server, toml::from_str(&target).expect("a target"))
}

fn options(target: &Target, out: &Path, duration: &str) -> Options {
    let profile = format!(
        "name = \"test\"\nabout = \"Evenly.\"\nduration = \"{duration}\"\n[traffic]\nsizes = \"2KiB\"\n\
         [[actor]]\nkind = \"mx\"\nconnections = 5\narrivals = \"constant\"\nrate = [{{ for = \"1s\", at = 50 }}]\n"
    );
    Options {
        // Nobody could read the accounts of a sink.
        verify: false,
        progress: Style::Silent,
        ..Options::new(Profile::parse(&profile).expect("a profile"), target.clone(), out)
    }
}

fn done(report: &Report) -> (u64, u64) {
    let measured = &report.operations[&Operation::MxMessage];
    (measured.offered, measured.done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_due_is_done_and_written_down() {
    let (server, target) = server().await;
    let out = tempfile::tempdir().expect("a directory");
    let report = execute(options(&target, out.path(), "2s"), &CancellationToken::new())
        .await
        .expect("a report");
    assert_eq!(done(&report), (100, 100));
    assert_eq!(server.stop().await.messages, 100);
    let written = crate::report::read(&out.path().join(REPORT)).expect("written");
    assert_eq!(done(&written), (100, 100));
    assert!(out.path().join(PAGE).exists() && written.ledger.is_none());
    assert!(
        (1.9..=2.0).contains(&written.run.seconds),
        "{}",
        written.run.seconds
    );
    // The last sample is taken as it ends.
    assert!(written.processes.iter().any(|series| !series.samples.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_play_one_schedule() {
    let (server, target) = server().await;
    let out = tempfile::tempdir().expect("a directory");
    let part = |k: u32| {
        let mut options = options(&target, &out.path().join(k.to_string()), "1s");
        options.part = (k, 3);
        options
    };
    let interrupt = CancellationToken::new();
    let (one, two, three) = tokio::join!(
        Box::pin(execute(part(1), &interrupt)),
        Box::pin(execute(part(2), &interrupt)),
        Box::pin(execute(part(3), &interrupt))
    );
    let parts = vec![one.expect("one"), two.expect("two"), three.expect("three")];
    assert_eq!(
        parts.iter().map(done).collect::<Vec<_>>(),
        [(17, 17), (17, 17), (16, 16)]
    );
    assert_eq!(done(&merge(parts).expect("they belong together")), (50, 50));
    assert_eq!(server.stop().await.messages, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_ends_early_and_reports() {
    let (server, target) = server().await;
    let out = tempfile::tempdir().expect("a directory");
    let interrupt = CancellationToken::new();
    let begin = Instant::now();
    let later = async {
        while server.counts().messages < 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        interrupt.cancel();
    };
    let run = Box::pin(execute(options(&target, out.path(), "10m"), &interrupt));
    let (report, ()) = tokio::join!(run, later);
    let report = report.expect("a report");
    assert!(begin.elapsed() < Duration::from_secs(20));
    let (offered, ended) = done(&report);
    assert!(
        (10..=60).contains(&offered) && offered == ended,
        "{offered} {ended}"
    );
    assert!(report.run.seconds < 5.0 && report.marks[0].what.starts_with("interrupted"));
}
