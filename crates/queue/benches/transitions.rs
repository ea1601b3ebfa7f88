//! What the way of a unit through the queue costs without a disk: in, claimed, sent, gone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postrider_queue::engine::Holds;
use postrider_queue::suite::new_unit;
use postrider_queue::{Claimed, Memory, Outcome, Queue, Report, Result, Settings, system_clock};
use postrider_types::{ContentId, UnitId};

struct NoHolds;

#[async_trait]
impl Holds for NoHolds {
    async fn put(&self, _: ContentId, _: Bytes) -> Result<()> {
        Ok(())
    }

    async fn hold(&self, _: ContentId, _: UnitId) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _: ContentId, _: UnitId) -> Result<()> {
        Ok(())
    }
}

/// Puts units in and delivers them all.
async fn send(queue: &Queue, units: u64) {
    let content = ContentId::generate();
    let new = (0..units).map(|_| new_unit(content, "crepes.fr", 1)).collect();
    queue.enqueue(new).await.unwrap();
    let mut left = units;
    while left > 0 {
        for wake_up in queue.take(64).await.unwrap() {
            let Claimed::Yes(claim) = queue.claim(wake_up).await.unwrap() else {
                panic!("nobody else is here");
            };
            let verdict = queue.judge(&claim, &delivered());
            assert!(queue.finish(&claim, &verdict, &[]).await.unwrap());
            left -= 1;
        }
    }
}

fn delivered() -> Report {
    Report {
        began: 1,
        reply: "250 2.0.0 ok".into(),
        recipients: vec![(0, Outcome::Delivered, "250 2.1.5 ok".into())],
        rest_at_once: false,
    }
}

fn transitions(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let engine = Arc::new(Memory::new(Arc::new(NoHolds), system_clock()));
    let queue = Queue::new(engine.clone(), engine, Settings::default(), system_clock());
    let mut group = c.benchmark_group("queue");
    for units in [1, 64_u64] {
        group.throughput(Throughput::Elements(units));
        group.bench_function(format!("{units} units in and out"), |b| {
            b.iter(|| runtime.block_on(send(&queue, units)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = transitions
}
criterion_main!(benches);
