//! POP3 state machines, server and client half, without I/O.
