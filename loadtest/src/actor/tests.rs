//! Actors against small servers in this process.
