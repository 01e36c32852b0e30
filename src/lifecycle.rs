//! When to stop, and how that is announced: the first signal drains, the second ends at once.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{application::generation::Generations, config::Drain, transport::health::Health};

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

/// Resolves when the server shall send GOAWAY: once whoever asks for readiness has had the time to be told, and clients have gone
/// elsewhere, of which those that came meanwhile have been served.
pub async fn announce(health: &mut Health, generations: &Generations, drain: Drain) {
    let Drain { announce_delay, grace_period } = drain;
    tracing::info!(announce_delay_s = announce_delay.as_secs(), grace_period_s = grace_period.as_secs(), "Draining");
    health.draining().await;
    sleep(announce_delay).await;
    for one in generations.current_owned().instances() {
        health.forget_metabase(one.instance.name.as_str()).await;
    }
}

/// Watchers that come back are asked to leave, too, and hold nothing up. Never resolves.
pub async fn keep_ending_watches(health: &mut Health) {
    loop {
        health.end_watches().await;
        sleep(Duration::from_secs(1)).await;
    }
}
