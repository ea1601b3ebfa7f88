//! What an idle connection costs: many are opened from another process, each says one thing, and the growth of this
//! process is divided by their number. Run with `--nocapture` to see it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one reports"
)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postrider_runtime::drive::Port;
use postrider_runtime::tls::opportunistic_client;
use postrider_runtime::{Gateway, Handler, Identity, Options, Peer, Refusal, Server, Settings, TlsRole};
use postrider_wire::{Session, Step, take_line};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

const CONNECTIONS: usize = 500;

/// The driver's share of the 6 KiB that an idle IMAP connection may cost, in the clear; the debug build's is larger.
const MOST_PLAIN: usize = 3072;

/// Answers every line with itself.
struct Echo {
    deadline: Option<Instant>,
}

impl Session for Echo {
    type Event = Bytes;
    const MAX_BUFFERED: usize = 1000;

    fn step(&mut self, now: Instant, input: &mut BytesMut, _: &mut BytesMut) -> Step<Bytes> {
        self.deadline = Some(now + Duration::from_secs(1800));
        match take_line(input, 1000) {
            Ok(Some(line)) => Step::Event(line),
            Ok(None) => Step::NeedInput,
            Err(_) => Step::Close,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn tls_started(&mut self) {}

    fn input_closed(&mut self) {}
}

struct Answer;

impl Handler<Echo> for Answer {
    type Outside = ();

    async fn event(&mut self, _: &mut Echo, line: Bytes, port: &mut dyn Port) -> std::io::Result<()> {
        port.output().extend_from_slice(&line);
        port.output().extend_from_slice(b"\r\n");
        Ok(())
    }

    fn drain(&mut self, _: &mut Echo) {}
}

struct Echoes;

impl Gateway for Echoes {
    type Session = Echo;
    type Handler = Answer;

    fn open(&self, _: &Peer) -> (Echo, Answer) {
        (Echo { deadline: None }, Answer)
    }

    fn refuse(&self, _: Refusal) -> Bytes {
        Bytes::new()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_holds_no_buffer() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Arc::new(Identity::self_signed(directory.path(), "mx.hamburger.edu").unwrap());
    for (name, implicit_tls) in [("plain", false), ("TLS", true)] {
        let options = Options {
            tls: TlsRole::Server(identity.clone()),
            ..Options::default()
        };
        let server = Server::bind(Settings {
            options,
            implicit_tls,
            ..Settings::default()
        })
        .unwrap();
        let address = server.addresses()[0];
        let served = tokio::spawn(server.serve(Arc::new(Echoes), CancellationToken::new()));
        // What the first connections need once (threads, pools, tables) is not of interest.
        let warm = crowd(address, implicit_tls);
        let before = resident();
        let crowd = crowd(address, implicit_tls);
        let each = resident().saturating_sub(before) / CONNECTIONS;
        println!("{name}: {each} bytes per idle connection");
        assert!(
            implicit_tls || each < MOST_PLAIN,
            "{each} bytes per idle plain connection"
        );
        for mut child in [warm, crowd] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        served.abort();
    }
}

/// Another process that opens the connections and keeps them.
fn crowd(address: SocketAddr, tls: bool) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_crowd", "--ignored", "--nocapture"])
        .env("IDLE_SERVER", address.to_string())
        .env("IDLE_TLS", tls.to_string())
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines
            .map_while(Result::ok)
            .any(|line| line.ends_with("all there")),
        "the crowd did not come"
    );
    child
}

#[tokio::test]
#[ignore = "the other process of the test above"]
async fn the_crowd() {
    let Ok(address) = std::env::var("IDLE_SERVER") else {
        return;
    };
    let address: SocketAddr = address.parse().unwrap();
    let tls = std::env::var("IDLE_TLS").is_ok_and(|text| text == "true");
    let connector = TlsConnector::from(opportunistic_client());
    let (mut plain, mut encrypted) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let mut answer = [0; 4];
        if tls {
            let mut stream = connector
                .connect("localhost".try_into().unwrap(), tcp)
                .await
                .unwrap();
            stream.write_all(b"hi\r\n").await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            encrypted.push(stream);
        } else {
            tcp.write_all(b"hi\r\n").await.unwrap();
            tcp.read_exact(&mut answer).await.unwrap();
            plain.push(tcp);
        }
        assert_eq!(&answer, b"hi\r\n");
    }
    println!("all there");
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
