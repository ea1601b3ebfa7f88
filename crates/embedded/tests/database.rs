//! What the substrate promises, seen from an engine over it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use postrider_embedded::{Database, Error, Holder, Options, Report, Result, Transaction};
use postrider_types::{ContentId, UnitId};

const TABLE: &[&str] = &["CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT"];

fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        stream_bytes: 100_000,
        open_files: 4,
        ..Options::default()
    }
}

async fn open(dir: &Path) -> Database {
    let db = Database::open(dir, small()).unwrap();
    db.migrate("note", TABLE).await.unwrap();
    db
}

fn note(tx: &Transaction<'_>, id: usize, text: &str) -> Result<()> {
    tx.prepare_cached("INSERT INTO note (id, text) VALUES (?1, ?2)")?
        .execute((id, text))?;
    Ok(())
}

async fn notes(db: &Database) -> Vec<usize> {
    let read = db.read(|rows| {
        let mut select = rows.prepare_cached("SELECT id FROM note ORDER BY id")?;
        let ids = select.query_map([], |row| row.get(0))?;
        Ok(ids.collect::<rusqlite::Result<_>>()?)
    });
    read.await.unwrap()
}

fn findings(db: &Database) -> Vec<String> {
    let mut findings = Vec::new();
    let verified = db.verify(|report| {
        if let Report::Finding(text) = report {
            findings.push(text);
        }
    });
    assert_eq!(verified.unwrap().findings, findings.len() as u64);
    findings
}

fn body(seed: usize, length: usize) -> Bytes {
    (0..length)
        .map(|at| (at * 31 + seed * 7) as u8)
        .collect::<Vec<u8>>()
        .into()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir.join("content"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn far() -> u64 {
    i64::MAX as u64
}

/// Puts contents of these lengths, each held by a unit.
async fn put_held(
    db: &Database,
    lengths: impl IntoIterator<Item = usize>,
) -> Vec<(ContentId, UnitId, Bytes)> {
    let put = async |(seed, length)| {
        let (id, unit, body) = (ContentId::generate(), UnitId::generate(), body(seed, length));
        db.write(vec![(id, body.clone())], move |tx| {
            tx.hold(id, Holder::Unit(unit))
        })
        .await
        .unwrap();
        (id, unit, body)
    };
    join_all(lengths.into_iter().enumerate().map(put)).await
}

async fn sweep_all(db: &Database) -> u64 {
    let mut deleted = 0;
    for _ in 0..10_000 {
        let swept = db.sweep(far()).await.unwrap();
        deleted += swept.deleted;
        if !swept.more {
            return deleted;
        }
    }
    panic!("sweeping did not come to an end");
}

#[tokio::test]
async fn a_directory_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let Err(error) = Database::open(dir.path(), small()) else {
        panic!("opened twice")
    };
    assert!(matches!(error, Error::InUse(_)));
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    assert!(!error.to_string().contains('\n'));
    let clone = db.clone();
    drop(db);
    assert!(Database::open(dir.path(), small()).is_err());
    drop(clone);
    open(dir.path()).await;
}

#[tokio::test]
async fn migrations_run_once_and_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    db.migrate("note", TABLE).await.unwrap();
    const TWO: &[&str] = &[TABLE[0], "ALTER TABLE note ADD COLUMN colour TEXT"];
    db.migrate("note", TWO).await.unwrap();
    db.write(Vec::new(), |tx| {
        Ok(tx.execute("INSERT INTO note (text, colour) VALUES ('a', 'b')", [])?)
    })
    .await
    .unwrap();
    drop(db);
    let db = Database::open(dir.path(), small()).unwrap();
    let refused = db.migrate("note", TABLE).await;
    assert!(
        matches!(
            refused,
            Err(Error::TooNew {
                found: 2,
                known: 1,
                ..
            })
        ),
        "{refused:?}"
    );
    db.migrate("note", TWO).await.unwrap();
    const BROKEN: &[&str] = &["CREATE TABLE half (id INTEGER) STRICT; CREATE TABL"];
    assert!(db.migrate("half", BROKEN).await.is_err());
    let half = db.read(|rows| {
        Ok(rows.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'half'",
            [],
            |row| row.get::<_, i64>(0),
        )?)
    });
    assert_eq!(half.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_takes_nobody_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let job = async |number: usize| {
        let (id, runs) = (ContentId::generate(), Arc::clone(&runs));
        let contents = if number.is_multiple_of(2) {
            vec![(id, body(number, 500))]
        } else {
            Vec::new()
        };
        let written = db.write(contents, move |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            let refused = || Error::Invalid("refused".into());
            match number % 10 {
                1 => return Err(refused()),
                3 | 4 => {
                    note(tx, number, "taken back")?;
                    return Err(refused());
                }
                6 => {
                    note(tx, number, "taken back")?;
                    panic!("a defect in a job");
                }
                7 => tx.hold(ContentId::from_bytes([0; 16]), Holder::Unit(UnitId::default()))?,
                _ => note(tx, number, "stays")?,
            }
            Ok(number)
        });
        (number, id, written.await)
    };
    let outcomes = join_all((0..200).map(job)).await;
    let stays = |number: &usize| ![1, 3, 4, 6, 7].contains(&(number % 10));
    assert_eq!(notes(&db).await, (0..200).filter(stays).collect::<Vec<_>>());
    for (number, id, outcome) in outcomes {
        match number % 10 {
            7 => assert!(matches!(outcome, Err(Error::NotFound(_)))),
            1 | 3 | 4 | 6 => assert!(matches!(outcome, Err(Error::Invalid(_)))),
            _ => assert_eq!(outcome.unwrap(), number),
        }
        let length = db.content_length(id).await.unwrap();
        let brought = number.is_multiple_of(2) && stays(&number);
        assert_eq!(length, brought.then_some(500), "{number}");
    }
    assert!(runs.load(Ordering::Relaxed) >= 200);
    assert_eq!(findings(&db), [""; 0]);
}

#[tokio::test]
async fn the_same_content_again_is_one_content_and_other_bytes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let id = ContentId::generate();
    for _ in 0..2 {
        db.write(vec![(id, body(1, 100))], |_| Ok(())).await.unwrap();
    }
    let other = db.write(vec![(id, body(2, 100))], |_| Ok(())).await;
    assert!(matches!(other, Err(Error::Invalid(_))));
    assert_eq!(db.read_content(id, 0, 1000).await.unwrap(), body(1, 100));
    assert_eq!(db.statistics().await.unwrap().contents, 1);
    assert_eq!(findings(&db), [""; 0]);
}

#[tokio::test]
async fn a_full_database_refuses_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let held = put_held(&db, [1000; 5]).await;
    let limit = |pages: u32| {
        db.write(Vec::new(), move |tx| {
            let used: u32 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let limit = if pages == 0 { u32::MAX - 2 } else { used + pages };
            Ok(
                tx.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |row| {
                    row.get::<_, u32>(0)
                })?,
            )
        })
    };
    limit(20).await.unwrap();
    let text = "x".repeat(20_000);
    let mut written = 0;
    let error = loop {
        let (id, text) = (written, text.clone());
        match db.write(Vec::new(), move |tx| note(tx, id, &text)).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "it never became full");
    };
    assert!(matches!(error, Error::Full(_)), "{error}");
    assert!(error.is_temporary());
    assert_eq!(notes(&db).await.len(), written);
    limit(0).await.unwrap();
    db.write(Vec::new(), move |tx| note(tx, written, &text))
        .await
        .unwrap();
    assert_eq!(notes(&db).await.len(), written + 1);
    assert_eq!(db.read_content(held[0].0, 0, 2000).await.unwrap(), held[0].2);
    assert_eq!(db.stopped(), None);
}

#[tokio::test]
async fn a_commit_that_fails_is_unknown_and_stops_writing_but_not_reading() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    db.write(Vec::new(), |tx| note(tx, 1, "kept")).await.unwrap();
    // There is nothing to commit any more, as after an error of the disk.
    let unknown = db.write(Vec::new(), |tx| Ok(tx.execute_batch("ROLLBACK")?)).await;
    assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
    let refused = db.write(Vec::new(), |tx| note(tx, 2, "refused")).await;
    assert!(
        matches!(&refused, Err(Error::Unavailable(reason)) if reason.contains("restart")),
        "{refused:?}"
    );
    assert!(db.stopped().is_some());
    assert_eq!(notes(&db).await, [1]);
    drop(db);
    let db = open(dir.path()).await;
    db.write(Vec::new(), |tx| note(tx, 2, "accepted")).await.unwrap();
    assert_eq!(notes(&db).await, [1, 2]);
}

#[tokio::test]
async fn a_start_cuts_tails_and_deletes_files_no_row_names() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let held = put_held(&db, [3000; 4]).await;
    drop(db);
    let segment = segments(dir.path()).pop().unwrap();
    let committed = std::fs::metadata(&segment).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&segment)
        .unwrap()
        .write_at(b"half a record", committed)
        .unwrap();
    let stray = dir.path().join("content/00000000000000ff.seg");
    let foreign = dir.path().join("content/README");
    std::fs::write(&stray, "a stream that never finished").unwrap();
    std::fs::write(&foreign, "not ours").unwrap();

    let db = open(dir.path()).await;
    assert_eq!(std::fs::metadata(&segment).unwrap().len(), committed);
    assert!(!stray.exists());
    assert!(foreign.exists());
    let more = put_held(&db, [3000; 4]).await;
    for (id, _, body) in held.iter().chain(&more) {
        assert_eq!(db.read_content(*id, 0, 9999).await.unwrap(), body);
    }
    assert_eq!(findings(&db), [""; 0]);
    assert!(!segments(dir.path()).contains(&stray), "a number was used again");
}

#[tokio::test]
async fn damage_is_reported_and_the_rest_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let held = put_held(&db, [3000; 3]).await;
    let mut writer = db.content_writer(ContentId::from_bytes([9; 16]));
    writer.write(&body(5, 300_000)).await.unwrap();
    writer.finish().await.unwrap();
    drop(db);
    // The first byte of the second body (records have a header of 40 bytes), and one in the third block of the large one.
    let files = segments(dir.path());
    let flip = |file: &Path, offset: u64| {
        let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    };
    flip(&files[0], 3040 + 40);
    flip(&files[1], 40 + 140_000);

    let db = open(dir.path()).await;
    let mut by_place = held.clone();
    by_place.sort_by_key(|(id, _, _)| *id);
    let mut damaged = 0;
    for (id, _, body) in &held {
        match db.read_content(*id, 0, 9999).await {
            Ok(read) => assert_eq!(read, body),
            Err(Error::Damaged(text)) => {
                assert!(text.contains(&id.to_string()), "{text}");
                damaged += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(damaged, 1);
    let large = ContentId::from_bytes([9; 16]);
    assert!(matches!(
        db.read_content(large, 140_000, 10).await,
        Err(Error::Damaged(_))
    ));
    assert_eq!(
        db.read_content(large, 10, 100_000).await.unwrap(),
        body(5, 300_000)[10..100_010]
    );
    let findings = findings(&db);
    assert_eq!(findings.len(), 2, "{findings:?}");
    std::fs::remove_file(&files[1]).unwrap();
    drop(db);
    let db = open(dir.path()).await;
    assert!(matches!(
        db.read_content(large, 0, 10).await,
        Err(Error::Damaged(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeping_gives_space_back_and_keeps_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let mut all = Vec::new();
    for _ in 0..8 {
        all.extend(put_held(&db, (0..40).map(|number| 1000 + number * 97)).await);
    }
    let full = db.statistics().await.unwrap();
    assert!(full.segments > 6, "{full:?}");
    let keep: HashMap<ContentId, Bytes> = all
        .iter()
        .step_by(7)
        .map(|(id, _, body)| (*id, body.clone()))
        .collect();
    for (id, unit, _) in all.iter().filter(|(id, _, _)| !keep.contains_key(id)) {
        let (id, unit) = (*id, *unit);
        db.write(Vec::new(), move |tx| tx.release(id, Holder::Unit(unit)))
            .await
            .unwrap();
    }
    // Readers go on while records move.
    let reading = async {
        for _ in 0..5 {
            for (id, body) in &keep {
                assert_eq!(db.read_content(*id, 0, u64::MAX).await.unwrap(), body);
            }
        }
    };
    let (deleted, ()) = futures::join!(sweep_all(&db), reading);
    assert_eq!(deleted, (all.len() - keep.len()) as u64);
    let swept = db.statistics().await.unwrap();
    assert_eq!(swept.contents, keep.len() as u64);
    // Whatever is left is at least half alive, the open segment apart.
    assert!(
        swept.segment_bytes < swept.content_bytes * 2 + (128 << 10),
        "{swept:?}"
    );
    let on_disk: u64 = segments(dir.path())
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(
        on_disk < swept.segment_bytes + (128 << 10),
        "{on_disk} of {swept:?}"
    );
    assert_eq!(findings(&db), [""; 0]);
    drop(db);
    let db = open(dir.path()).await;
    for (id, body) in &keep {
        assert_eq!(db.read_content(*id, 0, u64::MAX).await.unwrap(), body);
    }
    assert_eq!(findings(&db), [""; 0]);
}

#[tokio::test]
async fn damage_and_wrong_counts_do_not_keep_the_sweeper_busy() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.extend(put_held(&db, [3000; 25]).await);
    }
    for (_, (id, unit, _)) in all.iter().enumerate().filter(|(place, _)| place % 8 != 1) {
        let (id, unit) = (*id, *unit);
        db.write(Vec::new(), move |tx| tx.release(id, Holder::Unit(unit)))
            .await
            .unwrap();
    }
    let files = segments(dir.path());
    assert!(files.len() > 3);
    // A header in the first segment is gone, and the second counts a record it does not have.
    OpenOptions::new()
        .write(true)
        .open(&files[0])
        .unwrap()
        .write_at(b"????", 0)
        .unwrap();
    db.write(Vec::new(), |tx| {
        Ok(tx.execute("UPDATE segment SET records = records + 1 WHERE id = 2", [])?)
    })
    .await
    .unwrap();
    sweep_all(&db).await;
    assert!(files[0].exists(), "damage is kept where it can be looked at");
    assert!(
        segments(dir.path()).len() < files.len(),
        "the other segments were not compacted"
    );
    for (id, _, body) in all.iter().skip(1).step_by(8) {
        assert_eq!(db.read_content(*id, 0, u64::MAX).await.unwrap(), body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_directory_is_a_good_directory() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("backup");
    let db = open(&dir.path().join("data")).await;
    let before = put_held(&db, [5000; 60]).await;
    let writer = async {
        for _ in 0..10 {
            let some = put_held(&db, [2000; 20]).await;
            for (id, unit, _) in some {
                db.write(Vec::new(), move |tx| tx.release(id, Holder::Unit(unit)))
                    .await
                    .unwrap();
            }
            db.sweep(far()).await.unwrap();
        }
    };
    let backup = {
        let (db, target) = (db.clone(), target.clone());
        tokio::task::spawn_blocking(move || {
            let mut last = (0, 0);
            db.backup(&target, |done, total| last = (done, total)).unwrap();
            assert_eq!(last.0, last.1);
            assert!(
                db.backup(&target, |_, _| {}).is_err(),
                "a backup went over another"
            );
        })
    };
    let (done, ()) = futures::join!(backup, writer);
    done.unwrap();
    let copy = open(&target).await;
    for (id, _, body) in &before {
        assert_eq!(copy.read_content(*id, 0, u64::MAX).await.unwrap(), body);
    }
    assert_eq!(findings(&copy), [""; 0]);
    put_held(&copy, [100; 3]).await;
    assert_eq!(findings(&copy), [""; 0]);
    sweep_all(&db).await;
    assert_eq!(findings(&db), [""; 0]);
}

/// A job that occupies the committer: says that it runs, then waits to be released.
fn blocker(db: &Database) -> (impl Future<Output = Result<()>> + use<>, Receiver<()>, Sender<()>) {
    let (running, runs) = channel();
    let (release, released) = channel();
    let released = Mutex::new(released);
    let db = db.clone();
    let job = async move {
        db.write(Vec::new(), move |_| {
            let _ = running.send(());
            let _ = released.lock().unwrap().recv();
            Ok(())
        })
        .await
    };
    (job, runs, release)
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_row_without_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let waits = async |jobs: u64| {
        while db.statistics().await.unwrap().waiting != jobs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // One batch is being committed and the next is ready, so that what comes now shares the one after.
    let (first, first_runs, release_first) = blocker(&db);
    let first = tokio::spawn(first);
    tokio::task::yield_now().await;
    first_runs.recv().unwrap();
    let next = tokio::spawn({
        let db = db.clone();
        async move { db.write(Vec::new(), |_| Ok(())).await }
    });
    tokio::task::yield_now().await;
    waits(0).await;
    let mut writer = db.content_writer(ContentId::from_bytes([1; 16]));
    writer.write(&body(1, 300_000)).await.unwrap();
    let large = tokio::spawn(writer.finish());
    waits(1).await;
    let (last, last_runs, release_last) = blocker(&db);
    let last = tokio::spawn(last);
    waits(2).await;
    release_first.send(()).unwrap();
    // The row is written by now, its transaction is still open.
    last_runs.recv().unwrap();
    large.abort();
    assert!(large.await.unwrap_err().is_cancelled());
    release_last.send(()).unwrap();
    for job in [first, next, last] {
        job.await.unwrap().unwrap();
    }
    assert_eq!(findings(&db), Vec::<String>::new());
    assert_eq!(sweep_all(&db).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_wait_when_the_budget_is_spent_and_large_writes_still_go() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        waiting_bytes: 64 << 10,
        batch_bytes: 10_000,
        ..small()
    };
    let db = Database::open(dir.path(), options).unwrap();
    let held = put_held(
        &db,
        (0..100).map(|number| if number == 50 { 500_000 } else { 10_000 }),
    )
    .await;
    for (id, _, body) in &held {
        assert!(db.read_content(*id, 0, u64::MAX).await.unwrap() == body);
    }
    assert_eq!(findings(&db), [""; 0]);
}

#[tokio::test]
async fn a_read_job_that_panics_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(
        dir.path(),
        Options {
            readers: 1,
            ..small()
        },
    )
    .unwrap();
    db.migrate("note", TABLE).await.unwrap();
    let failed: Result<()> = db
        .read(|rows| {
            let _snapshot = rows.unchecked_transaction()?;
            panic!("a defect in a job");
        })
        .await;
    assert!(matches!(failed, Err(Error::Invalid(_))));
    db.write(Vec::new(), |tx| note(tx, 1, "x")).await.unwrap();
    assert_eq!(notes(&db).await, [1]);
    let wrote = db.read(|rows| Ok(rows.execute("DELETE FROM note", [])?)).await;
    assert!(wrote.is_err(), "a reader could write");
}
