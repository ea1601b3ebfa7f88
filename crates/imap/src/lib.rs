//! IMAP parser, encoder and session state machines, server and client half, without I/O.
