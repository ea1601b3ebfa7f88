//! Feeds bytes to a session in pieces, as a network would, and watches its promises.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use postrider_wire::{Session, Step};

/// Steps a session may take for one input byte and at all: far more than any honest one needs.
const STEPS_PER_BYTE: usize = 16;
const STEPS: usize = 10_000;
/// Output octets per input octet and at all, likewise.
const OUTPUT_PER_BYTE: usize = 512;
const OUTPUT: usize = 1 << 20;

/// Runs a session over `data` to its end; `act` answers its events.
///
/// Pieces are cut where the data itself says, so that a fuzzer can choose them.
pub fn pump<S: Session>(mut session: S, data: &[u8], mut act: impl FnMut(&mut S, S::Event, &mut BytesMut)) {
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut now = Instant::now();
    let (mut rest, mut written, mut ended) = (data, 0, false);
    for _ in 0..STEPS + STEPS_PER_BYTE * data.len() {
        let step = session.step(now, &mut input, &mut output);
        written += output.len();
        output.clear();
        assert!(
            written <= OUTPUT + OUTPUT_PER_BYTE * data.len(),
            "{written} octets of output"
        );
        match step {
            Step::Event(event) => act(&mut session, event, &mut output),
            Step::StartTls => {
                input.clear();
                session.tls_started();
            }
            Step::Close => return,
            Step::NeedInput | Step::Waiting if !rest.is_empty() => {
                assert!(
                    input.len() < S::MAX_BUFFERED,
                    "more than {} octets are to be buffered",
                    S::MAX_BUFFERED
                );
                let size = 1 + usize::from(rest[0]) % 61;
                let (piece, more) = rest.split_at(size.min(rest.len()));
                input.extend_from_slice(piece);
                rest = more;
            }
            Step::NeedInput | Step::Waiting if !ended => {
                session.input_closed();
                ended = true;
            }
            // The input is over and the session wants something all the same: its time-out ends it.
            Step::NeedInput | Step::Waiting => match session.deadline() {
                Some(deadline) => now = deadline.max(now) + Duration::from_millis(1),
                None => return,
            },
        }
    }
    panic!("the session goes round in circles");
}
