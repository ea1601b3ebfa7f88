//! What a server session is told at its beginning.

use std::time::Duration;

use postrider_sasl::Mechanism;

/// Settings of a session; shared by all sessions of a listener.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name in the greeting. Default: `localhost`.
    pub hostname: String,
    /// Whether STLS is offered. Default: no.
    pub starttls: bool,
    /// Whether passwords may be sent without TLS. Default: no.
    pub plaintext_auth: bool,
    /// Silence after which the session ends (RFC 1939 §3 asks for 10 minutes at least). Default: 10 minutes.
    pub idle: Duration,
    /// Time to log in. Default: 1 minute.
    pub login: Duration,
    /// Silence after which a session ends once the node is shutting down. Default: 5 seconds.
    pub drain_idle: Duration,
    /// Commands that failed before the session ends. Default: 25.
    pub errors: usize,
    /// Logins that failed before the session ends. Default: 3.
    pub auth_failures: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            starttls: false,
            plaintext_auth: false,
            idle: Duration::from_secs(600),
            login: Duration::from_secs(60),
            drain_idle: Duration::from_secs(5),
            errors: 25,
            auth_failures: 3,
        }
    }
}

/// The mechanisms offered, the strongest first; those that show the password only where it may be sent.
pub(crate) fn mechanisms(plaintext: bool) -> impl Iterator<Item = Mechanism> {
    [Mechanism::ScramSha256, Mechanism::Plain]
        .into_iter()
        .filter(move |mechanism| plaintext || !mechanism.is_plaintext())
}
