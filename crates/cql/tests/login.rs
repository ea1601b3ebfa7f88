//! A database that refuses the login. The tests' own asks for none, so this one is played: it knows just enough of the native protocol
//! (version 4) to refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use postrider_cql::{Config, Secret, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OPTIONS: u8 = 0x05;
const STARTUP: u8 = 0x01;
const AUTH_RESPONSE: u8 = 0x0f;

/// A `[string]`.
fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Answers one connection until it ends.
async fn refuse(mut client: TcpStream) -> std::io::Result<()> {
    loop {
        let mut header = [0; 9];
        client.read_exact(&mut header).await?;
        let [_, _, high, low, opcode, length @ ..] = header;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        client.read_exact(&mut body).await?;
        let (answers, body) = match opcode {
            // SUPPORTED, with nothing in it.
            OPTIONS => (0x06, vec![0, 0]),
            // AUTHENTICATE
            STARTUP => (0x03, string("org.apache.cassandra.auth.PasswordAuthenticator")),
            AUTH_RESPONSE => {
                // ERROR: bad credentials
                let why = string("Provided username postrider and/or password are incorrect");
                (0x00, [&0x0100_u32.to_be_bytes()[..], &why].concat())
            }
            _ => return Ok(()),
        };
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let header = [&[0x84, 0, high, low, answers][..], &length].concat();
        client.write_all(&[header, body].concat()).await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_is_temporary_and_says_which_settings_to_look_at() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let playing = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(refuse(client));
        }
    });
    let config = Config {
        contact_points: vec![address.clone()],
        user: "postrider".into(),
        password: Secret("wrong".into()),
        ..Config::default()
    };
    let session = Session::open(&config).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let error = loop {
        let error = session.ready().await.unwrap_err();
        assert!(Instant::now() < until, "{error}");
        if !error.to_string().contains("connecting") {
            break error;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let text = error.to_string();
    let settings = "refuses the login, check storage.cql.username and storage.cql.password";
    assert!(
        error.is_temporary() && text.contains(settings) && text.contains(&address),
        "{text}"
    );
    assert!(!text.contains("wrong") && !text.contains('\n'), "{text}");
    playing.abort();
}
