//! STARTTLS (RFC 3207).
//!
//! Input behind the command is thrown away by whoever drives the session: it came in the clear, and could otherwise
//! be taken for the client's first words inside TLS.

use bytes::BytesMut;

use super::event::Aborted;
use super::session::{Flow, Server, State};
use super::transaction::bad_sequence;
use crate::reply::{Enhanced, Reply};

impl Server {
    pub(super) fn starttls(&mut self, argument: &str, output: &mut BytesMut) -> Flow {
        if !self.config.starttls {
            return self.not_implemented(output);
        }
        if self.peer.tls {
            return self.refuse(&bad_sequence("the connection is encrypted already"), output);
        }
        if !argument.is_empty() {
            return self.refuse(
                &Reply::new(501, Enhanced(5, 5, 4), "STARTTLS has no argument"),
                output,
            );
        }
        let aborted = self.abort(Aborted::Reset);
        self.reply(&Reply::new(220, Enhanced(2, 0, 0), "go ahead with TLS"), output);
        self.state = State::StartTls;
        aborted.map_or(Flow::Again, Flow::Event)
    }
}
