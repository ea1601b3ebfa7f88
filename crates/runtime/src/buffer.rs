//! Buffers that connections borrow only while they have something to read or write.

use bytes::BytesMut;
use parking_lot::Mutex;

/// The size of a pooled buffer, in bytes: a whole TLS record fits.
pub const SIZE: usize = 18 * 1024;

/// The most free buffers that are kept (4.5 MiB); more go back to the allocator.
const KEPT: usize = 256;

static FREE: Mutex<Vec<BytesMut>> = Mutex::new(Vec::new());

/// An empty buffer of [`SIZE`] bytes.
pub fn take() -> BytesMut {
    let kept = FREE.lock().pop();
    kept.unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Takes an empty buffer out of `place` and keeps it for the next reader; one that is not empty stays.
///
/// A buffer whose bytes somebody still holds, or that has grown, is left to the allocator instead.
pub fn give_back(place: &mut BytesMut) {
    if !place.is_empty() {
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
    fn a_buffer_with_bytes_in_it_is_not_taken_away() {
        let mut buffer = take();
        buffer.extend_from_slice(b"NOOP");
        give_back(&mut buffer);
        assert_eq!(&buffer[..], b"NOOP");
    }

    #[test]
    fn bytes_that_are_held_elsewhere_are_never_written_again() {
        let mut buffer = take();
        buffer.extend_from_slice(b"NOOP");
        let held = buffer.split().freeze();
        give_back(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let mut next = take();
        next.extend_from_slice(b"QUIT");
        assert_eq!(&held[..], b"NOOP");
    }
}
