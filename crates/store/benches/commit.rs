//! What a durable delivery of 4 KiB costs in the embedded engine: alone, and with others in a batch. Mostly the disk's syncs.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postrider_embedded::{Database, Options};
use postrider_store::AccountEngine;
use postrider_store::account::Outcome;
use postrider_store::embedded::Embedded;
use postrider_store::suite::delivery;
use postrider_types::{AccountId, Version};

fn commit(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let engine = runtime.block_on(async {
        let database = Database::open(dir.path(), Options::default()).unwrap();
        Embedded::open(database).await.unwrap()
    });
    let body = vec![b'x'; 4096];
    let deliver = async |account: u64, version: u64| {
        let account = AccountId::new(account.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let commit = delivery(account, Version(version), &body);
        assert_eq!(engine.commit(commit).await.unwrap(), Outcome::Committed);
    };
    let mut group = c.benchmark_group("commit");
    for together in [1, 32_u64] {
        group.throughput(Throughput::Elements(together));
        let mut version = 0;
        group.bench_function(format!("{together} deliveries at once"), |b| {
            b.iter(|| {
                let all = (0..together).map(|number| deliver(together * 100 + number, version));
                runtime.block_on(futures::future::join_all(all));
                version += 1;
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4));
    targets = commit
}
criterion_main!(benches);
