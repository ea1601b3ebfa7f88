//! A small authoritative DNS server: a table of records, answered over UDP and TCP on one loopback port.
//!
//! ```no_run
//! # async fn example() {
//! use postrider_testkit::dns::{Dns, Fault};
//!
//! let dns = Dns::start().await;
//! dns.mx("hamburger.edu", 10, "mx.hamburger.edu");
//! dns.a("mx.hamburger.edu", "127.0.0.1");
//! dns.fault("slow.example", Fault::Silence);
//! let resolver = format!("resolver = [\"{}\"]", dns.address());
//! # }
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, Metadata, ResponseCode};
pub use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// The largest answer sent over UDP; a larger one is cut, and asked for again over TCP.
const UDP_MAX: usize = 512;

/// How a name misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No answer at all.
    Silence,
    /// SERVFAIL.
    ServerFailure,
    /// REFUSED.
    Refused,
}

/// A running server; it ends with its handle.
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Zone {
    records: HashMap<Name, Vec<RData>>,
    faults: HashMap<Name, Fault>,
    faults_of_kind: HashMap<(Name, RecordType), Fault>,
    queries: Vec<(String, RecordType)>,
    ttl: u32,
}

impl Dns {
    /// Serves an empty table: every name does not exist.
    pub async fn start() -> Self {
        let (udp, tcp) = bind().await;
        let address = udp.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone {
            ttl: 60,
            ..Zone::default()
        }));
        let tasks = vec![
            tokio::spawn(serve_udp(udp, zone.clone())),
            tokio::spawn(serve_tcp(tcp, zone.clone())),
        ];
        Self { address, zone, tasks }
    }

    /// Where it listens, UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a mail exchanger. The exchanger `.` is the null MX (RFC 7505).
    pub fn mx(&self, domain: &str, preference: u16, exchange: &str) {
        self.add(domain, RData::MX(MX::new(preference, name(exchange))));
    }

    /// Adds an address record, A or AAAA.
    pub fn a(&self, host: &str, address: &str) {
        let data = match address.parse().unwrap() {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        self.add(host, data);
    }

    /// Adds an alias.
    pub fn cname(&self, host: &str, canonical: &str) {
        self.add(host, RData::CNAME(CNAME(name(canonical))));
    }

    /// Adds a text record.
    pub fn txt(&self, host: &str, text: &str) {
        self.add(host, RData::TXT(TXT::new(vec![text.to_owned()])));
    }

    /// Removes all records of a name; the name exists no longer.
    pub fn remove(&self, host: &str) {
        self.zone.lock().unwrap().records.remove(&name(host));
    }

    /// Lets a name misbehave, whatever is asked of it.
    pub fn fault(&self, host: &str, fault: Fault) {
        self.zone.lock().unwrap().faults.insert(name(host), fault);
    }

    /// Lets a name misbehave when it is asked for records of one kind.
    pub fn fault_of_kind(&self, host: &str, kind: RecordType, fault: Fault) {
        let mut zone = self.zone.lock().unwrap();
        zone.faults_of_kind.insert((name(host), kind), fault);
    }

    /// Lets it behave again.
    pub fn mend(&self, host: &str) {
        let (mut zone, host) = (self.zone.lock().unwrap(), name(host));
        zone.faults.remove(&host);
        zone.faults_of_kind.retain(|(name, _), _| *name != host);
    }

    /// Time to live of all records, in seconds. Default 60.
    pub fn set_ttl(&self, seconds: u32) {
        self.zone.lock().unwrap().ttl = seconds;
    }

    /// What it has been asked so far: name without the last dot, and type.
    pub fn queries(&self) -> Vec<(String, RecordType)> {
        self.zone.lock().unwrap().queries.clone()
    }

    fn add(&self, owner: &str, data: RData) {
        self.zone
            .lock()
            .unwrap()
            .records
            .entry(name(owner))
            .or_default()
            .push(data);
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Zone {
    /// The answer to a query, `None` for silence.
    fn answer(&mut self, query: &Message) -> Option<Message> {
        let question = query.queries.first()?.clone();
        let (asked, kind) = (question.name().to_lowercase(), question.query_type());
        self.queries
            .push((asked.to_ascii().trim_end_matches('.').to_owned(), kind));
        let mut metadata = Metadata::response_from_request(&query.metadata);
        metadata.message_type = MessageType::Response;
        metadata.authoritative = true;
        metadata.recursion_available = true;
        let mut answer = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
        answer.metadata = metadata;
        answer.add_query(question.clone());
        let of_kind = self.faults_of_kind.get(&(asked.clone(), kind));
        match self.faults.get(&asked).or(of_kind) {
            Some(Fault::Silence) => return None,
            Some(Fault::ServerFailure) => answer.metadata.response_code = ResponseCode::ServFail,
            Some(Fault::Refused) => answer.metadata.response_code = ResponseCode::Refused,
            None => self.look_up(question.name().clone(), asked, kind, &mut answer),
        }
        Some(answer)
    }

    fn look_up(&self, mut owner: Name, mut asked: Name, kind: RecordType, answer: &mut Message) {
        // Aliases are followed as a recursive server would, a few deep.
        for _ in 0..8 {
            let Some(records) = self.records.get(&asked) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                break;
            };
            let wanted = |data: &&RData| data.record_type() == kind;
            for data in records.iter().filter(wanted) {
                answer.add_answer(Record::from_rdata(owner.clone(), self.ttl, data.clone()));
            }
            let alias = records.iter().find_map(|data| match data {
                RData::CNAME(CNAME(to)) if kind != RecordType::CNAME => Some(to.clone()),
                _ => None,
            });
            let Some(to) = alias else { break };
            answer.add_answer(Record::from_rdata(
                owner,
                self.ttl,
                RData::CNAME(CNAME(to.clone())),
            ));
            (owner, asked) = (to.clone(), to.to_lowercase());
        }
        if answer.answers.is_empty() {
            let root = Name::root();
            let soa = SOA::new(root.clone(), root.clone(), 1, 3600, 600, 86_400, self.ttl);
            answer.add_authority(Record::from_rdata(root, self.ttl, RData::SOA(soa)));
        }
    }
}

async fn bind() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(query) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let Some(answer) = zone.lock().unwrap().answer(&query) else {
            continue;
        };
        let mut bytes = answer.to_vec().unwrap();
        if bytes.len() > UDP_MAX {
            bytes = answer.truncate().to_vec().unwrap();
        }
        let _ = socket.send_to(&bytes, from).await;
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let zone = zone.clone();
        tokio::spawn(async move { drop(converse(stream, zone).await) });
    }
}

async fn converse(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await?;
        let Ok(query) = Message::from_vec(&bytes) else {
            return Ok(());
        };
        let Some(answer) = zone.lock().unwrap().answer(&query) else {
            continue;
        };
        let bytes = answer.to_vec().unwrap();
        stream.write_u16(u16::try_from(bytes.len()).unwrap()).await?;
        stream.write_all(&bytes).await?;
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap().to_lowercase();
    name.set_fqdn(true);
    name
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_proto::op::{OpCode, Query};

    use super::*;

    async fn ask(dns: &Dns, host: &str, kind: RecordType) -> Option<Message> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(name(host), kind));
        socket
            .send_to(&query.to_vec().unwrap(), dns.address())
            .await
            .unwrap();
        let mut buffer = [0; 4096];
        let received = tokio::time::timeout(Duration::from_millis(300), socket.recv_from(&mut buffer))
            .await
            .ok()?;
        Some(Message::from_vec(&buffer[..received.unwrap().0]).unwrap())
    }

    #[tokio::test]
    async fn it_answers_what_it_was_told() {
        let dns = Dns::start().await;
        dns.mx("hamburger.edu", 10, "mx.hamburger.edu");
        dns.a("mx.hamburger.edu", "127.0.0.1");
        dns.cname("www.hamburger.edu", "mx.hamburger.edu");
        dns.fault("slow.example", Fault::Silence);
        dns.fault("broken.example", Fault::ServerFailure);
        let answers = |message: Option<Message>| message.unwrap().answers.len();
        assert_eq!(answers(ask(&dns, "Hamburger.EDU", RecordType::MX).await), 1);
        assert_eq!(answers(ask(&dns, "hamburger.edu", RecordType::A).await), 0);
        assert_eq!(answers(ask(&dns, "www.hamburger.edu", RecordType::A).await), 2);
        let code = |message: Option<Message>| message.unwrap().metadata.response_code;
        assert_eq!(
            code(ask(&dns, "hamburger.edu", RecordType::A).await),
            ResponseCode::NoError
        );
        assert_eq!(
            code(ask(&dns, "no.example", RecordType::A).await),
            ResponseCode::NXDomain
        );
        assert_eq!(
            code(ask(&dns, "broken.example", RecordType::MX).await),
            ResponseCode::ServFail
        );
        assert!(ask(&dns, "slow.example", RecordType::MX).await.is_none());
        assert_eq!(
            dns.queries().first(),
            Some(&("hamburger.edu".to_owned(), RecordType::MX))
        );
    }

    #[tokio::test]
    async fn a_long_answer_is_cut_over_udp() {
        let dns = Dns::start().await;
        for at in 0..40 {
            dns.mx(
                "many.example",
                10,
                &format!("a-rather-long-name-{at}.many.example"),
            );
        }
        assert!(
            ask(&dns, "many.example", RecordType::MX)
                .await
                .unwrap()
                .metadata
                .truncation
        );
    }
}
