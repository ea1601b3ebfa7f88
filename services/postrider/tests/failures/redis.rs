//! Redis is away, empty, refuses the password.

use postrider_testkit::imap::Imap;
use postrider_testkit::wire::eventually;

use crate::support::*;

#[test]
fn without_redis_everything_works_and_says_so_once() {
    let mut node = cluster(&wish());
    let mut redis = OwnRedis::new();
    redis.start("");
    set(&mut node, "POSTRIDER__COORDINATION__REDIS__URL", &redis.url());
    node.restart();
    node.add_account(BOB, PASSWORD);
    let mut here = all_is_well(&node);

    // Away.
    let logs = Log::of_all(&mut node);
    redis.kill();
    for _ in 0..10 {
        here += 1;
        assert_eq!(all_is_well(&node), here);
    }
    for log in &logs {
        let name = log.name();
        let process = node.process(name);
        eventually(&format!("{name} to miss it"), MINUTE, || {
            (metric(process, "postrider_redis_up", "") == 0.0).then_some(())
        });
        assert!(process.is_ready(), "{name}: Redis is never waited for");
        let all = log.warnings(&mut node);
        assert_eq!(
            log.count(&mut node, "until it is back, limits are relaxed"),
            1,
            "{name}: {all:#?}"
        );
        assert!(all.len() <= 10, "{name} floods its log: {all:#?}");
    }
    assert!(metric(node.process("pop3-gateway"), "postrider_pop3_unlocked_total", "") >= 1.0);
    let output = node.run(&["cluster", "status"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("is away"),
        "mail goes on without it: {said}"
    );

    // Back, and silent: its connections stay, and nobody waits for an answer twice.
    redis.start("");
    for process in node.processes() {
        let what = format!("redis at {}", process.name());
        eventually(&what, MINUTE, || {
            (metric(process, "postrider_redis_up", "") == 1.0).then_some(())
        });
    }
    redis.signal("STOP");
    for _ in 0..3 {
        here += 1;
        assert_eq!(within(MINUTE, "a letter", || all_is_well(&node)), here);
    }
    redis.kill();

    // Back, with a password nobody here knows.
    let logs = Log::of_all(&mut node);
    redis.start("secret");
    for log in &logs {
        let what = format!("{} to say what is wrong", log.name());
        eventually(&what, MINUTE, || {
            (log.count(&mut node, "check user and password in the configuration") == 1).then_some(())
        });
    }
    assert_eq!(all_is_well(&node), here + 1);

    // Without it again, and empty: watchers look, and hear the next hint.
    redis.kill();
    redis.start("");
    for process in node.processes() {
        let what = format!("redis at {}", process.name());
        eventually(&what, MINUTE, || {
            (metric(process, "postrider_redis_up", "") == 1.0).then_some(())
        });
    }
    let mut watching = Imap::login(node.address("imap"), BOB, PASSWORD);
    let seen = watching.select("INBOX");
    watching.idle();
    assert!(redis.ask("FLUSHALL").starts_with("+OK"));
    assert!(letter(&mut smtp(&node), "alice@crepes.fr", &[BOB]).starts_with("250"));
    let line = watching.next_line();
    assert_eq!(line, format!("* {} EXISTS", seen + 1));
    for log in &logs {
        let all = log.warnings(&mut node);
        assert!(all.len() <= 6, "{} floods its log: {all:#?}", log.name());
    }
}

/// A POP3 session holds its maildrop by a key of Redis. Who loses it is not cut off, and who comes next gets in.
#[test]
fn a_flushed_redis_takes_locks_away_and_no_mail() {
    let mut node = cluster(&wish());
    let mut redis = OwnRedis::new();
    redis.start("");
    set(&mut node, "POSTRIDER__COORDINATION__REDIS__URL", &redis.url());
    node.restart();
    node.add_account(BOB, PASSWORD);
    all_is_well(&node);
    let (mut first, said) = pop3(&node);
    assert!(said.starts_with("+OK"), "{said}");
    let (_, said) = pop3(&node);
    assert!(said.starts_with("-ERR [IN-USE]"), "{said}");
    assert!(redis.ask("FLUSHALL").starts_with("+OK"));
    let (mut second, said) = pop3(&node);
    assert!(said.starts_with("+OK"), "{said}");
    for wire in [&mut first, &mut second] {
        wire.send("RETR 1");
        wire.expect("+OK");
        assert!(wire.dot_block().concat().contains("ketchup"));
    }
}
