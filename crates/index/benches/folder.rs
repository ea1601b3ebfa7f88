//! What a folder of a million messages costs: a new message, a sequence number, a search result.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use postrider_index::{FolderIndex, UidSet};
use postrider_types::{Flags, SystemFlag, Uid, Version};

const MESSAGES: u32 = 1_000_000;

/// Nine of ten messages are left, one of seven has not been seen.
fn folder() -> FolderIndex {
    let mut index = FolderIndex::new(Version(1));
    for uid in (1..=MESSAGES / 9 * 10).filter(|uid| uid % 10 != 0) {
        let seen = Flags::EMPTY.with(SystemFlag::Seen);
        index.add(Uid(uid), if uid % 7 == 0 { Flags::EMPTY } else { seen });
    }
    index.compact();
    index
}

fn operations(c: &mut Criterion) {
    let index = folder();
    let last = index.uids().max().unwrap_or(Uid(1));
    c.bench_function("append", |b| {
        let (mut index, mut uid) = (index.clone(), last.0);
        b.iter(|| {
            uid += 1;
            index.add(black_box(Uid(uid)), Flags::EMPTY);
        });
    });
    c.bench_function("append to a copy", |b| {
        // What a commit pays while a session holds the snapshot before it.
        b.iter_batched(
            || index.clone(),
            |mut index| {
                index.add(Uid(last.0 + 1), Flags::EMPTY);
                index
            },
            BatchSize::LargeInput,
        );
    });
    c.bench_function("sequence of a UID", |b| {
        b.iter(|| index.sequence(black_box(Uid(last.0 / 2 + 1))));
    });
    c.bench_function("UID of a sequence", |b| {
        b.iter(|| index.uid(black_box(MESSAGES / 2)));
    });
    c.bench_function("first unseen", |b| b.iter(|| index.first_unseen()));
    let unseen = index.without_flag(SystemFlag::Seen);
    let third: UidSet = (1..=last.0).step_by(3).map(Uid).collect();
    c.bench_function("union of a million", |b| {
        b.iter(|| unseen.union(black_box(&third)))
    });
    c.bench_function("intersection of a million", |b| {
        b.iter(|| index.uids().intersection(black_box(&third)));
    });
    c.bench_function("save", |b| b.iter(|| index.to_bytes()));
    let bytes = index.to_bytes();
    c.bench_function("load", |b| b.iter(|| FolderIndex::from_bytes(black_box(&bytes))));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = operations
}
criterion_main!(benches);
