//! Postfix: SMTP in, submission, the queue, SMTP out; hands local mail to Dovecot by LMTP over a unix socket.

use std::fmt::Write as _;

use super::{ADDRESS, DOMAIN, PORTS, Peers, SINK, addresses, output, quiet, remote_domains};
use crate::run::Failed;

/// Services of Debian's `master.cf` that this setup uses: none in a chroot, so that no files need copying.
const SERVICES: &str = "\
pickup    unix  n  -  n  60     1  pickup
cleanup   unix  n  -  n  -      0  cleanup
qmgr      unix  n  -  n  300    1  qmgr
tlsmgr    unix  -  -  n  1000?  1  tlsmgr
rewrite   unix  -  -  n  -      -  trivial-rewrite
bounce    unix  -  -  n  -      0  bounce
defer     unix  -  -  n  -      0  bounce
trace     unix  -  -  n  -      0  bounce
verify    unix  -  -  n  -      1  verify
flush     unix  n  -  n  1000?  0  flush
proxymap  unix  -  -  n  -      -  proxymap
proxywrite unix -  -  n  -      1  proxymap
smtp      unix  -  -  n  -      -  smtp
relay     unix  -  -  n  -      -  smtp
showq     unix  n  -  n  -      -  showq
error     unix  -  -  n  -      -  error
retry     unix  -  -  n  -      -  error
discard   unix  -  -  n  -      -  discard
lmtp      unix  -  -  n  -      -  lmtp
anvil     unix  -  -  n  -      1  anvil
scache    unix  -  -  n  -      1  scache
postlog   unix-dgram n - n -    1  postlogd
";

/// Writes `main.cf`, `master.cf` and the maps.
pub fn configure(peers: &Peers) -> Result<(), Failed> {
    let all = |lines: &mut dyn Iterator<Item = String>| lines.collect::<Vec<_>>().join("");
    let recipients = all(&mut addresses().map(|address| format!("{address} x\n")));
    let (host, port) = SINK.rsplit_once(':').unwrap_or((SINK, "25"));
    let transport = all(&mut remote_domains().map(|domain| format!("{domain} smtp:[{host}]:{port}\n")));
    peers.write("postfix/recipients", &recipients)?;
    peers.write("postfix/transport", &transport)?;
    peers.write("postfix/main.cf", &main_cf(peers))?;
    peers.write("postfix/master.cf", &master_cf())?;
    let folder = peers.text("postfix");
    for map in ["recipients", "transport"] {
        quiet("postmap", &["-c", &folder, &format!("hash:{folder}/{map}")])?;
    }
    // Makes the queue directory's folders, with their owners.
    quiet("postfix", &["-c", &folder, "check"])
}

/// Starts the master process, which goes to the background.
pub fn start(peers: &Peers) -> Result<(), Failed> {
    peers.launch("postfix", &["-c", &peers.text("postfix"), "start"])
}

/// Its version.
pub fn version() -> Result<String, Failed> {
    output("postconf", &["-d", "-h", "mail_version"])
}

fn main_cf(peers: &Peers) -> String {
    let (folder, queue) = (peers.text("postfix"), peers.text("queue"));
    let (data, logs) = (peers.text("postfix-data"), peers.text("log"));
    let (key, certificate) = (peers.text("tls.key"), peers.text("tls.pem"));
    format!(
        "\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
maillog_file = {logs}/postfix.log
maillog_file_prefixes = {logs}

myhostname = mx.{DOMAIN}
# The addresses of the services are in master.cf; this names those of network interfaces, which 127.0.64.1 is none of.
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks =
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = hash:{folder}/recipients
virtual_transport = lmtp:unix:private/dovecot-lmtp
transport_maps = hash:{folder}/transport
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination

smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}

# No throttle but the machine: processes, connections, rates, sizes.
default_process_limit = 1000
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
smtp_destination_concurrency_limit = 100
# Deliveries to one destination at a time: Dovecot is one, and twenty (as shipped) keep it busy.
smtpd_peername_lookup = no
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_limit = 0
"
    )
}

fn master_cf() -> String {
    let port = |wanted: &str| {
        PORTS
            .iter()
            .find(|(name, _)| *name == wanted)
            .map_or(0, |(_, port)| *port)
    };
    let mut text = String::new();
    let _ = writeln!(text, "{ADDRESS}:{} inet n - n - - smtpd", port("smtp"));
    let _ = writeln!(text, "{ADDRESS}:{} inet n - n - - smtpd", port("submission"));
    text.push_str("  -o syslog_name=postfix/submission\n");
    text.push_str("  -o smtpd_sasl_auth_enable=yes\n");
    text.push_str("  -o smtpd_client_restrictions=permit_sasl_authenticated,reject\n");
    text.push_str(SERVICES);
    text
}
