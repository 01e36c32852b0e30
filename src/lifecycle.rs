//! When to stop: the first signal drains, the second ends at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Two tokens: `drain` is cancelled first, `abort` second.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Finish what is in flight and leave.
    pub drain: CancellationToken,
    /// Leave now.
    pub abort: CancellationToken,
}

impl Stop {
    /// Follows SIGTERM and SIGINT of this process.
    ///
    /// # Errors
    /// The signals cannot be followed.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let tokens = stop.clone();
        tokio::spawn(async move {
            for token in [tokens.drain, tokens.abort] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(stop)
    }
}
