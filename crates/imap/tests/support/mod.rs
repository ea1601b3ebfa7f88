//! A mail account in memory, and an owner that answers a session's events from it: the simplest thing that is right, to
//! play dialogues against.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

mod account;
mod owner;
pub mod strategies;

pub use account::Account;
pub use owner::Owner;

/// A command as the client half writes it, with LITERAL+ so that it is in one piece; without its tag and CRLF.
pub fn encode(command: &postrider_imap::Command, utf8: bool) -> Vec<u8> {
    use postrider_wire::Session as _;
    let mut client = postrider_imap::Client::new();
    let mut input = bytes::BytesMut::from("* CAPABILITY IMAP4rev1 LITERAL+\r\n");
    if utf8 {
        input.extend_from_slice(b"* ENABLED IMAP4rev2\r\n");
    }
    let mut output = bytes::BytesMut::new();
    while let postrider_wire::Step::Event(_) = client.step(std::time::Instant::now(), &mut input, &mut output)
    {
    }
    let tag = client.send(&mut output, command);
    output[tag.len() + 1..output.len() - 2].to_vec()
}
