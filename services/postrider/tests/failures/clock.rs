//! A machine whose clock is wrong.

use std::process::Command;

use postrider_testkit::node::{Node, Shape};
use postrider_testkit::wire::eventually;

use crate::support::*;

/// What the wrong clock is ahead, in seconds.
const AHEAD: i64 = 90;

/// Stands before the C library's function of the same name, which the program asks for the time of day.
const WRONG_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*right)(clockid_t, struct timespec *);
    if (!right) right = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = right(which, now);
    if (result == 0 && which == CLOCK_REALTIME) now->tv_sec += AHEAD;
    return result;
}
"#;

#[test]
fn a_clock_that_is_wrong_is_noticed_and_said_once() {
    let mut node = Node::shaped(Shape::cluster_of(&[MEMBERS[5], MEMBERS[4]]), BINARY, &wish());
    let library = node.scratch().join("clock.so");
    let source = node.scratch().join("clock.c");
    std::fs::write(&source, WRONG_CLOCK).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", &format!("-DAHEAD={AHEAD}"), "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .expect("a C compiler, which building needs anyway");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    node.process("directory")
        .set("LD_PRELOAD", library.to_str().unwrap());
    let logs = Log::of_all(&mut node);
    node.restart();
    let offset = |node: &mut Node, name| metric(node.process(name), "postrider_clock_offset_seconds", "");
    eventually("the wrong clock to be noticed", MINUTE, || {
        (logs[0].count(&mut node, "ahead of the database's: run NTP on both") == 1).then_some(())
    });
    let wrong = offset(&mut node, "directory");
    assert!((wrong - AHEAD as f64).abs() < 3.0, "{wrong}");
    // Who is right says nothing.
    let right = eventually("the other one to have looked", MINUTE, || {
        let right = offset(&mut node, "mail-store");
        (right != 0.0).then_some(right)
    });
    assert!(right.abs() < 3.0, "{right}");
    assert_eq!(logs[1].count(&mut node, "the database's: run NTP"), 0);
}
