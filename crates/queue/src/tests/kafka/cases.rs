//! What only this engine promises.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_cql::testing::{Mode, Proxy, proxy};
use postrider_cql::{Session, Statement};
use postrider_types::{ContentId, Domain, UnitId};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{BROKER, World};
use crate::engine::{Units, WakeUp};
use crate::suite::new_unit;
use crate::{Claim, Claimed, Error, Kafka, KafkaConfig, NewUnit, Outcome, Queue, Report, State, Verb, kafka};

impl World {
    fn unit(&self, domain: &str) -> NewUnit {
        new_unit(self.contents.put(), domain, 1)
    }
}

async fn take(queue: &Queue, limit: usize) -> Vec<WakeUp> {
    let taken = tokio::time::timeout(Duration::from_secs(30), queue.take(limit)).await;
    taken.expect("a wake-up is due").unwrap()
}

async fn takes_nothing(queue: &Queue) {
    let taken = tokio::time::timeout(Duration::from_secs(2), queue.take(10)).await;
    assert!(taken.is_err(), "nothing is due: {taken:?}");
}

async fn claim(queue: &Queue, wake_up: WakeUp) -> Option<Claim> {
    match queue.claim(wake_up).await.unwrap() {
        Claimed::Yes(claim) => Some(claim),
        _ => None,
    }
}

async fn finish(queue: &Queue, claim: &Claim, outcome: Outcome) -> bool {
    let recipients = claim.unit().pending().map(|at| (at, outcome, "done".into()));
    let report = Report {
        began: queue.now(),
        reply: "done".into(),
        recipients: recipients.collect(),
        rest_at_once: false,
    };
    let verdict = queue.judge(claim, &report);
    queue.finish(claim, &verdict, &[]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_delivered_message_costs() {
    let world = World::open().await;
    let (engine, queue) = world.worker().await;
    // The first insertion says where the queue begins.
    queue.enqueue(vec![world.unit("a.example")]).await.unwrap();
    let warm = claim(&queue, take(&queue, 1).await.remove(0)).await.unwrap();
    assert!(finish(&queue, &warm, Outcome::Delivered).await);
    let (rows, records) = (world.fresh.session.statistics(), engine.statistics());
    let mut unit = world.unit("a.example");
    unit.trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into();
    queue.enqueue(vec![unit.clone()]).await.unwrap();
    let wake_up = take(&queue, 1).await.remove(0);
    assert_eq!(wake_up.trace, unit.trace, "the trace goes along");
    let claimed = claim(&queue, wake_up).await.unwrap();
    assert!(finish(&queue, &claimed, Outcome::Delivered).await);
    let (rows_after, records_after) = (world.fresh.session.statistics(), engine.statistics());
    assert_eq!(rows_after.conditional.requests - rows.conditional.requests, 3);
    assert_eq!(rows_after.writes.requests - rows.writes.requests, 2, "its note");
    assert_eq!(rows_after.serial_reads.requests, rows.serial_reads.requests);
    assert_eq!(records_after.ready - records.ready, 1);
    assert_eq!(records_after.delay, records.delay);
    assert_eq!(engine.counts().await.unwrap().queued, 0);
}

/// Takes and delivers what there is until it is told to stop, and notes what was sent.
async fn work(queue: Queue, sent: Arc<Mutex<HashMap<UnitId, u32>>>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let taken = tokio::time::timeout(Duration::from_millis(200), queue.take(5)).await;
        for wake_up in taken.into_iter().flatten().flatten() {
            let Some(claimed) = claim(&queue, wake_up).await else {
                continue;
            };
            *sent.lock().entry(claimed.unit().new.id).or_default() += 1;
            assert!(finish(&queue, &claimed, Outcome::Delivered).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_and_go_send_each_unit_once() {
    let world = World::open().await;
    let (first, first_queue) = world.worker().await;
    let units: Vec<NewUnit> = (0..120)
        .map(|at| world.unit(&format!("d{}.example", at % 10)))
        .collect();
    for some in units.chunks(20) {
        first_queue.enqueue(some.to_vec()).await.unwrap();
    }
    let sent: Arc<Mutex<HashMap<UnitId, u32>>> = Arc::default();
    // The first worker has claims while the second one comes and takes over partitions, with wake-ups for the same units.
    let mut claims = Vec::new();
    while claims.len() < 30 {
        for wake_up in take(&first_queue, 10).await {
            let claimed = claim(&first_queue, wake_up).await.unwrap();
            *sent.lock().entry(claimed.unit().new.id).or_default() += 1;
            claims.push(claimed);
        }
    }
    let (second, second_queue) = world.worker().await;
    let stops: [Arc<AtomicBool>; 2] = Default::default();
    let second_works = tokio::spawn(work(second_queue, sent.clone(), stops[1].clone()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let first_works = tokio::spawn(work(first_queue.clone(), sent.clone(), stops[0].clone()));
    for claimed in &claims {
        assert!(
            finish(&first_queue, claimed, Outcome::Delivered).await,
            "the claim is still ours"
        );
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    // And goes.
    stops[0].store(true, Ordering::Relaxed);
    first_works.await.unwrap();
    first.leave().await;
    let all = async {
        while sent.lock().len() < units.len() || second.counts().await.unwrap().queued > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(all.is_ok(), "{} of {} were sent", sent.lock().len(), units.len());
    stops[1].store(true, Ordering::Relaxed);
    second_works.await.unwrap();
    assert!(second.statistics().consumed > 0, "it had a part");
    let twice: Vec<UnitId> = sent
        .lock()
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(unit, _)| *unit)
        .collect();
    assert!(twice.is_empty(), "{twice:?}");
    second.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_done_is_read_by_the_next_one() {
    let world = World::open().await;
    let (first, first_queue) = world.worker().await;
    // One destination: one partition, in this order.
    let units: Vec<NewUnit> = (0..3).map(|_| world.unit("a.example")).collect();
    for unit in &units {
        first_queue.enqueue(vec![unit.clone()]).await.unwrap();
    }
    let mut taken = Vec::new();
    while taken.len() < 3 {
        taken.extend(take(&first_queue, 3).await);
    }
    for at in [0, 2] {
        let claimed = claim(&first_queue, taken[at].clone()).await.unwrap();
        assert!(finish(&first_queue, &claimed, Outcome::Delivered).await);
    }
    first.leave().await;
    let (_, second_queue) = world.worker().await;
    let mut again = Vec::new();
    while again.len() < 2 {
        again.extend(take(&second_queue, 3).await);
    }
    let ids: Vec<UnitId> = again.iter().map(|wake_up| wake_up.unit).collect();
    assert_eq!(
        ids,
        [units[1].id, units[2].id],
        "from the first that was not done"
    );
    assert!(claim(&second_queue, again.remove(0)).await.is_some());
    assert!(
        claim(&second_queue, again.remove(0)).await.is_none(),
        "it is done"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_wake_up_is_found() {
    let world = World::open().await;
    let (engine, queue) = world.worker().await;
    let policy = &queue.settings().retry;
    let mut rows = Vec::new();
    for at in 0..20 {
        let unit = world.unit(&format!("d{at}.example"));
        rows.push(crate::machine::fresh(unit, policy, world.clock.now()).unwrap());
    }
    // Nobody is told.
    engine.insert(rows.clone(), None).await.unwrap();
    queue.reconcile().await.unwrap();
    assert_eq!(engine.statistics().found, 0, "it is too early");
    world.clock.advance(Duration::from_secs(7 * 60));
    queue.reconcile().await.unwrap();
    assert_eq!(engine.statistics().found, 20);
    queue.reconcile().await.unwrap();
    assert_eq!(engine.statistics().found, 20, "not again and again");
    let mut lost = Vec::new();
    while lost.len() < 20 {
        lost.extend(take(&queue, 20).await);
    }
    // One is delivered, one deferred, one claimed by somebody who dies, the rest stay.
    let delivered = claim(&queue, lost.remove(0)).await.unwrap();
    assert!(finish(&queue, &delivered, Outcome::Delivered).await);
    let deferred = claim(&queue, lost.remove(0)).await.unwrap();
    assert!(finish(&queue, &deferred, Outcome::Later).await);
    let dying = claim(&queue, lost.remove(0)).await.unwrap();
    let page = queue.list(None, 100).await.unwrap();
    assert_eq!((page.items.len(), page.next), (19, None), "each is listed once");
    world.clock.advance(Duration::from_secs(30 * 60));
    queue.reconcile().await.unwrap();
    assert_eq!(engine.statistics().found, 20 + 19);
    let mut found = HashMap::new();
    while found.len() < 19 {
        for wake_up in take(&queue, 20).await {
            found.insert(wake_up.unit, wake_up);
        }
    }
    let again = found.remove(&dying.unit().new.id).unwrap();
    assert!(again.generation > 1);
    assert!(claim(&queue, again).await.is_some(), "its lease is over");
    assert!(!finish(&queue, &dying, Outcome::Delivered).await, "too late");
}

fn raw_producer() -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", BROKER)
        .create()
        .unwrap()
}

/// All records of a topic's first partition.
fn records(topic: &str, number: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", BROKER)
        .set("group.id", "unused")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let (mut found, began) = (Vec::new(), Instant::now());
    while found.len() < number && began.elapsed() < Duration::from_secs(20) {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            found.push(message.detach());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_record_goes_to_the_dead_and_the_partition_moves_on() {
    let world = World::open().await;
    let (engine, queue) = world.worker().await;
    let ready = format!("{}.ready.fresh", world.config.topic_prefix);
    let delay = format!("{}.delay.1m", world.config.topic_prefix);
    let producer = raw_producer();
    for partition in 0..2 {
        for topic in [&ready, &delay] {
            let poison = BaseRecord::to(topic)
                .partition(partition)
                .key("k")
                .payload("poison");
            producer.send(poison).unwrap();
        }
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    let unit = world.unit("a.example");
    queue.enqueue(vec![unit.clone()]).await.unwrap();
    let wake_up = take(&queue, 1).await.remove(0);
    assert_eq!(wake_up.unit, unit.id);
    let claimed = claim(&queue, wake_up).await.unwrap();
    assert!(finish(&queue, &claimed, Outcome::Delivered).await);
    let dead = format!("{}.dead", world.config.topic_prefix);
    let dead = tokio::task::spawn_blocking(move || records(&dead, 4))
        .await
        .unwrap();
    assert_eq!(dead.len(), 4);
    for record in &dead {
        assert_eq!(
            (record.payload(), record.key()),
            (Some(&b"poison"[..]), Some(&b"k"[..]))
        );
        let headers = record.headers().unwrap();
        assert!(headers.iter().any(|header| header.key == "postrider-from"));
        assert!(headers.iter().any(|header| header.key == "postrider-error"));
    }
    // Their offsets are committed: nobody reads them again.
    engine.leave().await;
    assert_eq!(engine.statistics().dead, 4);
    let (next, _) = world.worker().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(next.statistics().consumed, 0);
}

/// Accepts connections and never says a word, as a stopped broker does.
async fn silent_broker() -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_say_nothing_delay_mail_and_do_not_refuse_it() {
    let world = World::open().await;
    let (address, broker) = silent_broker().await;
    let config = KafkaConfig {
        brokers: vec![address],
        patience: Duration::from_secs(1),
        ..world.config.clone()
    };
    let engine = world.engine_with(&config);
    let queue = world.queue(&engine);
    let units: Vec<NewUnit> = (0..10).map(|_| world.unit("a.example")).collect();
    let began = Instant::now();
    for unit in &units {
        let one = Instant::now();
        queue.enqueue(vec![unit.clone()]).await.unwrap();
        assert!(one.elapsed() < Duration::from_secs(8), "{:?}", one.elapsed());
    }
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "only the first ones wait: {:?}",
        began.elapsed()
    );
    assert!(matches!(engine.ready().await, Err(Error::Unavailable(_))));
    let domain = Domain::new("b.example").unwrap();
    queue.suspend(domain.clone(), "said to nobody").await.unwrap();
    drop((queue, engine));
    broker.abort();
    // Another process, whose brokers answer.
    let (engine, queue) = world.worker().await;
    assert_eq!(queue.suspensions().await.unwrap()[0].0, domain);
    takes_nothing(&queue).await;
    world.clock.advance(Duration::from_secs(7 * 60));
    queue.reconcile().await.unwrap();
    assert_eq!(engine.statistics().found, 10);
    let wake_up = take(&queue, 1).await.remove(0);
    assert!(claim(&queue, wake_up).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspensions_reach_every_worker_and_survive() {
    const UNITS: usize = 100;
    const PAUSE: Duration = Duration::from_millis(100);
    let world = World::open().await;
    let (first, first_queue) = world.worker().await;
    let second = world.engine();
    let second_queue = world.queue(&second);
    let domain = Domain::new("a.example").unwrap();
    let units: Vec<NewUnit> = (0..UNITS).map(|_| world.unit("a.example")).collect();
    first_queue.enqueue(units).await.unwrap();
    let wake_ups = take(&first_queue, UNITS).await;
    // What nobody can read stops nothing.
    let odd = Statement::write("INSERT INTO suspension (part, domain) VALUES (0, ?)");
    world.fresh.session.write(odd, ("a..b",)).await.unwrap();
    // By another process; the first one hears of it without being told to look.
    second_queue.suspend(domain.clone(), "maintenance").await.unwrap();
    let mut suspended = false;
    for wake_up in wake_ups {
        suspended = matches!(first_queue.claim(wake_up).await.unwrap(), Claimed::Suspended);
        if suspended {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert!(suspended);
    drop((second, second_queue));
    let third = world.engine();
    let all = third.suspensions().await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0].0, all[0].1.reason.as_str()), (&domain, "maintenance"));
    world.clock.advance(Duration::from_secs(1));
    world.queue(&third).resume(domain).await.unwrap();
    // It is said of all that were not claimed before.
    let mut resumed = false;
    for _ in 0..UNITS {
        let wake_up = take(&first_queue, 1).await.remove(0);
        resumed = claim(&first_queue, wake_up).await.is_some();
        if resumed {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert!(resumed);
    assert!(first.suspensions().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_topics_are_made_and_narrow_ones_named_and_waited_for() {
    let world = World::open().await;
    let config = KafkaConfig {
        topic_prefix: format!("{}-b", world.config.topic_prefix),
        group: format!("{}-b", world.config.group),
        patience: Duration::from_secs(1),
        ..world.config.clone()
    };
    // One with too few partitions.
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", BROKER)
        .create()
        .unwrap();
    let name = format!("{}.ready.fresh", config.topic_prefix);
    let narrow = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    admin
        .create_topics(&[narrow], &AdminOptions::new())
        .await
        .unwrap();
    // The others it makes by itself.
    let engine = world.engine_with(&config);
    let narrow = async {
        while !matches!(engine.ready().await, Err(Error::Unavailable(text)) if text.contains("1 partitions instead of 2"))
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), narrow)
        .await
        .unwrap();
    kafka::prepare(&config).await.unwrap();
    kafka::prepare(&config).await.unwrap();
    let ready = async {
        while engine.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        engine.joined().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), ready)
        .await
        .unwrap();
    let queue = world.queue(&engine);
    queue.enqueue(vec![world.unit("a.example")]).await.unwrap();
    assert!(claim(&queue, take(&queue, 1).await.remove(0)).await.is_some());
    drop(engine);
    tokio::task::spawn_blocking(move || super::remove_topics(BROKER, &config.topic_prefix))
        .await
        .unwrap();
}

/// An engine whose answers from the database can be cut off.
async fn behind(world: &World) -> (Proxy, Kafka) {
    let proxy = proxy().await.unwrap();
    let config = postrider_cql::Config {
        contact_points: vec![proxy.address().to_string()],
        ..world.fresh.config.clone()
    };
    let session = Session::open(&config).unwrap();
    session.connected(Duration::from_secs(60)).await.unwrap();
    let engine = Kafka::open(
        &world.config,
        session,
        world.contents.clone(),
        world.clock.clock(),
    )
    .unwrap();
    (proxy, engine)
}

/// Answers get lost for a moment, then connections break, then all is well.
async fn lose_answers(proxy: &Proxy) {
    proxy.set(Mode::Deaf);
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.set(Mode::Cut);
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.set(Mode::Pass);
}

/// Repeats what was not done; what ends in doubt fails the test.
async fn done<T>(call: impl AsyncFn() -> crate::Result<T>) -> T {
    loop {
        match call().await {
            Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => return other.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_are_found_out() {
    let world = World::open().await;
    let (proxy, engine) = behind(&world).await;
    let queue = world.queue(&engine);
    queue.enqueue(vec![world.unit("w.example")]).await.unwrap();
    let row = |unit| crate::machine::fresh(unit, &queue.settings().retry, world.clock.now()).unwrap();
    let unit = row(world.unit("a.example"));
    let id = unit.new.id;
    // Each call ends well, although its first answer was lost; what it did, it did once.
    let insert = done(async || match engine.insert(vec![unit.clone()], None).await {
        // The note before the row is a write of which nobody can say more; all of it may be repeated.
        Err(Error::Unknown(why)) => Err(Error::Unavailable(why)),
        other => other,
    });
    tokio::join!(insert, lose_answers(&proxy));
    assert_eq!(engine.get(id).await.unwrap(), Some(unit.clone()));
    assert_eq!(world.contents.holders(unit.new.content), 1);
    let now = world.clock.now();
    let claim = done(async || engine.claim(id, 1, now, now + 60_000).await);
    let (claimed, ()) = tokio::join!(claim, lose_answers(&proxy));
    let claimed = claimed.expect("it was free");
    assert_eq!((claimed.state, claimed.generation), (State::Sending, 2));
    assert_eq!(engine.claim(id, 1, now, now + 60_000).await, Ok(None));
    let unclaim = done(async || engine.unclaim(id, 2, now).await);
    let (given, ()) = tokio::join!(unclaim, lose_answers(&proxy));
    assert_eq!(given, Some(3));
    let hold = done(async || queue.act(id, &Verb::Hold).await);
    let (held, ()) = tokio::join!(hold, lose_answers(&proxy));
    assert_eq!(held.state, State::Held);
    let cancel = done(async || queue.act(id, &Verb::Cancel).await);
    let (cancelled, ()) = tokio::join!(cancel, lose_answers(&proxy));
    assert_eq!(cancelled.state, State::Cancelled);
    assert_eq!(engine.get(id).await, Ok(None));
    assert_eq!(world.contents.holders(unit.new.content), 0);
    engine.insert(vec![unit], None).await.unwrap();
    assert_eq!(engine.get(id).await, Ok(None), "it was removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_go_in_together_or_not_at_all() {
    let world = World::open().await;
    let engine = world.engine();
    let queue = world.queue(&engine);
    let good = world.unit("a.example");
    let bad = NewUnit {
        // Bytes that nobody has stored.
        content: ContentId::generate(),
        ..world.unit("b.example")
    };
    let failed = queue.enqueue(vec![good.clone(), bad]).await;
    assert!(failed.is_err());
    assert_eq!(engine.get(good.id).await, Ok(None));
    assert_eq!(world.contents.holders(good.content), 0);
    queue.enqueue(vec![good.clone()]).await.unwrap();
    assert_eq!(
        engine.get(good.id).await.unwrap().map(|unit| unit.new.id),
        Some(good.id)
    );
    assert_eq!(engine.counts().await.unwrap().queued, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_in_hours_stays_known() {
    let world = World::open().await;
    let (engine, queue) = world.worker().await;
    let mut unit = world.unit("a.example");
    unit.not_before = world.clock.now() + 3 * 3_600_000;
    queue.enqueue(vec![unit.clone()]).await.unwrap();
    for _ in 0..8 {
        assert_eq!(queue.list(None, 10).await.unwrap().items.len(), 1);
        assert_eq!(engine.counts().await.unwrap().queued, 1);
        world.clock.advance(Duration::from_secs(20 * 60));
        queue.reconcile().await.unwrap();
    }
    assert_eq!(engine.statistics().found, 0);
    takes_nothing(&queue).await;
    world.clock.advance(Duration::from_secs(25 * 60));
    let wake_up = take(&queue, 1).await.remove(0);
    assert_eq!(wake_up.unit, unit.id);
    queue.dismiss(wake_up).await;
    // And if that had been lost too.
    queue.reconcile().await.unwrap();
    world.clock.advance(Duration::from_secs(45 * 60));
    queue.reconcile().await.unwrap();
    assert_eq!(engine.statistics().found, 1);
}
