//! Messages and addresses.

use postrider_message::{Describer, Description};
use postrider_types::Address;

/// Whatever the bytes and however they are cut, the description is the same, survives its encoding, and names nothing
/// outside the message.
pub fn structure(data: &[u8]) {
    let whole = describe(data.chunks(data.len().max(1)));
    let size = 1 + usize::from(data.first().copied().unwrap_or(0)) % 61;
    assert_eq!(describe(data.chunks(size)), whole, "cut into pieces of {size}");
    let decoded = Description::decode(&whole.encode());
    assert!(
        decoded.is_ok_and(|decoded| decoded == whole),
        "a description survives its encoding"
    );
    // Bytes that are no description are an error, not a panic.
    drop(Description::decode(data));
}

fn describe<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Description {
    let mut describer = Describer::new();
    pieces.for_each(|piece| describer.push(piece));
    describer.finish()
}

/// What is an address is the same address after being written and read again.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(address) = Address::new(text) {
        assert_eq!(
            Address::new(&address.to_string()).as_ref(),
            Ok(&address),
            "{text:?}"
        );
    }
}
