//! The client's half: commands out, responses in.
//!
//! It keeps no mailbox state. Responses are parsed into trees of values ([`Response`], [`Value`]), in which FETCH attributes,
//! response codes and whatever an extension brings look alike.

mod response;
mod session;

pub use response::{Response, StatusCode, Value};
pub use session::Client;
