//! `[listeners.*]`: where to listen.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::proxy::Network;

/// `[listeners]`: every default is on loopback with an unprivileged port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listeners {
    /// Mail from other servers. Default: port 2525; production: 25.
    pub smtp: Listener,
    /// Mail from our users, STARTTLS. Default: port 2587; production: 587.
    pub submission: Listener,
    /// Mail from our users, TLS. Default: port 2465; production: 465.
    pub submissions: Listener,
    /// POP3, STLS. Default: port 2110; production: 110.
    pub pop3: Listener,
    /// POP3, TLS. Default: port 2995; production: 995.
    pub pop3s: Listener,
    /// IMAP, STARTTLS. Default: port 2143; production: 143.
    pub imap: Listener,
    /// IMAP, TLS. Default: port 2993; production: 993.
    pub imaps: Listener,
    /// HTTP; not part of this build. Default: port 8080; production: 80 and 443.
    pub http: Listener,
    /// gRPC between roles. Default: off; production: 7025, reachable by the cluster alone.
    pub rpc: Listener,
    /// gRPC for administration, with the token in `data_dir`. Default: port 7026.
    pub admin: Listener,
    /// `/metrics`, `/livez`, `/readyz`. Default: port 9625.
    pub ops: Listener,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// Addresses with ports, as in `["0.0.0.0:25", "[::]:25"]`; an empty list turns the listener off.
    pub bind: Vec<SocketAddr>,
    /// Expect the PROXY protocol (v1 or v2) from the balancers in `proxy_trusted`, and serve nobody else. Default: false.
    pub proxy_protocol: bool,
    /// Networks of the balancers, as in `["10.0.0.0/8"]`. Default: none.
    pub proxy_trusted: Vec<Network>,
}

impl Listener {
    /// On a loopback port, or off (`None`).
    fn loopback(port: Option<u16>) -> Self {
        let bind = port
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .into_iter()
            .collect();
        Self {
            bind,
            ..Self::default()
        }
    }
}

impl Listeners {
    /// All of them with their names.
    pub fn named(&self) -> [(&'static str, &Listener); 11] {
        [
            ("smtp", &self.smtp),
            ("submission", &self.submission),
            ("submissions", &self.submissions),
            ("pop3", &self.pop3),
            ("pop3s", &self.pop3s),
            ("imap", &self.imap),
            ("imaps", &self.imaps),
            ("http", &self.http),
            ("rpc", &self.rpc),
            ("admin", &self.admin),
            ("ops", &self.ops),
        ]
    }

    /// All of them, to be changed.
    pub fn all_mut(&mut self) -> [&mut Listener; 11] {
        [
            &mut self.smtp,
            &mut self.submission,
            &mut self.submissions,
            &mut self.pop3,
            &mut self.pop3s,
            &mut self.imap,
            &mut self.imaps,
            &mut self.http,
            &mut self.rpc,
            &mut self.admin,
            &mut self.ops,
        ]
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            smtp: Listener::loopback(Some(2525)),
            submission: Listener::loopback(Some(2587)),
            submissions: Listener::loopback(Some(2465)),
            pop3: Listener::loopback(Some(2110)),
            pop3s: Listener::loopback(Some(2995)),
            imap: Listener::loopback(Some(2143)),
            imaps: Listener::loopback(Some(2993)),
            http: Listener::loopback(Some(8080)),
            rpc: Listener::loopback(None),
            admin: Listener::loopback(Some(7026)),
            ops: Listener::loopback(Some(9625)),
        }
    }
}
