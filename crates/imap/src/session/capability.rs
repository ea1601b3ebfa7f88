//! The capabilities, computed from the session's state (RFC 9051 §7.2.2).

use bytes::{BufMut, BytesMut};

use super::Config;
use crate::response::number;

const ALWAYS: &str = "IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE SASL-IR";

/// What is offered once the user is known. LOGINDISABLED, STARTTLS and AUTH= are not.
const AUTHENTICATED: &str = " NAMESPACE CHILDREN UIDPLUS UNSELECT IDLE MOVE MULTIAPPEND BINARY CONDSTORE QRESYNC ESEARCH \
    SEARCHRES ESORT SORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES WITHIN LIST-EXTENDED LIST-STATUS SPECIAL-USE \
    CREATE-SPECIAL-USE STATUS=SIZE OBJECTID SAVEDATE PREVIEW UTF8=ACCEPT QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE \
    APPENDLIMIT=";

/// Who is asking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub authenticated: bool,
    pub secure: bool,
    /// Passwords may cross this connection as they are.
    pub plaintext: bool,
}

/// Appends the names, with spaces between.
pub(super) fn put(out: &mut BytesMut, config: &Config, standing: Standing) {
    out.put_slice(ALWAYS.as_bytes());
    if standing.authenticated {
        out.put_slice(AUTHENTICATED.as_bytes());
        number(out, config.append_limit);
        return;
    }
    if config.starttls && !standing.secure {
        out.put_slice(b" STARTTLS");
    }
    if !standing.plaintext {
        out.put_slice(b" LOGINDISABLED");
    }
    for mechanism in &config.mechanisms {
        if standing.plaintext || !mechanism.is_plaintext() {
            out.put_slice(b" AUTH=");
            out.put_slice(mechanism.name().as_bytes());
        }
    }
}
