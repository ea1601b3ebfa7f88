//! Connecting to a site: its hosts by preference, their addresses, with TLS and without.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_queue::Claim;
use postrider_runtime::config::OutboundTls;
use postrider_runtime::drive::Error as DriveError;
use postrider_runtime::{Connection, Options, TlsRole, drive};
use postrider_smtp::client::Client;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};

use crate::conversation::{Conversation, Progress};
use crate::resolve::{Trouble, in_order};
use crate::routes::Host;
use crate::shared::Shared;
use crate::site::Site;

/// Source addresses are used in turn.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// What came of trying one address.
enum Tried {
    /// It served; everything that went over it has its outcome.
    Served,
    /// It was of no use, and the unit is still to be sent.
    Useless(Box<Claim>, String),
    /// The TLS handshake failed, and the unit is still to be sent.
    NoTls(Box<Claim>, String),
    /// The unit is not ours any more.
    Gone,
}

/// Sends a unit to its site, and whatever comes along while the connection is open. `Err`: nobody could be reached; the
/// unit comes back.
pub async fn serve(shared: &Arc<Shared>, site: &Arc<Site>, claim: Claim) -> Result<(), (Claim, Trouble)> {
    let kept = shared.keep(claim.ticket());
    let (mut claim, mut left) = (claim, shared.settings.network.addresses.max(1));
    let mut trouble = Trouble::temporary("4.4.4 no mail exchanger has an address");
    for host in in_order(&site.hosts) {
        let addresses = match shared.resolver.addresses(&host).await {
            Ok(addresses) => addresses,
            Err(error) => {
                trouble = error;
                continue;
            }
        };
        for address in addresses {
            if left == 0 || kept.is_lost() || shared.drain.is_cancelled() {
                return Err((claim, trouble));
            }
            left -= 1;
            match try_address(shared, site, &host, address, claim).await {
                Tried::Served | Tried::Gone => return Ok(()),
                Tried::NoTls(again, why) | Tried::Useless(again, why) => {
                    claim = *again;
                    trouble = Trouble::temporary(why);
                }
            }
        }
    }
    Err((claim, trouble))
}

/// One address: with STARTTLS as configured; where that is not required and its handshake fails, once more in the clear.
async fn try_address(
    shared: &Arc<Shared>,
    site: &Arc<Site>,
    host: &Host,
    address: IpAddr,
    claim: Claim,
) -> Tried {
    let first = try_once(shared, site, host, address, claim, None).await;
    match first {
        Tried::NoTls(claim, why) if shared.settings.network.tls == OutboundTls::Opportunistic => {
            try_once(shared, site, host, address, *claim, Some(why)).await
        }
        other => other,
    }
}

/// One connection. `without_tls`: why it is made in the clear.
async fn try_once(
    shared: &Arc<Shared>,
    site: &Arc<Site>,
    host: &Host,
    address: IpAddr,
    claim: Claim,
    without_tls: Option<String>,
) -> Tried {
    let peer = SocketAddr::new(address, host.port);
    let stream = match tokio::time::timeout(shared.settings.network.connect, connect(shared, peer)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Tried::Useless(Box::new(claim), format!("{}: 4.4.1 {peer}: {error}", host.name));
        }
        Err(_) => {
            return Tried::Useless(
                Box::new(claim),
                format!("{}: 4.4.1 {peer}: no answer in time", host.name),
            );
        }
    };
    let speech = if without_tls.is_some() {
        &shared.speech.clear
    } else {
        &shared.speech.usual
    };
    let how = without_tls
        .map(|why| format!("in the clear: {why}"))
        .unwrap_or_default();
    let mut session = Client::new(speech.clone());
    let mut connection = Connection::new(stream, Arc::new(options(shared, host, address)));
    let mut conversation = Conversation::new(shared.clone(), site.clone(), host.name.clone(), how, claim);
    shared.record.metrics.connections.add(1, &[]);
    let drain = shared.drain.clone();
    let driven = tokio::select! {
        driven = drive(&mut connection, &mut session, &mut conversation, &drain) => driven,
        () = shared.stop.cancelled() => Err(DriveError::Lost(std::io::ErrorKind::Interrupted.into())),
    };
    shared.record.metrics.connections.add(-1, &[]);
    conversation.close(&mut session).await;
    let unbegun = conversation.take_unbegun().map(Box::new);
    match (unbegun, driven, conversation.progress()) {
        (None, _, Progress::Served) => Tried::Served,
        (None, ..) => Tried::Gone,
        (Some(claim), Err(DriveError::Handshake(error)), _) => Tried::NoTls(
            claim,
            format!("{}: 4.7.5 the TLS handshake failed: {error}", host.name),
        ),
        (Some(claim), _, Progress::Failed(failure)) => {
            Tried::Useless(claim, format!("{}: 4.4.2 {peer}: {failure}", host.name))
        }
        (Some(claim), driven, _) => {
            let why = driven
                .err()
                .map_or_else(|| "the connection was lost".to_owned(), |error| error.to_string());
            Tried::Useless(claim, format!("{}: 4.4.2 {peer}: {why}", host.name))
        }
    }
}

async fn connect(shared: &Shared, peer: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if peer.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    let sources = &shared.settings.network.source_addresses;
    let usable: Vec<&IpAddr> = sources
        .iter()
        .filter(|source| source.is_ipv6() == peer.is_ipv6())
        .collect();
    if !usable.is_empty() {
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % usable.len();
        if let Some(source) = usable.get(turn) {
            socket.bind(SocketAddr::new(**source, 0))?;
        }
    }
    let stream = socket.connect(peer).await?;
    // Commands are small, and each is waited for.
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn options(shared: &Shared, host: &Host, address: IpAddr) -> Options {
    let tls = if shared.settings.network.tls == OutboundTls::Never {
        TlsRole::None
    } else {
        let name = ServerName::try_from(host.name.clone()).unwrap_or(ServerName::IpAddress(address.into()));
        TlsRole::Client(shared.tls.clone(), name)
    };
    Options {
        tls,
        ..Options::default()
    }
}
