//! Buffers that connections borrow only while they have something to read or write.

use bytes::BytesMut;
use parking_lot::Mutex;

/// The size of a pooled buffer, in octets: a whole TLS record fits.
pub const SIZE: usize = 18 * 1024;

/// The most free buffers that are kept (9 MiB); more go back to the allocator.
const KEPT: usize = 512;

static FREE: Mutex<Vec<BytesMut>> = Mutex::new(Vec::new());

/// An empty buffer with room for [`SIZE`] octets.
pub fn take() -> BytesMut {
    let kept = FREE.lock().pop();
    kept.unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Takes an empty buffer out of `place` and keeps it for the next one who reads; one that is not empty stays. One that has
/// grown, or whose octets somebody still holds, is left to the allocator.
pub fn give_back(place: &mut BytesMut) {
    if !place.is_empty() || place.capacity() == 0 {
        return;
    }
    let mut buffer = std::mem::take(place);
    if buffer.try_reclaim(SIZE) && buffer.capacity() < 2 * SIZE {
        let mut free = FREE.lock();
        if free.len() < KEPT {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_elsewhere_is_never_written_again() {
        let mut buffer = take();
        buffer.extend_from_slice(b"250 ok");
        give_back(&mut buffer);
        assert_eq!(&buffer[..], b"250 ok", "not empty");
        let held = buffer.split().freeze();
        give_back(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let mut next = take();
        next.extend_from_slice(b"354 go");
        assert_eq!(&held[..], b"250 ok");
    }
}
