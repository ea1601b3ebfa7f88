//! Listeners, TLS, PROXY protocol, driving a session, drain, telemetry, configuration.
