//! Engines that are not there when the processes start.

use std::time::Duration;

use postrider_cql::testing::Mode;
use postrider_testkit::wire::{eventually, pause};

use crate::support::*;

#[test]
fn roles_start_without_their_engines_and_wait_for_them() {
    let mut node = cluster(&wish());
    let database = database_between(&mut node, &WITH_DATABASE);
    cut(&database);
    let mut redis = OwnRedis::new();
    set(&mut node, "POSTRIDER__COORDINATION__REDIS__URL", &redis.url());
    let logs = Log::of_all(&mut node);
    node.launch();
    for process in node.processes() {
        let name = process.name();
        eventually(&format!("{name} to listen"), MINUTE, || process.http("/livez"));
        // Gateways need neither: Redis is never waited for.
        let ready = eventually(&format!("{name} to say how it is"), MINUTE, || {
            let answer = process.http("/readyz")?;
            let settled = answer.starts_with("HTTP/1.1 200") || answer.contains("check that it runs");
            settled.then_some(answer)
        });
        let waits = WITH_DATABASE.contains(&name);
        assert_eq!(ready.starts_with("HTTP/1.1 503"), waits, "{name}: {ready}");
    }
    // Nobody's mail is refused for good, and nobody waits long to hear so.
    let mut wire = smtp(&node);
    wire.command("MAIL FROM:<alice@crepes.fr>", "250");
    within(REPLY, "RCPT", || {
        wire.command(&format!("RCPT TO:<{BOB}>"), "451 4.3.0")
    });
    let said = within(REPLY, "LOGIN", || imap_login(&node));
    assert!(said.starts_with("NO [UNAVAILABLE]"), "{said}");
    let said = within(REPLY, "PASS", || pop3(&node).1);
    assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");

    // Long enough for several attempts: the log says it once.
    pause(Duration::from_secs(8));
    for log in &logs {
        let name = log.name();
        let waits = usize::from(WITH_DATABASE.contains(&name));
        assert_eq!(log.count(&mut node, "the database is not ready"), waits, "{name}");
        assert_eq!(
            log.count(&mut node, "until it is back, limits are relaxed"),
            1,
            "{name}"
        );
        let all = log.warnings(&mut node);
        assert!(all.len() <= 12, "{name} floods its log: {all:#?}");
        let process = node.process(name);
        if waits == 1 {
            assert_eq!(metric(process, "postrider_engine_up", "database"), 0.0, "{name}");
        }
        assert_eq!(metric(process, "postrider_redis_up", ""), 0.0, "{name}");
    }

    database.set(Mode::Pass);
    redis.start("");
    wait_ready(&mut node);
    node.add_account(BOB, PASSWORD);
    eventually("the first letter", MINUTE, || {
        let mut wire = smtp(&node);
        wire.command("MAIL FROM:<alice@crepes.fr>", "250");
        wire.send(&format!("RCPT TO:<{BOB}>"));
        wire.line().starts_with("250").then_some(())
    });
    assert_eq!(all_is_well(&node), 1);
    for name in WITH_DATABASE {
        assert_eq!(
            metric(node.process(name), "postrider_engine_up", "database"),
            1.0,
            "{name}"
        );
    }
}
