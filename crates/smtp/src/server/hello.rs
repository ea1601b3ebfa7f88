//! EHLO and HELO (RFC 5321 §4.1.1.1).
//!
//! ```text
//! ehlo = "EHLO" SP ( Domain / address-literal ) CRLF
//! helo = "HELO" SP Domain CRLF
//! ```

use bytes::BytesMut;
use postrider_sasl::Mechanism;

use super::config::AuthMode;
use super::event::Aborted;
use super::session::{Flow, Server};
use crate::capabilities::{Capabilities, Limits};
use crate::reply::{Enhanced, Reply};

/// Who the client says it is. It may say anything; nothing is decided by it.
pub(super) struct Hello {
    pub name: String,
    /// EHLO.
    pub extended: bool,
}

impl Server {
    pub(super) fn ehlo(&mut self, argument: &str, input: &BytesMut, output: &mut BytesMut) -> Flow {
        self.greeted(argument, true, input, output)
    }

    pub(super) fn helo(&mut self, argument: &str, input: &BytesMut, output: &mut BytesMut) -> Flow {
        self.greeted(argument, false, input, output)
    }

    fn greeted(&mut self, argument: &str, extended: bool, input: &BytesMut, output: &mut BytesMut) -> Flow {
        // Names are not held to the letter (many clients do not know theirs), only to what can be written into
        // `Received:` without harm.
        if argument.is_empty()
            || argument.len() > 255
            || !argument.bytes().all(|octet| octet.is_ascii_graphic())
        {
            return self.refuse(&Reply::new(501, Enhanced(5, 5, 4), "say your host name"), output);
        }
        if !input.is_empty() {
            return self.out_of_step(output);
        }
        let aborted = self.abort(Aborted::Reset);
        let mut text = format!("{} Hello {argument}, pleased to meet you", self.config.hostname);
        self.peer.hello = Some(Hello {
            name: argument.to_owned(),
            extended,
        });
        if extended {
            self.capabilities().write(&mut text);
        }
        self.reply(&Reply::plain(250, text), output);
        aborted.map_or(Flow::Again, Flow::Event)
    }

    /// What is offered on this connection now.
    pub(super) fn capabilities(&self) -> Capabilities {
        let limits = &self.config.limits;
        Capabilities {
            size: Some(limits.message_size),
            eight_bit_mime: true,
            smtp_utf8: true,
            chunking: true,
            binary_mime: self.config.binary_mime,
            dsn: true,
            pipelining: true,
            enhanced_status_codes: true,
            starttls: self.config.starttls && !self.peer.tls,
            auth: Mechanism::ALL
                .into_iter()
                .filter(|mechanism| self.offers(*mechanism))
                .collect(),
            limits: Limits {
                rcpt_max: Some(limits.recipients),
                mail_max: Some(limits.transactions),
            },
        }
    }

    /// Whether a mechanism is offered on this connection now.
    pub(super) fn offers(&self, mechanism: Mechanism) -> bool {
        self.config.auth != AuthMode::Off
            && (self.peer.tls || self.peer.plaintext_auth || !mechanism.is_plaintext())
    }
}
