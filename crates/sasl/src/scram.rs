//! SCRAM-SHA-256: the messages and the cryptography both halves share.
//!
//! ```text
//! client-first = gs2-header "n=" saslname ",r=" c-nonce [ "," extensions ]      RFC 5802 §7
//! gs2-header   = ( "n" / "y" / "p=" cb-name ) "," [ "a=" saslname ] ","
//! server-first = "r=" nonce ",s=" base64 ",i=" posit-number [ "," extensions ]
//! client-final = "c=" base64 ",r=" nonce [ "," extensions ] ",p=" base64
//! server-final = ( "e=" error / "v=" base64 ) [ "," extensions ]
//! ```

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::text::{decode, encode, prepare};

/// The fewest iterations a server may ask for (RFC 7677 §4).
pub const MIN_ITERATIONS: u32 = 4096;

/// The most a client of ours computes for a server, so that a hostile one cannot keep it busy.
pub(crate) const MAX_ITERATIONS: u32 = 1_000_000;

pub(crate) type Key = [u8; 32];

/// What a server keeps of a password for SCRAM-SHA-256 (RFC 5802 §3): no password can be read from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Random, per user.
    pub salt: Vec<u8>,
    /// PBKDF2 iterations.
    pub iterations: u32,
    /// `H(HMAC(SaltedPassword, "Client Key"))`
    pub stored_key: [u8; 32],
    /// `HMAC(SaltedPassword, "Server Key")`
    pub server_key: [u8; 32],
}

impl Verifier {
    /// Derives it from a password that [`prepare`] accepts. Costs `iterations` HMACs (a few milliseconds).
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password, salt, iterations);
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(hmac(&salted, &[b"Client Key"])).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// From what was stored; `None` when a key does not have 32 octets, the salt is empty or there are no iterations.
    pub fn from_parts(salt: Vec<u8>, iterations: u32, stored_key: &[u8], server_key: &[u8]) -> Option<Self> {
        let (stored_key, server_key) = (stored_key.try_into().ok()?, server_key.try_into().ok()?);
        (!salt.is_empty() && iterations > 0).then_some(Self {
            salt,
            iterations,
            stored_key,
            server_key,
        })
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// `HMAC-SHA-256` over the concatenation of the parts.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// `Hi()` of RFC 5802 §2.2: PBKDF2 with one block.
pub(crate) fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mac = keyed(password);
    let mut first = mac.clone();
    first.update(salt);
    first.update(&1u32.to_be_bytes());
    let mut block: Key = first.finalize().into_bytes().into();
    let mut sum = block;
    for _ in 1..iterations {
        let mut next = mac.clone();
        next.update(&block);
        block = next.finalize().into_bytes().into();
        xor(&mut sum, &block);
    }
    sum
}

#[allow(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 §2)")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

pub(crate) fn xor(into: &mut Key, other: &Key) {
    for (a, b) in into.iter_mut().zip(other) {
        *a ^= b;
    }
}

/// Compares without telling by its time how much was equal.
pub(crate) fn constant_time_eq(a: &Key, b: &Key) -> bool {
    let difference = a.iter().zip(b).fold(0u8, |acc, (a, b)| acc | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst<'a> {
    /// Up to and with its second comma; comes back in the final message.
    pub gs2_header: &'a str,
    /// What follows, a part of the signed text.
    pub bare: &'a str,
    pub authzid: Option<String>,
    pub user: String,
    pub nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// `None` when it is malformed or wants channel binding or an extension we do not know.
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message)
            .ok()
            .filter(|text| text.len() <= 4096)?;
        // `y` says "I could bind, but believe you cannot": right, as no -PLUS mechanism is ever offered.
        let after_flag = text.strip_prefix("n,").or_else(|| text.strip_prefix("y,"))?;
        let (authzid, bare) = after_flag.split_once(',')?;
        let authzid = match authzid {
            "" => None,
            given => Some(parse_saslname(given.strip_prefix("a=")?)?),
        };
        let gs2_header = &text[..text.len() - bare.len()];
        // `m=` would come first: an extension that must be understood (RFC 5802 §5.1), so not knowing it is failing.
        let mut parts = bare.split(',');
        let user = parse_saslname(parts.next()?.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        Some(Self {
            gs2_header,
            bare,
            authzid,
            user,
            nonce,
        })
    }
}

/// The client's final message.
pub(crate) struct ClientFinal<'a> {
    pub channel_binding: Vec<u8>,
    pub nonce: &'a str,
    pub without_proof: &'a str,
    pub proof: Key,
}

impl<'a> ClientFinal<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message)
            .ok()
            .filter(|text| text.len() <= 4096)?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut parts = without_proof.split(',');
        Some(Self {
            channel_binding: decode(parts.next()?.strip_prefix("c=")?.as_bytes())?,
            nonce: parts.next()?.strip_prefix("r=")?,
            without_proof,
            proof: decode(proof.as_bytes())?.try_into().ok()?,
        })
    }
}

/// The server's first message.
pub(crate) struct ServerFirst<'a> {
    pub nonce: &'a str,
    pub salt: Vec<u8>,
    pub iterations: u32,
}

impl<'a> ServerFirst<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message)
            .ok()
            .filter(|text| text.len() <= 4096)?;
        let mut parts = text.split(',');
        let nonce = parts.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        let salt = decode(parts.next()?.strip_prefix("s=")?.as_bytes())?;
        let iterations = parts.next()?.strip_prefix("i=")?.parse().ok()?;
        Some(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

/// `c-nonce = printable` without comma.
fn is_nonce(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 512
        && text
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && octet != b',')
}

/// `saslname`: `=2C` and `=3D` stand for comma and equals sign, and no other escape exists.
fn parse_saslname(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        name.push_str(before);
        let (c, after) = match after.get(..2)? {
            "2C" => (',', &after[2..]),
            "3D" => ('=', &after[2..]),
            _ => return None,
        };
        name.push(c);
        rest = after;
    }
    name.push_str(rest);
    prepare(name.as_bytes())?;
    Some(name)
}

pub(crate) fn encode_saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// 144 random bits as text.
pub(crate) fn fresh_nonce() -> String {
    encode(&rand::random::<[u8; 18]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_first_messages() {
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(
            (first.gs2_header, first.bare),
            ("n,,", "n=user,r=rOprNGfwEbeRWgbNEkqO")
        );
        assert_eq!(
            (first.user.as_str(), first.nonce, first.authzid),
            ("user", "rOprNGfwEbeRWgbNEkqO", None)
        );
        let first = ClientFirst::parse(b"y,a=us=2Cer,n=us=2Cer,r=x,ext=1").unwrap();
        assert_eq!((first.gs2_header, first.user.as_str()), ("y,a=us=2Cer,", "us,er"));
        for bad in [
            "p=tls-exporter,,n=u,r=x",
            "n,,m=1,n=u,r=x",
            "n,,n=u=4,r=x",
            "n,,n=,r=x",
            "n,,n=u,r=",
            "n,",
            "",
            "n,,n=u,r=é",
        ] {
            assert_eq!(ClientFirst::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn names_survive_their_escapes() {
        for name in ["bob", "a,b=c", "=2C", "бob"] {
            assert_eq!(parse_saslname(&encode_saslname(name)).as_deref(), Some(name));
        }
    }
}
