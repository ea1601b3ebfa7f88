#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
//! The driver and the listener, over real loopback connections, with a protocol small enough to see through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postrider_runtime::admission::Admission;
use postrider_runtime::tls::opportunistic_client;
use postrider_runtime::{
    Gateway, Handler, Identity, Options, Peer, Port, Refusal, Server, Settings, TlsRole,
};
use postrider_wire::{Session, Step, take_line};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// `echo X`, `later X` (answered from outside), `flood N`, `starttls`, `quit`.
struct Toy {
    deadline: Option<Instant>,
    idle: Duration,
    waiting: bool,
    upgrading: bool,
    tls: bool,
    ending: Option<&'static str>,
}

enum Event {
    Echo(Bytes),
    Later(Bytes),
    Flood(usize),
}

impl Toy {
    fn new(idle: Duration) -> Self {
        Self {
            deadline: Some(Instant::now() + idle),
            idle,
            waiting: false,
            upgrading: false,
            tls: false,
            ending: None,
        }
    }
}

impl Session for Toy {
    type Event = Event;
    const MAX_BUFFERED: usize = 1000;

    fn step(&mut self, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> Step<Event> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.ending = Some("idle\r\n");
        }
        if let Some(last) = self.ending.take() {
            output.extend_from_slice(last.as_bytes());
            self.ending = Some("");
            return Step::Close;
        }
        if self.waiting {
            return Step::Waiting;
        }
        if self.upgrading {
            return Step::StartTls;
        }
        let line = match take_line(input, 1000) {
            Ok(Some(line)) => line,
            Ok(None) => return Step::NeedInput,
            Err(_) => {
                self.ending = Some("");
                output.extend_from_slice(b"long\r\n");
                return Step::Close;
            }
        };
        self.deadline = Some(now + self.idle);
        let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (verb, rest) = (line.slice(..space), line.slice((space + 1).min(line.len())..));
        match &verb[..] {
            b"echo" => Step::Event(Event::Echo(rest)),
            b"later" => {
                self.waiting = true;
                Step::Event(Event::Later(rest))
            }
            b"flood" => Step::Event(Event::Flood(std::str::from_utf8(&rest).unwrap().parse().unwrap())),
            b"starttls" => {
                output.extend_from_slice(b"go\r\n");
                self.upgrading = true;
                Step::StartTls
            }
            _ => {
                self.ending = Some("bye\r\n");
                self.step(now, input, output)
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn tls_started(&mut self) {
        (self.upgrading, self.tls) = (false, true);
    }

    fn input_closed(&mut self) {
        self.ending = Some("");
    }
}

struct ToyHandler {
    sender: mpsc::Sender<Bytes>,
    answers: mpsc::Receiver<Bytes>,
}

impl Handler<Toy> for ToyHandler {
    type Outside = Bytes;

    async fn event(&mut self, _: &mut Toy, event: Event, port: &mut dyn Port) -> std::io::Result<()> {
        match event {
            Event::Echo(text) => {
                port.output().extend_from_slice(&text);
                if let Some(tls) = port.tls() {
                    port.output()
                        .extend_from_slice(format!(" in {}", tls.version).as_bytes());
                }
                port.output().extend_from_slice(b"\r\n");
            }
            Event::Later(text) => {
                let sender = self.sender.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sender.send(text).await
                });
            }
            Event::Flood(bytes) => {
                for _ in 0..bytes / 1024 {
                    port.output().extend_from_slice(&[b'x'; 1024]);
                    if port.output().len() >= postrider_runtime::drive::FLUSH_AT {
                        port.flush().await?;
                    }
                }
                port.output().extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    async fn outside(&mut self) -> Bytes {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    async fn on_outside(
        &mut self,
        session: &mut Toy,
        text: Bytes,
        port: &mut dyn Port,
    ) -> std::io::Result<()> {
        session.waiting = false;
        port.output().extend_from_slice(&text);
        port.output().extend_from_slice(b" at last\r\n");
        Ok(())
    }

    fn drain(&mut self, session: &mut Toy) {
        session.ending = Some("draining\r\n");
    }
}

struct ToyGateway {
    idle: Duration,
}

impl Gateway for ToyGateway {
    type Session = Toy;
    type Handler = ToyHandler;

    fn open(&self, _: &Peer) -> (Toy, ToyHandler) {
        let (sender, answers) = mpsc::channel(4);
        (Toy::new(self.idle), ToyHandler { sender, answers })
    }

    fn refuse(&self, why: Refusal) -> Bytes {
        format!("no: {why:?}\r\n").into()
    }
}

struct Running {
    address: SocketAddr,
    drain: CancellationToken,
    task: JoinHandle<()>,
}

fn serve(settings: Settings) -> Running {
    serve_idle(settings, Duration::from_secs(60))
}

fn serve_idle(settings: Settings, idle: Duration) -> Running {
    let server = Server::bind(settings).unwrap();
    let address = server.addresses()[0];
    let drain = CancellationToken::new();
    let task = tokio::spawn(server.serve(Arc::new(ToyGateway { idle }), drain.clone()));
    Running { address, drain, task }
}

async fn all(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    text
}

async fn talk(address: SocketAddr, lines: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(lines.as_bytes()).await.unwrap();
    all(&mut stream).await
}

#[tokio::test]
async fn commands_are_answered_in_order_however_they_arrive() {
    let server = serve(Settings::default());
    assert_eq!(
        talk(server.address, "echo one\r\nlater two\r\necho three\r\nquit\r\n").await,
        "one\r\ntwo at last\r\nthree\r\nbye\r\n"
    );

    let mut slow = TcpStream::connect(server.address).await.unwrap();
    for byte in b"echo x\r\nquit\r\n" {
        slow.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(all(&mut slow).await, "x\r\nbye\r\n");
}

#[tokio::test]
async fn input_is_bounded_and_an_end_without_goodbye_is_no_error() {
    let server = serve(Settings::default());
    assert_eq!(talk(server.address, &"x".repeat(5000)).await, "long\r\n");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"echo half").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(all(&mut stream).await, "");
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let server = serve_idle(Settings::default(), Duration::from_millis(50));
    assert_eq!(talk(server.address, "echo one\r\n").await, "one\r\nidle\r\n");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_left() {
    let options = Options {
        write_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let server = serve(Settings {
        options,
        ..Settings::default()
    });
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"flood 100000000\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut got = 0;
    let mut chunk = vec![0; 1 << 16];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut chunk)).await
    {
        got += read;
    }
    assert!(got < 50_000_000, "the rest was never produced; got {got}");
}

fn identity() -> (tempfile::TempDir, Arc<Identity>) {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::self_signed(directory.path(), "mx.hamburger.edu").unwrap();
    (directory, Arc::new(identity))
}

fn with_tls(identity: Arc<Identity>, implicit_tls: bool) -> Settings {
    let options = Options {
        tls: TlsRole::Server(identity),
        ..Options::default()
    };
    Settings {
        options,
        implicit_tls,
        ..Settings::default()
    }
}

#[tokio::test]
async fn tls_from_the_first_byte() {
    let (_directory, identity) = identity();
    let server = serve(with_tls(identity, true));
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut tls = TlsConnector::from(opportunistic_client())
        .connect(name, tcp)
        .await
        .unwrap();
    tls.write_all(b"echo hello\r\nquit\r\n").await.unwrap();
    assert_eq!(all(&mut tls).await, "hello in TLSv1.3\r\nbye\r\n");
}

/// A client that speaks one version and trusts one certificate.
fn client_of(
    version: &'static rustls::SupportedProtocolVersion,
    certificate: &std::path::Path,
) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn much_goes_both_ways_inside_tls() {
    let (_directory, identity) = identity();
    let server_certificate = identity.certificate().to_owned();
    let server = serve(with_tls(identity, true));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = client_of(version, &server_certificate);
        let tcp = TcpStream::connect(server.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let tls = connector
            .connect("localhost".try_into().unwrap(), tcp)
            .await
            .unwrap();
        let (mut reading, mut writing) = tokio::io::split(tls);
        // Long lines in pieces that cut records and lines anywhere, while the answers flow back.
        let line = |number: usize| format!("echo {number}{}", "y".repeat(number % 900));
        let lines: String = (0..2000).map(|number| line(number) + "\r\n").collect();
        let written = tokio::spawn(async move {
            for piece in lines.as_bytes().chunks(7777) {
                writing.write_all(piece).await.unwrap();
            }
            writing.write_all(b"flood 1000000\r\nquit\r\n").await.unwrap();
            writing
        });
        let answers = all(&mut reading).await;
        let mut answered = answers.lines();
        for number in 0..2000 {
            let expected = format!("{} in TLSv1.", line(number).trim_start_matches("echo "));
            let answer = answered.next().unwrap();
            assert!(answer.starts_with(&expected), "{number}: {answer}");
        }
        assert_eq!(answered.next().map(str::len), Some(1_000_000 / 1024 * 1024));
        assert_eq!(answered.next(), Some("bye"));
        drop(written.await.unwrap());
    }
}

#[tokio::test]
async fn what_is_no_tls_gets_an_alert_and_no_session() {
    let (_directory, identity) = identity();
    let server = serve(with_tls(identity, true));
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(b"echo hello\r\nquit\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer).await;
    assert!(
        answer.is_empty() || answer.first() == Some(&21),
        "an alert or nothing: {answer:?}"
    );
    // Half a record, and silence: the connection is still there for others.
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    drop(half);
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let connector = TlsConnector::from(opportunistic_client());
    let mut tls = connector
        .connect("localhost".try_into().unwrap(), tcp)
        .await
        .unwrap();
    tls.write_all(b"quit\r\n").await.unwrap();
    assert_eq!(all(&mut tls).await, "bye\r\n");
}

#[tokio::test]
async fn sessions_are_resumed() {
    let (_directory, identity) = identity();
    let server = serve(with_tls(identity, true));
    let connector = TlsConnector::from(opportunistic_client());
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let tcp = TcpStream::connect(server.address).await.unwrap();
        let mut tls = connector
            .connect("localhost".try_into().unwrap(), tcp)
            .await
            .unwrap();
        tls.write_all(b"quit\r\n").await.unwrap();
        assert_eq!(all(&mut tls).await, "bye\r\n");
        kinds.push(tls.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(
        kinds,
        [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]
    );
}

#[tokio::test]
async fn starttls_throws_away_what_was_said_in_the_clear() {
    let (_directory, identity) = identity();
    let server = serve(with_tls(identity, false));
    let mut tcp = BufReader::new(TcpStream::connect(server.address).await.unwrap());
    // CVE-2011-0411: the injected command arrives with the upgrade and must not be answered inside TLS.
    tcp.write_all(b"starttls\r\necho injected\r\n").await.unwrap();
    let mut line = String::new();
    tcp.read_line(&mut line).await.unwrap();
    assert_eq!(line, "go\r\n");
    let name = "localhost".try_into().unwrap();
    let mut tls = TlsConnector::from(opportunistic_client())
        .connect(name, tcp.into_inner())
        .await
        .unwrap();
    tls.write_all(b"echo own\r\nquit\r\n").await.unwrap();
    assert_eq!(all(&mut tls).await, "own in TLSv1.3\r\nbye\r\n");
}

#[tokio::test]
async fn a_changed_certificate_is_taken_up() {
    let (directory, identity) = identity();
    assert!(!identity.reload().unwrap());
    let before = identity.server_config();
    std::fs::write(identity.certificate(), "not a certificate").unwrap();
    assert!(identity.reload().is_err());
    assert!(
        Arc::ptr_eq(&before, &identity.server_config()),
        "the old one stays"
    );
    let other = tempfile::tempdir().unwrap();
    Identity::self_signed(other.path(), "mx.crepes.fr").unwrap();
    for file in ["self-signed.pem", "self-signed.key"] {
        std::fs::copy(other.path().join(file), directory.path().join(file)).unwrap();
    }
    assert!(identity.reload().unwrap());
    assert!(!Arc::ptr_eq(&before, &identity.server_config()));
}

#[tokio::test]
async fn too_many_connections_are_turned_away_politely() {
    let server = serve(Settings {
        admission: Admission::new(10, 1),
        ..Settings::default()
    });
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"echo one\r\n").await.unwrap();
    let mut byte = [0; 5];
    first.read_exact(&mut byte).await.unwrap();
    assert_eq!(talk(server.address, "").await, "no: TooManyFromAddress\r\n");
    first.write_all(b"quit\r\n").await.unwrap();
    assert_eq!(all(&mut first).await, "bye\r\n");
    drop(first);
    // The place comes back a moment after the first has seen its end.
    for _ in 0..100 {
        let mut next = TcpStream::connect(server.address).await.unwrap();
        let _ = next.write_all(b"quit\r\n").await;
        let mut answer = Vec::new();
        let _ = next.read_to_end(&mut answer).await;
        if answer == b"bye\r\n" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("the place never came back");
}

#[tokio::test]
async fn only_trusted_balancers_speak_for_others() {
    let trusting = |network: &str| Settings {
        proxy: Some(vec![network.parse().unwrap()]),
        ..Settings::default()
    };
    let server = serve(trusting("127.0.0.0/8"));
    let hello = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\necho hello\r\nquit\r\n";
    assert_eq!(talk(server.address, hello).await, "hello\r\nbye\r\n");
    let server = serve(trusting("10.0.0.0/8"));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(hello.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn draining_ends_sessions_politely_and_the_listener_soon() {
    let server = serve(Settings {
        drain_timeout: Duration::from_millis(200),
        ..Settings::default()
    });
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"echo one\r\n").await.unwrap();
    // This one never comes to a safe place: its output is not read.
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    stuck.write_all(b"flood 100000000\r\n").await.unwrap();
    let mut start = [0; 5];
    idle.read_exact(&mut start).await.unwrap();
    stuck.read_exact(&mut start).await.unwrap();
    server.drain.cancel();
    assert_eq!(all(&mut idle).await, "draining\r\n");
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
