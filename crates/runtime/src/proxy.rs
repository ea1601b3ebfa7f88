//! The PROXY protocol: a load balancer's word on who the client is.
//!
//! Both versions are read, and only from trusted sources; on a listener that expects it, a connection without it, or from
//! elsewhere, is closed. A trusted balancer's own health checks (`LOCAL`, `UNKNOWN`) keep their own address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest version 1 header, with its CRLF.
const V1_LIMIT: usize = 107;

/// The most bytes of addresses and extensions a version 2 header may announce. Real ones stay far below.
const V2_LIMIT: usize = 2048;

/// A network in CIDR form: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                (network.to_bits() ^ address.to_bits())
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                (network.to_bits() ^ address.to_bits())
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a network such as `10.0.0.0/8`");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(widest), str::parse).map_err(|_| wrong())?;
        if prefix > widest {
            Err(wrong())
        } else {
            Ok(Self { address, prefix })
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        format!("{}/{}", network.address, network.prefix)
    }
}

/// Reads a PROXY header off the front of a connection: the client's address, or `None` when the balancer speaks for itself.
///
/// # Errors
/// `InvalidData` when there is no well-formed header of at most [`V2_LIMIT`] bytes.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // The shortest header of either version is longer than this, so nothing of the session is read.
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        read_v2(stream).await
    } else if start.starts_with(b"PROXY ") {
        read_v1(stream, &start).await
    } else {
        Err(malformed("no PROXY header"))
    }
}

async fn read_v1(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> io::Result<Option<SocketAddr>> {
    let mut line = Vec::with_capacity(V1_LIMIT);
    line.extend_from_slice(start);
    // Byte by byte, so that nothing of the session behind it is taken; it is a short line from a near peer.
    while !line.ends_with(b"\r\n") {
        if line.len() == V1_LIMIT {
            return Err(malformed("version 1 header too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let text = std::str::from_utf8(&line).map_err(|_| malformed("version 1 header is not ASCII"))?;
    parse_v1(text.trim_end_matches("\r\n"))
}

fn parse_v1(text: &str) -> io::Result<Option<SocketAddr>> {
    let mut words = text.split(' ').skip(1);
    match words.next() {
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4" | "TCP6") => {}
        _ => return Err(malformed("unknown protocol in version 1 header")),
    }
    let (source, port) = (words.next(), words.nth(1));
    let source = source.and_then(|text| text.parse::<IpAddr>().ok());
    let port = port.and_then(|text| text.parse::<u16>().ok());
    match (source, port) {
        (Some(source), Some(port)) => Ok(Some(SocketAddr::new(source, port))),
        _ => Err(malformed("no addresses in version 1 header")),
    }
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    if length > V2_LIMIT {
        return Err(malformed("version 2 header too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    parse_v2(command, family, &body)
}

fn parse_v2(command: u8, family: u8, body: &[u8]) -> io::Result<Option<SocketAddr>> {
    match command {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(malformed("unknown command in version 2 header")),
    }
    let address = match family {
        0x11 => body
            .first_chunk::<4>()
            .map(|bytes| IpAddr::V4(Ipv4Addr::from(*bytes)))
            .zip(body.get(8..10)),
        0x21 => body
            .first_chunk::<16>()
            .map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes)))
            .zip(body.get(32..34)),
        _ => return Ok(None),
    };
    match address {
        Some((address, &[high, low])) => Ok(Some(SocketAddr::new(address, u16::from_be_bytes([high, low])))),
        _ => Err(malformed("version 2 header too short for its addresses")),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let mut rest = bytes;
        let read = read_header(&mut rest).await;
        (read, rest.to_vec())
    }

    #[tokio::test]
    async fn version_1_names_the_client_and_leaves_the_session_alone() {
        let (read_one, rest) = read(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\nEHLO x\r\n").await;
        assert_eq!(read_one.unwrap(), Some("192.0.2.7:4711".parse().unwrap()));
        assert_eq!(rest, b"EHLO x\r\n");
        let (unknown, rest) = read(b"PROXY UNKNOWN\r\nQUIT\r\n").await;
        assert_eq!((unknown.unwrap(), rest.as_slice()), (None, &b"QUIT\r\n"[..]));
        assert!(read(b"PROXY TCP4 here there 1 2\r\n").await.0.is_err());
        assert!(read(b"EHLO crepes.fr\r\n").await.0.is_err());
        assert!(
            read(format!("PROXY UNKNOWN {}\r\n", "x".repeat(100)).as_bytes())
                .await
                .0
                .is_err()
        );
    }

    #[tokio::test]
    async fn version_2_names_the_client_and_leaves_the_session_alone() {
        let mut header = SIGNATURE.to_vec();
        header.extend([
            0x21, 0x11, 0, 15, 192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 25, 4, 0, 0,
        ]);
        header.extend(b"EHLO");
        let (read_one, rest) = read(&header).await;
        assert_eq!(read_one.unwrap(), Some("192.0.2.7:4711".parse().unwrap()));
        assert_eq!(rest, b"EHLO");
        let mut local = SIGNATURE.to_vec();
        local.extend([0x20, 0, 0, 0]);
        assert_eq!(read(&local).await.0.unwrap(), None);
        let mut short = SIGNATURE.to_vec();
        short.extend([0x21, 0x21, 0, 4, 1, 2, 3, 4]);
        assert!(read(&short).await.0.is_err());
    }

    #[test]
    fn networks_contain_what_they_should() {
        let contains = |network: &str, address: &str| {
            network
                .parse::<Network>()
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(contains("192.0.2.1", "192.0.2.1") && !contains("192.0.2.1", "192.0.2.2"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && !contains("2001:db8::/32", "2001:db9::1"));
        assert!("10.0.0.0/33".parse::<Network>().is_err() && "ten/8".parse::<Network>().is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_makes_it_panic(start in 0..3_usize, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut input = [&b""[..], b"PROXY TCP4 ", &SIGNATURE][start].to_vec();
            input.extend(bytes);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(&input));
        }
    }
}
