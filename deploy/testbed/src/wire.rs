//! One question, one answer, over TCP: enough to ask an engine in its own protocol whether it is ready.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection, a question and each part of its answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// The longest answer that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// A connection whose every step is bounded in time.
pub struct Wire(TcpStream);

impl Wire {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes)
    }

    /// Reads exactly so many bytes.
    pub fn receive(&mut self, length: usize) -> Result<Vec<u8>> {
        if length > LONGEST {
            return Err(nonsense());
        }
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// An answer being read: big-endian numbers, and strings that begin with their length.
pub struct Answer<'a>(pub &'a [u8]);

impl<'a> Answer<'a> {
    /// The next bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(nonsense)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next two bytes.
    pub fn short(&mut self) -> Result<i16> {
        let mut bytes = [0; 2];
        bytes.copy_from_slice(self.take(2)?);
        Ok(i16::from_be_bytes(bytes))
    }

    /// The next four bytes.
    pub fn int(&mut self) -> Result<i32> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(i32::from_be_bytes(bytes))
    }

    /// Bytes after their length in two bytes; none where the length is negative.
    pub fn string(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.short()?;
        usize::try_from(length)
            .ok()
            .map(|length| self.take(length))
            .transpose()
    }

    /// Bytes after their length in four bytes; none where the length is negative.
    pub fn bytes(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.int()?;
        usize::try_from(length)
            .ok()
            .map(|length| self.take(length))
            .transpose()
    }
}

/// An answer that is not one of this protocol.
pub fn nonsense() -> Error {
    Error::new(ErrorKind::InvalidData, "the answer makes no sense")
}
