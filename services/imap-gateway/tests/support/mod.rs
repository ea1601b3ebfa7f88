//! A gateway over stores in memory, on a loopback port, and a client that types commands.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_coordination::{LoginLimits, Memory as Coordination};
use postrider_directory::{Argon2Cost, Config as DirectoryConfig, Directory};
use postrider_imap_gateway::{ImapGateway, Services, Settings};
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::directory::{AddAccountRequest, AddDomainRequest};
use postrider_proto::mailstore::deliver_request::Content;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::mailstore::{DeliverRecipient, DeliverRequest};
use postrider_proto::{Link, MAX_MESSAGE_BYTES};
use postrider_runtime::{Budget, Server, Settings as Listener};
use postrider_store::directory::MemoryDirectory;
use postrider_store::memory::Memory;
use postrider_types::DeliveryId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub const USER: &str = "u@d.example";
pub const PASSWORD: &str = "secret-word";

/// A running gateway; it ends when this is dropped.
pub struct Node {
    pub address: SocketAddr,
    pub engine: Memory,
    pub mail_store: MailStoreClient<Link>,
    pub directory: DirectoryClient<Link>,
    pub account: u64,
    stop: CancellationToken,
}

impl Node {
    pub async fn start() -> Self {
        Self::with(Settings::default(), 0, ([127, 0, 0, 1], 0).into()).await
    }

    /// With settings, and a quota for the user.
    pub async fn with(settings: Settings, quota: u64, bind: SocketAddr) -> Self {
        let engine = Memory::new();
        let coordination = Arc::new(Coordination::new());
        let shared = Arc::new(engine.clone());
        let config = postrider_mail_store::Config {
            sole_instance: true,
            ..postrider_mail_store::Config::default()
        };
        let store =
            postrider_mail_store::service(shared.clone(), shared, coordination.clone(), config).unwrap();
        let directory_config = DirectoryConfig {
            argon2: Argon2Cost {
                memory_kib: 64,
                iterations: 1,
                parallelism: 1,
            },
            scram_iterations: 4096,
            ..DirectoryConfig::default()
        };
        let directory = Directory::open(Arc::new(MemoryDirectory::new()), directory_config)
            .await
            .unwrap();
        let mail_store = Link::local(
            MailStoreServer::new(store)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        );
        let directory = Link::local(DirectoryServer::new(directory));
        let settings = Settings {
            logins: LoginLimits {
                delay: Duration::from_millis(1),
                ..settings.logins
            },
            ..settings
        };
        let services = Services {
            directory: directory.clone(),
            mail_store: mail_store.clone(),
            counters: coordination,
            budget: Budget::new(64 << 20),
        };
        let gateway = ImapGateway::new(settings, services);
        let stop = CancellationToken::new();
        let background = gateway.background();
        let ended = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = background => {}
                () = ended.cancelled() => {}
            }
        });
        let listener = Listener {
            name: "imap",
            bind: vec![bind],
            drain_timeout: Duration::from_secs(1),
            ..Listener::default()
        };
        let server = Server::bind(listener).unwrap();
        let address = server.addresses()[0];
        tokio::spawn(server.serve(gateway, stop.clone()));
        let mut node = Self {
            address,
            engine,
            mail_store: MailStoreClient::new(mail_store).max_decoding_message_size(MAX_MESSAGE_BYTES),
            directory: DirectoryClient::new(directory),
            account: 0,
            stop,
        };
        node.add_domain("d.example").await;
        node.account = node.add_user(USER, PASSWORD, quota).await;
        node
    }

    pub async fn add_domain(&mut self, name: &str) {
        let request = AddDomainRequest { name: name.into() };
        self.directory.add_domain(request).await.unwrap();
    }

    pub async fn add_user(&mut self, address: &str, password: &str, quota: u64) -> u64 {
        let request = AddAccountRequest {
            address: address.into(),
            password: Bytes::copy_from_slice(password.as_bytes()),
            quota,
            ..AddAccountRequest::default()
        };
        let answer = self.directory.add_account(request).await.unwrap().into_inner();
        answer.account.unwrap().id
    }

    /// As another server would.
    pub async fn deliver(&mut self, letter: &str) {
        let recipient = DeliverRecipient {
            account: self.account,
            delivery_id: Bytes::copy_from_slice(DeliveryId::generate().as_bytes()),
            ..DeliverRecipient::default()
        };
        let request = DeliverRequest {
            content: Some(Content::Inline(Bytes::copy_from_slice(letter.as_bytes()))),
            recipients: vec![recipient],
            received: 1_795_338_960_000,
            ..DeliverRequest::default()
        };
        let results = self
            .mail_store
            .deliver(request)
            .await
            .unwrap()
            .into_inner()
            .results;
        assert_eq!(results[0].outcome, 1, "{results:?}");
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// A client that has logged in.
    pub async fn login(&self) -> Client {
        let mut client = self.connect().await;
        client.ok(&format!("LOGIN {USER} {PASSWORD}")).await;
        client
    }

    /// A client with INBOX selected.
    pub async fn inbox(&self) -> Client {
        let mut client = self.login().await;
        client.ok("SELECT INBOX").await;
        client
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A letter with this subject and body.
pub fn letter(subject: &str, body: &str) -> String {
    format!(
        "Message-ID: <{subject}@d.example>\r\nDate: Sun, 22 Nov 2026 09:16:00 +0000\r\nFrom: Alice <alice@crepes.fr>\r\n\
         To: bob@hamburger.edu\r\nSubject: {subject}\r\n\r\n{body}\r\n"
    )
}

/// Types commands, reads lines; a line with literals is one line here.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    tag: u32,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self {
            stream,
            input: Vec::new(),
            tag: 0,
        };
        let greeting = client.line().await;
        assert!(greeting.starts_with("* OK "), "{greeting}");
        client
    }

    /// Sends a command; its untagged lines and its completion without the tag.
    pub async fn command(&mut self, command: &str) -> (Vec<String>, String) {
        let tag = self.start(command).await;
        self.finish(&tag).await
    }

    /// Sends a command that has to succeed; its untagged lines.
    pub async fn ok(&mut self, command: &str) -> Vec<String> {
        let (lines, done) = self.command(command).await;
        assert!(done.starts_with("OK"), "{command}: {done}");
        lines
    }

    /// Sends a command that has to be refused; how it was.
    pub async fn no(&mut self, command: &str) -> String {
        let (_, done) = self.command(command).await;
        assert!(done.starts_with("NO"), "{command}: {done}");
        done
    }

    /// Sends a command without waiting; its tag.
    pub async fn start(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.send(&format!("{tag} {command}\r\n")).await;
        tag
    }

    /// Reads to the completion of a command.
    pub async fn finish(&mut self, tag: &str) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if let Some(done) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                return (lines, done.to_owned());
            }
            lines.push(line);
        }
    }

    /// Appends a message; how it completed.
    pub async fn append(&mut self, mailbox: &str, options: &str, message: &str) -> String {
        let command = format!("APPEND {mailbox} {options}{{{}+}}\r\n{message}", message.len());
        self.command(&command).await.1
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next line, without its line end; literals stay in it.
    pub async fn line(&mut self) -> String {
        let mut from = 0;
        loop {
            if let Some(end) = self.input[from..].windows(2).position(|pair| pair == b"\r\n") {
                let end = from + end;
                let Some(literal) = literal(&self.input[from..end]) else {
                    let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                    self.input.drain(..end + 2);
                    return line;
                };
                from = end + 2 + literal;
                while self.input.len() < from {
                    self.fill().await;
                }
                continue;
            }
            self.fill().await;
        }
    }

    /// Whether the server closes the connection next.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut byte));
        matches!(read.await, Ok(Ok(0) | Err(_)))
    }

    async fn fill(&mut self) {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
        let read = read.unwrap_or_else(|_| {
            panic!("no answer; so far: {:?}", String::from_utf8_lossy(&self.input));
        });
        assert!(
            read.unwrap() > 0,
            "closed; so far: {:?}",
            String::from_utf8_lossy(&self.input)
        );
    }
}

/// The size of the literal that a line announces at its end.
fn literal(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line.strip_suffix(b"}")?).ok()?;
    text.rsplit_once('{')?.1.trim_end_matches('+').parse().ok()
}
