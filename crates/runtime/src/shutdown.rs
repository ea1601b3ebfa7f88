//! When to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled at the first SIGTERM or SIGINT. At a SIGINT after that, somebody at the keyboard does not want
/// to wait: the process ends at once, with status 1.
///
/// # Errors
/// When the signals cannot be caught.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if token.is_cancelled() && name == "SIGINT" {
                tracing::warn!("ending at once");
                std::process::exit(1);
            }
            tracing::info!(signal = name, "shutting down; SIGINT to end at once");
            token.cancel();
        }
    });
    Ok(cancelled)
}
