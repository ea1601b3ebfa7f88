//! The session trait.

use std::time::Instant;

use bytes::BytesMut;

/// What a session wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// Something for the driver's owner to act on (a command, a piece of a message). If the event expects an
    /// answer, the session says so in the event's documentation, and until the answer is given `step` returns
    /// [`Step::Waiting`].
    Event(E),
    /// The answer to an earlier event is still missing. Input that arrives meanwhile stays in the buffer.
    Waiting,
    /// Everything in the input that can be used has been used: flush the output, then read more (or wait for the
    /// deadline).
    NeedInput,
    /// Flush the output, **throw away all input read so far**, perform the TLS handshake in this session's role, then
    /// call [`Session::tls_started`]. Throwing the input away is what defeats injected plaintext (CVE-2011-0411).
    StartTls,
    /// Flush the output and close the connection. Every later call of `step` returns this again.
    Close,
}

/// One end of a connection, without the connection.
///
/// # The contract
/// * `step` takes what it can from the front of `input` and appends what is to be written to `output`; it never waits.
/// * The driver calls `step` until it returns `NeedInput`, `Waiting`, `StartTls` or `Close`; it may flush `output` at any time
///   and must flush it before it waits for input.
/// * The driver owns both buffers. When `NeedInput` leaves `input` empty, the session holds no input of its own beyond a
///   few bytes, and the driver may take the buffer away: an idle connection holds none.
/// * A line, literal or message over its limit is refused by the session; `input` never has to grow beyond
///   [`Session::MAX_BUFFERED`] bytes.
/// * `now` never goes back. When [`Session::deadline`] has passed, the next `step` acts on it (a reply and `Close`).
/// * At the end of the input (the peer closed) the driver calls `input_closed`, then `step` until `Close`.
pub trait Session {
    /// What the session tells its owner.
    type Event;

    /// The most bytes the driver ever has to buffer before `step` can use or refuse them.
    const MAX_BUFFERED: usize;

    /// Takes input, appends output, says what next.
    fn step(&mut self, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> Step<Self::Event>;

    /// The moment at which silence becomes a time-out, if there is one.
    fn deadline(&self) -> Option<Instant>;

    /// The handshake asked for by [`Step::StartTls`] (or done before the session began) has ended well.
    fn tls_started(&mut self);

    /// The peer will send no more.
    fn input_closed(&mut self);
}
