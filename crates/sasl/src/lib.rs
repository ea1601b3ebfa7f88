//! SASL mechanisms, both halves: PLAIN, LOGIN, SCRAM-SHA-256.
