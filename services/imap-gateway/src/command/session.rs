//! ID (RFC 2971), NAMESPACE (RFC 2342).

use postrider_imap::Session;
use postrider_imap::command::Id;
use postrider_imap::response::{self, Namespaces};
use postrider_runtime::Port;

use super::Exec;
use crate::answer::Answer;

/// Who we are. What the client says of itself goes to the log.
pub(super) fn id(session: &Session, port: &mut dyn Port, id: &Id) -> Answer {
    tracing::debug!(client = ?id, "client identifies itself");
    let fields = [
        ("name", Some("Postrider")),
        ("version", Some(env!("CARGO_PKG_VERSION"))),
    ];
    response::id(port.output(), &fields, session.syntax());
    Answer::ok("ID completed")
}

impl Exec<'_> {
    pub(super) fn namespace(&mut self) -> Answer {
        let namespaces = Namespaces {
            personal: &[""],
            ..Namespaces::default()
        };
        response::namespace(self.port.output(), namespaces, self.session.syntax());
        Answer::ok("NAMESPACE completed")
    }
}
