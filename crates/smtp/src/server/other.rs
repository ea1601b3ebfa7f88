//! NOOP, VRFY, EXPN, HELP and QUIT.

use bytes::BytesMut;

use super::event::Aborted;
use super::session::{Flow, Server, State};
use crate::reply::{Enhanced, Reply};

impl Server {
    pub(super) fn noop(&mut self, output: &mut BytesMut) -> Flow {
        self.reply(&Reply::new(250, Enhanced(2, 0, 0), "fine"), output);
        Flow::Again
    }

    /// RFC 5321 §3.5.3: a server that does not tell who exists says so without saying no.
    pub(super) fn vrfy(&mut self, output: &mut BytesMut) -> Flow {
        let text = "cannot verify, but will take mail and try to deliver it";
        self.reply(&Reply::new(252, Enhanced(2, 5, 2), text), output);
        Flow::Again
    }

    pub(super) fn help(&mut self, output: &mut BytesMut) -> Flow {
        let text = "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT\n\
            see RFC 5321; people with questions write to <postmaster>";
        self.reply(&Reply::new(214, Enhanced(2, 0, 0), text), output);
        Flow::Again
    }

    pub(super) fn not_implemented(&mut self, output: &mut BytesMut) -> Flow {
        self.refuse(
            &Reply::new(502, Enhanced(5, 5, 1), "this command is not implemented here"),
            output,
        )
    }

    pub(super) fn quit(&mut self, output: &mut BytesMut) -> Flow {
        let aborted = self.abort(Aborted::Reset);
        let text = format!("{} closing connection", self.config.hostname);
        self.reply(&Reply::new(221, Enhanced(2, 0, 0), text), output);
        self.state = State::Closed;
        aborted.map_or(Flow::Again, Flow::Event)
    }
}
