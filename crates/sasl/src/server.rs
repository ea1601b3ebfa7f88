//! The server half of an exchange.
//!
//! ```text
//! PLAIN   start ─(initial response, or Challenge "")─▶ NeedPassword ─password()─▶ Done | Failed
//! LOGIN   start ─Challenge "Username:"─▶ Challenge "Password:" ─▶ NeedPassword ─▶ Done | Failed
//! SCRAM   start ─▶ NeedVerifier ─verifier()─▶ Challenge server-first ─▶ Challenge server-final ─▶ Done
//! ```

use postrider_types::Secret;

use crate::Mechanism;
use crate::plain::{self, Credentials};
use crate::scram::{self, ClientFinal, ClientFirst, Key, Verifier};
use crate::text::{encode, prepare};

/// What an exchange wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this (in base64) and give the client's answer to [`Exchange::response`].
    Challenge(Vec<u8>),
    /// Ask the directory, then call [`Exchange::password`].
    NeedPassword {
        /// As the client gave it.
        user: String,
        /// As the client gave it; [`prepare`] accepts it.
        password: Secret,
    },
    /// Fetch the user's verifier (for an unknown user a made-up one), then call [`Exchange::verifier`].
    NeedVerifier {
        /// As the client gave it.
        user: String,
    },
    /// The client is who it says.
    Done {
        /// As whom it may act: the authentication identity, since asking for another one fails.
        authzid: String,
    },
    /// Malformed, not supported, or a wrong proof: the client is told no more than that. Final.
    Failed,
}

/// One authentication, from the server's side. Calls out of order fail the exchange.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    LoginUser,
    LoginPassword {
        user: String,
    },
    Password {
        user: String,
    },
    ScramFirst,
    ScramVerifier(Scram),
    ScramFinal {
        scram: Scram,
        verifier: Verifier,
        server_first: String,
    },
    ScramEnd {
        user: String,
    },
    Over,
}

#[derive(Debug)]
struct Scram {
    user: String,
    gs2_header: String,
    client_first_bare: String,
    nonce: String,
}

impl Exchange {
    /// Begins. `initial_response` is the decoded one, if the client sent it with its command.
    pub fn start(mechanism: Mechanism, initial_response: Option<&[u8]>) -> (Self, Step) {
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginUser,
            Mechanism::ScramSha256 => State::ScramFirst,
        };
        let mut exchange = Self(state);
        let step = match (initial_response, mechanism) {
            (Some(response), _) => exchange.response(response),
            (None, Mechanism::Login) => Step::Challenge(b"Username:".to_vec()),
            (None, _) => Step::Challenge(Vec::new()),
        };
        (exchange, step)
    }

    /// The client's (decoded) answer to the last challenge.
    pub fn response(&mut self, response: &[u8]) -> Step {
        self.advance(response).unwrap_or(Step::Failed)
    }

    /// The directory's word on user name and password.
    pub fn password(&mut self, right: bool) -> Step {
        match std::mem::replace(&mut self.0, State::Over) {
            State::Password { user } if right => Step::Done { authzid: user },
            _ => Step::Failed,
        }
    }

    /// The user's verifier.
    pub fn verifier(&mut self, verifier: Verifier) -> Step {
        let State::ScramVerifier(scram) = std::mem::replace(&mut self.0, State::Over) else {
            return Step::Failed;
        };
        let server_first = format!(
            "r={},s={},i={}",
            scram.nonce,
            encode(&verifier.salt),
            verifier.iterations
        );
        let challenge = server_first.clone().into_bytes();
        self.0 = State::ScramFinal {
            scram,
            verifier,
            server_first,
        };
        Step::Challenge(challenge)
    }

    /// Every way out by `None` leaves the exchange over.
    fn advance(&mut self, response: &[u8]) -> Option<Step> {
        match std::mem::replace(&mut self.0, State::Over) {
            State::Plain => Some(self.ask(plain::parse(response)?)),
            State::LoginUser => {
                let user = prepare(response)?.to_owned();
                self.0 = State::LoginPassword { user };
                Some(Step::Challenge(b"Password:".to_vec()))
            }
            State::LoginPassword { user } => {
                let password = Secret::new(prepare(response)?);
                Some(self.ask(Credentials { user, password }))
            }
            State::ScramFirst => self.scram_first(response, &scram::fresh_nonce()),
            State::ScramFinal {
                scram,
                verifier,
                server_first,
            } => {
                let server_final = scram_final(&scram, &verifier, &server_first, response)?;
                self.0 = State::ScramEnd { user: scram.user };
                Some(Step::Challenge(server_final))
            }
            // SMTP, IMAP and POP3 have no room for data beside success, so the signature was a challenge and this is
            // the empty answer to it.
            State::ScramEnd { user } => response.is_empty().then_some(Step::Done { authzid: user }),
            State::Password { .. } | State::ScramVerifier(_) | State::Over => None,
        }
    }

    fn ask(&mut self, Credentials { user, password }: Credentials) -> Step {
        self.0 = State::Password { user: user.clone() };
        Step::NeedPassword { user, password }
    }

    fn scram_first(&mut self, message: &[u8], server_nonce: &str) -> Option<Step> {
        let first = ClientFirst::parse(message)?;
        if first
            .authzid
            .is_some_and(|authzid| !authzid.eq_ignore_ascii_case(&first.user))
        {
            return None;
        }
        let user = first.user.clone();
        self.0 = State::ScramVerifier(Scram {
            user: first.user,
            gs2_header: first.gs2_header.to_owned(),
            client_first_bare: first.bare.to_owned(),
            nonce: format!("{}{server_nonce}", first.nonce),
        });
        Some(Step::NeedVerifier { user })
    }
}

/// Checks the client's proof and signs (RFC 5802 §3).
fn scram_final(scram: &Scram, verifier: &Verifier, server_first: &str, message: &[u8]) -> Option<Vec<u8>> {
    let last = ClientFinal::parse(message)?;
    if last.nonce != scram.nonce || last.channel_binding != scram.gs2_header.as_bytes() {
        return None;
    }
    let signed: [&[u8]; 5] = [
        scram.client_first_bare.as_bytes(),
        b",",
        server_first.as_bytes(),
        b",",
        last.without_proof.as_bytes(),
    ];
    let mut client_key: Key = last.proof;
    scram::xor(&mut client_key, &scram::hmac(&verifier.stored_key, &signed));
    let stored_key: Key = <sha2::Sha256 as sha2::Digest>::digest(client_key).into();
    if !scram::constant_time_eq(&stored_key, &verifier.stored_key) {
        return None;
    }
    Some(format!("v={}", encode(&scram::hmac(&verifier.server_key, &signed))).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::decode;

    fn challenge(step: Step) -> String {
        match step {
            Step::Challenge(text) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// RFC 7677 §3.
    #[test]
    fn the_exchange_of_rfc_7677() {
        let salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::derive(b"pencil", &salt, 4096);
        let mut exchange = Exchange(State::ScramFirst);
        let step = exchange.scram_first(
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        );
        assert_eq!(step, Some(Step::NeedVerifier { user: "user".into() }));
        assert_eq!(
            challenge(exchange.verifier(verifier)),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(
            challenge(exchange.response(last)),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert_eq!(
            exchange.response(b""),
            Step::Done {
                authzid: "user".into()
            }
        );
        assert_eq!(exchange.response(b""), Step::Failed);
    }

    #[test]
    fn login_asks_for_both() {
        let (mut exchange, step) = Exchange::start(Mechanism::Login, None);
        assert_eq!(challenge(step), "Username:");
        assert_eq!(challenge(exchange.response(b"bob")), "Password:");
        let wanted = Step::NeedPassword {
            user: "bob".into(),
            password: Secret::new("hungry"),
        };
        assert_eq!(exchange.response(b"hungry"), wanted);
        assert_eq!(
            exchange.password(true),
            Step::Done {
                authzid: "bob".into()
            }
        );
    }

    #[test]
    fn plain_with_and_without_initial_response() {
        let (mut exchange, step) = Exchange::start(Mechanism::Plain, Some(b"\0bob\0hungry"));
        assert!(matches!(step, Step::NeedPassword { .. }));
        assert_eq!(exchange.password(false), Step::Failed);
        let (mut exchange, step) = Exchange::start(Mechanism::Plain, None);
        assert_eq!(challenge(step), "");
        assert!(matches!(
            exchange.response(b"\0bob\0hungry"),
            Step::NeedPassword { .. }
        ));
        assert_eq!(
            exchange.password(true),
            Step::Done {
                authzid: "bob".into()
            }
        );
    }

    #[test]
    fn answers_out_of_order_fail() {
        let (mut exchange, _) = Exchange::start(Mechanism::Plain, None);
        assert_eq!(exchange.password(true), Step::Failed);
        let (mut exchange, _) = Exchange::start(Mechanism::ScramSha256, Some(b"n,,n=u,r=x"));
        assert_eq!(exchange.response(b""), Step::Failed);
        assert_eq!(exchange.verifier(Verifier::derive(b"p", b"s", 1)), Step::Failed);
    }
}
