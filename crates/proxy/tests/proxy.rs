//! Each mode against a server that echoes.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postrider_proxy::{Mode, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Nothing came for so long: nothing will.
const SILENCE: Duration = Duration::from_millis(300);
/// Everything on loopback has come by then, also on a busy machine.
const SURELY: Duration = Duration::from_secs(20);

/// A server that sends back what it gets, with a letter of its own before it.
async fn echo(letter: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    let answer = [&[letter], &buffer[..count]].concat();
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn ask(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    hear(stream).await
}

async fn hear(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 1024];
    let count = timeout(SURELY, stream.read(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read(&mut [0; 8])).await.is_err()
}

#[tokio::test]
async fn passes_on_in_turns_and_over_what_refuses() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Proxy::open([echo(b'a').await, gone, echo(b'b').await])
        .await
        .unwrap();
    let mut answers = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        answers.push(ask(&mut stream, "x").await);
        // The end of one side is told to the other.
        stream.shutdown().await.unwrap();
        assert_eq!(hear(&mut stream).await, "");
    }
    assert!(
        answers.contains(&"ax".into()) && answers.contains(&"bx".into()),
        "{answers:?}"
    );
}

#[tokio::test]
async fn holds_back_and_then_passes_everything() {
    let proxy = Proxy::open([echo(b'a').await]).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, "1").await, "a1");
    proxy.set(Mode::Hold);
    stream.write_all(b"2").await.unwrap();
    assert!(is_silent(&mut stream).await);
    let mut late = TcpStream::connect(proxy.address()).await.unwrap();
    late.write_all(b"3").await.unwrap();
    assert!(is_silent(&mut late).await);
    proxy.set(Mode::Pass);
    assert_eq!(hear(&mut stream).await, "a2");
    assert_eq!(hear(&mut late).await, "a3");
}

#[tokio::test]
async fn what_lost_something_stays_silent() {
    for mode in [Mode::Deaf, Mode::Dead] {
        let proxy = Proxy::open([echo(b'a').await]).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream, "1").await, "a1");
        proxy.set(mode);
        stream.write_all(b"2").await.unwrap();
        assert!(is_silent(&mut stream).await, "{mode:?}");
        proxy.set(Mode::Pass);
        stream.write_all(b"3").await.unwrap();
        assert!(is_silent(&mut stream).await, "{mode:?}");
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut new, "4").await, "a4");
    }
}

#[tokio::test]
async fn cuts_and_refuses() {
    let proxy = Proxy::open([echo(b'a').await]).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, "1").await, "a1");
    proxy.set(Mode::Refuse);
    assert_eq!(ask(&mut stream, "2").await, "a2");
    let refused = async {
        loop {
            match TcpStream::connect(proxy.address()).await {
                Err(error) => return error.kind(),
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let kind = timeout(SURELY, refused).await.unwrap();
    assert_eq!(kind, ErrorKind::ConnectionRefused);
    proxy.set(Mode::Cut);
    let ended = timeout(SURELY, stream.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    proxy.set(Mode::Pass);
    let again = async {
        loop {
            if let Ok(stream) = TcpStream::connect(proxy.address()).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut stream = timeout(SURELY, again).await.unwrap();
    assert_eq!(ask(&mut stream, "3").await, "a3");
}

#[tokio::test]
async fn a_delay_is_added_each_way_and_not_for_each_piece() {
    let proxy = Proxy::open([echo(b'a').await]).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, "1").await, "a1");
    let each_way = Duration::from_millis(200);
    proxy.delay(each_way);
    let begin = Instant::now();
    let mut sent = String::new();
    for number in 0..10 {
        stream.write_all(number.to_string().as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        sent += &number.to_string();
    }
    let mut heard = String::new();
    while heard.chars().filter(char::is_ascii_digit).count() < sent.len() {
        heard += &hear(&mut stream).await;
    }
    assert_eq!(heard.replace('a', ""), sent);
    let took = begin.elapsed();
    assert!(took >= 2 * each_way, "{took:?}");
    // One after the other would be ten times as much.
    assert!(took < 10 * each_way, "{took:?}");
}
