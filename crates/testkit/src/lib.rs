//! Dialogue player, DNS server, scripted peers and clients for tests.
