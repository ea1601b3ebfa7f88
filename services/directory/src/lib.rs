//! Domains, accounts, aliases, credentials, limits.
