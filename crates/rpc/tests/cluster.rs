//! Calls between processes over real sockets: who is asked, what is repeated, what becomes of instances that fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::{
    CreateFolderRequest, CreateFolderResponse, GetAccountRequest, GetAccountResponse, PutMessageRequest,
    PutMessageResponse,
};
use postrider_proto::{Link, name_account};
use postrider_rpc::{Cluster, Deadline, Door, Ending, Guard, Limits, Mutual, Server, Settings};
use postrider_types::AccountId;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{ClientStreamingService, Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

const OPEN: Guard = Guard {
    door: Door::Plain,
    admit: None,
};

/// A mail store that answers three calls with who it is, and counts them.
#[derive(Clone, Default)]
struct Store {
    name: u64,
    calls: Arc<AtomicUsize>,
    delay: Duration,
}

impl NamedService for Store {
    const NAME: &'static str = "postrider.mailstore.v1.MailStore";
}

impl UnaryService<GetAccountRequest> for Store {
    type Response = GetAccountResponse;
    type Future = BoxFuture<'static, Result<Response<GetAccountResponse>, Status>>;

    fn call(&mut self, _: Request<GetAccountRequest>) -> Self::Future {
        let store = self.clone();
        Box::pin(async move {
            store.calls.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(store.delay).await;
            let left = Deadline::current().expect("a deadline came along").left();
            Ok(Response::new(GetAccountResponse {
                version: store.name,
                used_bytes: left.as_millis() as u64,
                messages: 0,
            }))
        })
    }
}

impl UnaryService<CreateFolderRequest> for Store {
    type Response = CreateFolderResponse;
    type Future = BoxFuture<'static, Result<Response<CreateFolderResponse>, Status>>;

    fn call(&mut self, _: Request<CreateFolderRequest>) -> Self::Future {
        let store = self.clone();
        Box::pin(async move {
            store.calls.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(store.delay).await;
            Ok(Response::new(CreateFolderResponse::default()))
        })
    }
}

impl ClientStreamingService<PutMessageRequest> for Store {
    type Response = PutMessageResponse;
    type Future = BoxFuture<'static, Result<Response<PutMessageResponse>, Status>>;

    fn call(&mut self, _: Request<Streaming<PutMessageRequest>>) -> Self::Future {
        let size = self.name;
        let answer = PutMessageResponse {
            size,
            ..PutMessageResponse::default()
        };
        Box::pin(async move { Ok(Response::new(answer)) })
    }
}

impl Service<http::Request<Body>> for Store {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let store = self.clone();
        Box::pin(async move {
            Ok(if request.uri().path().ends_with("/GetAccount") {
                let mut grpc = Grpc::new(ProstCodec::<GetAccountResponse, GetAccountRequest>::default());
                grpc.unary(store, request).await
            } else if request.uri().path().ends_with("/PutMessage") {
                let mut grpc = Grpc::new(ProstCodec::<PutMessageResponse, PutMessageRequest>::default());
                grpc.client_streaming(store, request).await
            } else {
                let mut grpc = Grpc::new(ProstCodec::<CreateFolderResponse, CreateFolderRequest>::default());
                grpc.unary(store, request).await
            })
        })
    }
}

/// A running instance.
struct Running {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    drain: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    /// Its own, so that it can end as a process does: all at once.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Running {
    async fn start(name: u64, address: &str) -> Self {
        Self::with(
            Store {
                name,
                ..Store::default()
            },
            address,
            OPEN,
            Limits::default(),
        )
    }

    fn with(store: Store, address: &str, guard: Guard, limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let server = Server::bind("rpc", &[address.parse().unwrap()]).unwrap();
        let (address, drain) = (server.addresses()[0], CancellationToken::new());
        let calls = store.calls.clone();
        let (health, service) = tonic_health::server::health_reporter();
        drop(health);
        let routes = Routes::new(service).add_service(store);
        let ending = Ending {
            notice: drain.clone(),
            end: drain.clone(),
            grace: Ending::GRACE,
        };
        let serving = server.serve(routes, guard, limits, ending);
        let task = runtime.spawn(async move { serving.await.unwrap() });
        drop(entered);
        Self {
            address,
            calls,
            drain,
            task,
            runtime: Some(runtime),
        }
    }

    fn count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Ends it at once, connections included.
    async fn kill(mut self) -> SocketAddr {
        if let Some(runtime) = self.runtime.take() {
            let ended = move || runtime.shutdown_timeout(Duration::from_secs(5));
            tokio::task::spawn_blocking(ended).await.unwrap();
        }
        self.address
    }
}

fn cluster(addresses: &[SocketAddr], mutual: Option<Arc<Mutual>>) -> Cluster {
    let urls: Vec<_> = addresses
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    Cluster::new(Settings {
        service: "mail-store",
        url: urls.join(",").parse().unwrap(),
        mutual,
    })
}

fn client(cluster: &Cluster) -> MailStoreClient<Link> {
    MailStoreClient::new(Link::remote(cluster.clone()))
}

async fn ask(client: &mut MailStoreClient<Link>, account: u64) -> Result<u64, Status> {
    let answer = client.get_account(GetAccountRequest { account }).await?;
    Ok(answer.into_inner().version)
}

async fn create(client: &mut MailStoreClient<Link>, account: u64) -> Result<(), Status> {
    let request = CreateFolderRequest {
        account,
        name: "x".into(),
        role: String::new(),
    };
    client.create_folder(request).await.map(drop)
}

/// An account whose own instance is the one of that name.
async fn account_of(client: &mut MailStoreClient<Link>, name: u64) -> u64 {
    for account in 1..1000 {
        if ask(client, account).await.unwrap() == name {
            return account;
        }
    }
    panic!("no account is at home at {name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_always_asked_for_at_the_same_instance_and_elsewhere_when_that_is_gone() {
    let one = Running::start(1, "127.0.0.1:0").await;
    let two = Running::start(2, "127.0.0.1:0").await;
    let cluster = cluster(&[one.address, two.address], None);
    let mut client = client(&cluster);
    let mut seen = HashSet::new();
    for account in 0..50 {
        let first = ask(&mut client, account).await.unwrap();
        seen.insert(first);
        for _ in 0..3 {
            assert_eq!(ask(&mut client, account).await.unwrap(), first);
        }
    }
    assert_eq!(seen.len(), 2, "both have work");

    let account = account_of(&mut client, 2).await;
    let address = two.kill().await;
    for _ in 0..20 {
        assert_eq!(ask(&mut client, account).await.unwrap(), 1, "no call fails");
    }
    let again = Running::start(2, &address.to_string()).await;
    let begun = Instant::now();
    while ask(&mut client, account).await.unwrap() != 2 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it comes back by itself"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_for_a_named_account_goes_where_the_account_is_asked_for() {
    let one = Running::start(1, "127.0.0.1:0").await;
    let two = Running::start(2, "127.0.0.1:0").await;
    let cluster = cluster(&[one.address, two.address], None);
    let mut client = client(&cluster);
    let mut homes = HashSet::new();
    for account in 0..50 {
        let home = ask(&mut client, account).await.unwrap();
        homes.insert(home);
        let mut request = Request::new(futures::stream::iter([PutMessageRequest::default()]));
        name_account(request.metadata_mut().as_mut(), AccountId::new(account));
        let stored = client.put_message(request).await.unwrap().into_inner();
        assert_eq!(stored.size, home, "of account {account}");
    }
    assert_eq!(homes.len(), 2, "both have work");
    let mut takers = HashSet::new();
    for _ in 0..50 {
        let request = futures::stream::iter([PutMessageRequest::default()]);
        takers.insert(client.put_message(request).await.unwrap().into_inner().size);
    }
    assert_eq!(takers, homes, "one that is about no account goes anywhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stands_still_costs_one_call_some_time_and_the_next_none() {
    let one = Running::start(1, "127.0.0.1:0").await;
    // Accepts connections, as the kernel does for a stopped process, and says nothing.
    let still = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = cluster(&[one.address, still.local_addr().unwrap()], None);
    let mut client = client(&cluster);
    let begun = Instant::now();
    for account in 0..10 {
        assert_eq!(ask(&mut client, account).await.unwrap(), 1);
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let begun = Instant::now();
    for account in 0..50 {
        assert_eq!(ask(&mut client, account).await.unwrap(), 1);
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_slow_but_well_is_waited_for_and_stays_in() {
    let slow = |name| Store {
        name,
        delay: Duration::from_millis(1500),
        ..Store::default()
    };
    let one = Running::with(slow(1), "127.0.0.1:0", OPEN, Limits::default());
    let two = Running::with(slow(2), "127.0.0.1:0", OPEN, Limits::default());
    let cluster = cluster(&[one.address, two.address], None);
    let mut client = client(&cluster);
    // A third of its time is over long before the answer comes; the call is still sent once only.
    let asked = Deadline::after(Duration::from_secs(3))
        .scope(ask(&mut client, 7))
        .await;
    let home = asked.unwrap();
    assert_eq!(one.count() + two.count(), 1);

    let asked = Deadline::after(Duration::from_millis(100))
        .scope(ask(&mut client, 7))
        .await;
    assert_eq!(asked.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(
        ask(&mut client, 7).await.unwrap(),
        home,
        "a caller in a hurry does not move the account"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_happen_twice_is_sent_once_when_it_may_have_arrived() {
    let slow = |name| Store {
        name,
        delay: Duration::from_secs(30),
        ..Store::default()
    };
    let one = Running::with(slow(1), "127.0.0.1:0", OPEN, Limits::default());
    let two = Running::with(slow(2), "127.0.0.1:0", OPEN, Limits::default());
    let cluster = cluster(&[one.address, two.address], None);
    let mut client = client(&cluster);
    let (first, second) = (one.calls.clone(), two.calls.clone());
    let call = tokio::spawn(async move { create(&mut client, 7).await });
    while first.load(Ordering::SeqCst) + second.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    one.kill().await;
    two.kill().await;
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().starts_with("mail-store: 127.0.0.1:"), "{status}");
    assert_eq!(first.load(Ordering::SeqCst) + second.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_sent_is_sent_elsewhere() {
    let one = Running::start(1, "127.0.0.1:0").await;
    let two = Running::start(2, "127.0.0.1:0").await;
    let cluster = cluster(&[one.address, two.address], None);
    let mut client = client(&cluster);
    let account = account_of(&mut client, 2).await;
    two.kill().await;
    let before = one.count();
    create(&mut client, account).await.unwrap();
    assert_eq!(one.count(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_while_an_instance_drains() {
    let one = Running::start(1, "127.0.0.1:0").await;
    let mut two = Running::start(2, "127.0.0.1:0").await;
    let cluster = cluster(&[one.address, two.address], None);
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let mut client = client(&cluster);
            tokio::spawn(async move {
                for call in 0..200 {
                    ask(&mut client, caller * 1000 + call).await.unwrap();
                    create(&mut client, caller * 1000 + call).await.unwrap();
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    two.drain.cancel();
    for caller in callers {
        caller.await.unwrap();
    }
    (&mut two.task).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_goes_away_is_left_before_it_is_gone_and_what_is_endless_ends_at_once() {
    let one = Running::start(1, "127.0.0.1:0").await;
    let two = Running::start(2, "127.0.0.1:0").await;
    let only_two = cluster(&[two.address], None);
    let both = cluster(&[one.address, two.address], None);
    let mut client = client(&both);
    let account = account_of(&mut client, 2).await;
    let mut health = HealthClient::new(Link::remote(only_two));
    let watched = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watched = watched.into_inner();
    assert!(watched.message().await.unwrap().is_some());

    let told = Instant::now();
    two.drain.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(1), watched.message()).await;
    assert_eq!(ended.unwrap().unwrap_err().code(), Code::Unavailable);
    // It still answers, and says what is coming.
    assert_eq!(ask(&mut client, account).await.unwrap(), 2);
    let before = two.count();
    for _ in 0..20 {
        assert_eq!(ask(&mut client, account).await.unwrap(), 1);
    }
    assert_eq!(two.count(), before);
    assert!(told.elapsed() < Ending::GRACE && !two.task.is_finished());
    let again = health.watch(HealthCheckRequest::default()).await;
    assert_eq!(again.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_too_much_to_do_says_so_at_once_and_another_is_asked() {
    let busy = Store {
        name: 1,
        delay: Duration::from_secs(2),
        ..Store::default()
    };
    let one = Running::with(busy, "127.0.0.1:0", OPEN, Limits { calls: 1 });
    let alone = cluster(&[one.address], None);
    let mut holder = client(&alone);
    let holding = tokio::spawn(async move { ask(&mut holder, 1).await });
    while one.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    let status = ask(&mut client(&alone), 2).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("too much to do"), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(1));

    let two = Running::start(2, "127.0.0.1:0").await;
    let both = cluster(&[one.address, two.address], None);
    for account in 0..10 {
        assert_eq!(ask(&mut client(&both), account).await.unwrap(), 2);
    }
    assert_eq!(holding.await.unwrap().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_says_how_long_it_waits() {
    let one = Running::start(1, "127.0.0.1:0").await;
    let cluster = cluster(&[one.address], None);
    let mut client = client(&cluster);
    let asked = client.get_account(GetAccountRequest { account: 1 });
    let answer = Deadline::after(Duration::from_secs(2))
        .scope(asked)
        .await
        .unwrap();
    let left = answer.into_inner().used_bytes;
    assert!((1000..=2000).contains(&left), "{left}");
    let mut request = Request::new(GetAccountRequest { account: 1 });
    request.set_timeout(Duration::from_millis(500));
    let left = client.get_account(request).await.unwrap().into_inner().used_bytes;
    assert!((1..=500).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers_is_a_clear_temporary_error() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let cluster = cluster(&[address], None);
    let begun = Instant::now();
    let status = ask(&mut client(&cluster), 1).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("refused"), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(!cluster.is_ready().await);
}

/// An authority and a certificate of it for 127.0.0.1.
fn certificates(directory: &std::path::Path) -> Arc<Mutual> {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&own, &issuer)
        .unwrap();
    let mutual = Mutual {
        certificate: directory.join("role.pem"),
        key: directory.join("role.key"),
        authority: directory.join("authority.pem"),
    };
    std::fs::write(&mutual.certificate, leaf.pem()).unwrap();
    std::fs::write(&mutual.key, own.serialize_pem()).unwrap();
    std::fs::write(&mutual.authority, authority.pem()).unwrap();
    mutual.check().unwrap();
    Arc::new(mutual)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_roles_with_a_certificate_of_the_authority_are_heard() {
    // The files are read at each handshake, so the directories have to live on.
    let (ours_dir, theirs_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, theirs) = (certificates(ours_dir.path()), certificates(theirs_dir.path()));
    let guard = Guard {
        door: Door::Mutual(ours.clone()),
        admit: None,
    };
    let one = Running::with(
        Store {
            name: 1,
            ..Store::default()
        },
        "127.0.0.1:0",
        guard,
        Limits::default(),
    );
    let welcome = cluster(&[one.address], Some(ours));
    assert_eq!(ask(&mut client(&welcome), 1).await.unwrap(), 1);
    for stranger in [None, Some(theirs)] {
        let status = ask(&mut client(&cluster(&[one.address], stranger)), 1)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    assert_eq!(one.count(), 1);
}
