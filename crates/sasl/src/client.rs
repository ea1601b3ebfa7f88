//! The client half of an exchange.

use postrider_types::Secret;
use sha2::{Digest, Sha256};

use crate::Mechanism;
use crate::plain;
use crate::scram::{self, Key, ServerFirst};
use crate::text::{decode, encode, prepare};

/// Why a client does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// User name or password have characters no mechanism carries, or are empty or too long.
    #[error("user name or password has characters that cannot be sent")]
    Credentials,
    /// The server's challenge does not belong to the mechanism.
    #[error("the server's challenge makes no sense")]
    Challenge,
    /// The server asks for too few iterations to be safe or more than is bearable.
    #[error("the server asks for an unacceptable number of iterations")]
    Iterations,
    /// The server could not prove that it knows the password's verifier.
    #[error("the server's signature is wrong")]
    Signature,
}

/// One authentication, from the client's side.
pub struct Client {
    mechanism: Mechanism,
    user: String,
    password: Secret,
    state: State,
}

enum State {
    First,
    LoginPassword,
    ScramFirst { nonce: String },
    ScramFinal { signature: Key },
    Complete,
    Over,
}

impl Client {
    /// Checks the credentials; sends nothing yet.
    pub fn new(mechanism: Mechanism, user: &str, password: Secret) -> Result<Self, ClientError> {
        if prepare(user.as_bytes()).is_none() || prepare(password.expose()).is_none() {
            return Err(ClientError::Credentials);
        }
        Ok(Self {
            mechanism,
            user: user.to_owned(),
            password,
            state: State::First,
        })
    }

    /// Its mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What may go with the command itself; `None` for LOGIN, which waits to be asked. Call it at most once, first.
    pub fn initial_response(&mut self) -> Option<Vec<u8>> {
        self.initial_with(scram::fresh_nonce())
    }

    /// Answers a (decoded) challenge. Without a call of `initial_response` the first, empty challenge asks for it.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::First if self.mechanism == Mechanism::Login => {
                self.state = State::LoginPassword;
                Ok(self.user.clone().into_bytes())
            }
            State::First => {
                self.state = State::First;
                self.initial_response().ok_or(ClientError::Challenge)
            }
            State::LoginPassword => {
                self.state = State::Complete;
                Ok(self.password.expose().to_vec())
            }
            State::ScramFirst { nonce } => self.scram_final(&nonce, challenge),
            State::ScramFinal { signature } => {
                let given = challenge
                    .strip_prefix(b"v=")
                    .and_then(|text| text.split(|&octet| octet == b',').next());
                let given: Option<Key> = given.and_then(decode).and_then(|octets| octets.try_into().ok());
                if !given.is_some_and(|given| scram::constant_time_eq(&given, &signature)) {
                    return Err(ClientError::Signature);
                }
                self.state = State::Complete;
                Ok(Vec::new())
            }
            State::Complete | State::Over => Err(ClientError::Challenge),
        }
    }

    /// Whether the server's "success" may be believed: everything was said, and with SCRAM the server proved itself.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    fn initial_with(&mut self, nonce: String) -> Option<Vec<u8>> {
        match self.mechanism {
            Mechanism::Plain => {
                self.state = State::Complete;
                Some(plain::encode(&self.user, &self.password))
            }
            Mechanism::Login => None,
            Mechanism::ScramSha256 => {
                let message = format!("n,,{}", client_first_bare(&self.user, &nonce));
                self.state = State::ScramFirst { nonce };
                Some(message.into_bytes())
            }
        }
    }

    fn scram_final(&mut self, nonce: &str, challenge: &[u8]) -> Result<Vec<u8>, ClientError> {
        let first = ServerFirst::parse(challenge).ok_or(ClientError::Challenge)?;
        // The server must have added to our nonce: only ours would let an old conversation be played back.
        if first.nonce.len() <= nonce.len() || !first.nonce.starts_with(nonce) {
            return Err(ClientError::Challenge);
        }
        if !(scram::MIN_ITERATIONS..=scram::MAX_ITERATIONS).contains(&first.iterations) {
            return Err(ClientError::Iterations);
        }
        let salted = scram::salted_password(self.password.expose(), &first.salt, first.iterations);
        let mut proof = scram::hmac(&salted, &[b"Client Key"]);
        let stored_key: Key = Sha256::digest(proof).into();
        let bare = client_first_bare(&self.user, nonce);
        let without_proof = format!("c=biws,r={}", first.nonce);
        let signed: [&[u8]; 5] = [bare.as_bytes(), b",", challenge, b",", without_proof.as_bytes()];
        scram::xor(&mut proof, &scram::hmac(&stored_key, &signed));
        let server_key = scram::hmac(&salted, &[b"Server Key"]);
        self.state = State::ScramFinal {
            signature: scram::hmac(&server_key, &signed),
        };
        Ok(format!("{without_proof},p={}", encode(&proof)).into_bytes())
    }
}

fn client_first_bare(user: &str, nonce: &str) -> String {
    format!("n={},r={nonce}", scram::encode_saslname(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exchange, Step, Verifier};

    /// RFC 7677 §3.
    #[test]
    fn the_exchange_of_rfc_7677() {
        let mut client = Client::new(Mechanism::ScramSha256, "user", Secret::new("pencil")).unwrap();
        assert_eq!(
            client.initial_with("rOprNGfwEbeRWgbNEkqO".into()).as_deref(),
            Some(&b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"[..])
        );
        let server_first =
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            String::from_utf8(client.respond(server_first).unwrap()).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(!client.is_complete());
        assert_eq!(
            client.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Ok(Vec::new())
        );
        assert!(client.is_complete());
    }

    #[test]
    fn a_server_that_cannot_sign_is_not_believed() {
        let mut client = Client::new(Mechanism::ScramSha256, "user", Secret::new("pencil")).unwrap();
        client.initial_with("abc".into());
        assert_eq!(
            client.respond(b"r=abc,s=c2FsdA==,i=4096"),
            Err(ClientError::Challenge)
        );
        client.initial_with("abc".into());
        assert_eq!(
            client.respond(b"r=abcdef,s=c2FsdA==,i=1"),
            Err(ClientError::Iterations)
        );
        client.initial_with("abc".into());
        client.respond(b"r=abcdef,s=c2FsdA==,i=4096").unwrap();
        assert_eq!(
            client.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Err(ClientError::Signature)
        );
        assert!(!client.is_complete());
    }

    /// Both halves together; `right` is the password the server knows.
    fn converse(mechanism: Mechanism, user: &str, typed: &str, right: &str, initial: bool) -> (bool, bool) {
        let mut client = Client::new(mechanism, user, Secret::new(typed)).unwrap();
        let first = if initial { client.initial_response() } else { None };
        let (mut server, mut step) = Exchange::start(mechanism, first.as_deref());
        loop {
            step = match step {
                Step::Challenge(challenge) => match client.respond(&challenge) {
                    Ok(response) => server.response(&response),
                    Err(_) => return (false, client.is_complete()),
                },
                Step::NeedPassword {
                    user: given,
                    password,
                } => {
                    assert_eq!(given, user);
                    server.password(password.expose() == right.as_bytes())
                }
                Step::NeedVerifier { user: given } => {
                    assert_eq!(given, user);
                    server.verifier(Verifier::derive(right.as_bytes(), b"salt", 4096))
                }
                Step::Done { authzid } => {
                    assert_eq!(authzid, user);
                    return (true, client.is_complete());
                }
                Step::Failed => return (false, client.is_complete()),
            };
        }
    }

    #[test]
    fn both_halves_agree() {
        for mechanism in Mechanism::ALL {
            for initial in [true, false] {
                assert_eq!(
                    converse(mechanism, "b,o=b", "hungry", "hungry", initial),
                    (true, true),
                    "{mechanism}"
                );
                assert!(
                    !converse(mechanism, "b,o=b", "angry", "hungry", initial).0,
                    "{mechanism}"
                );
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_from_outside_panics(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..200), text in "[nyp],,?[nrm]=[^,]*,r=.*") {
            for mechanism in Mechanism::ALL {
                for input in [&octets[..], text.as_bytes()] {
                    let (mut server, _) = Exchange::start(mechanism, Some(input));
                    server.response(input);
                    let mut client = Client::new(mechanism, "u", Secret::new("p")).unwrap();
                    let _ = client.respond(input);
                    let _ = client.respond(input);
                }
            }
        }
    }
}
