//! The user agent: writes a letter, hands it to a server, and shows the dialogue.

mod dialogue;
mod letter;
mod submit;

pub use dialogue::{Dialogue, Speaker};
pub use letter::Letter;
pub use submit::{Encryption, Submission, describe};
