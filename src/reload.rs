//! Takes changed files into force while serving: everything that decides about a token as one generation, all or nothing,
//! and the TLS files by themselves. What cannot be used changes nothing and is logged.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    adapters::{
        file_stamps::FileStamps,
        load_generation::{self, Loaded},
    },
    application::generation::Generations,
    config::{Config, SecretSource},
    telemetry::Metrics,
    transport::tls::CurrentTls,
};

/// How often the files are looked at. A look is a handful of `stat` calls.
const PERIOD: Duration = Duration::from_secs(1);

/// What reloading needs.
#[derive(Debug)]
pub struct Reloader {
    /// The configuration file.
    pub file: PathBuf,
    /// The configuration in force.
    pub config: Config,
    /// Where a new generation goes.
    pub generations: Arc<Generations>,
    /// Where new certificates go.
    pub tls: Option<Arc<CurrentTls>>,
    /// Where outcomes are counted.
    pub metrics: Arc<Metrics>,
}

impl Reloader {
    /// Reloads when files change and on SIGHUP, for ever.
    pub async fn run(mut self) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::error!(%error, "SIGHUP cannot be followed; files are still watched");
                None
            }
        };
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut decisive, mut tls) = (self.decisive_files(), self.tls_files());
        loop {
            let is_forced = tokio::select! {
                _ = ticks.tick() => false,
                () = received(hangup.as_mut()) => true,
            };
            // Stamps are taken before the files are read: a change in between is seen the next time.
            let (now, tls_now) = (self.decisive_files(), self.tls_files());
            if is_forced || now != decisive {
                self.reload_generation();
                // A new configuration may name other files, which were read just now.
                decisive = if self.decisive_paths().eq(now.paths()) { now } else { self.decisive_files() };
            }
            if is_forced || tls_now != tls {
                self.reload_tls();
                tls = tls_now;
            }
        }
    }

    fn reload_generation(&mut self) {
        match load_generation::load_file(&self.file) {
            Ok((config, Loaded { generation, warnings })) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                if config.server != self.config.server {
                    tracing::warn!("A change of [server] takes a restart; everything else is in force");
                }
                self.config = Config { server: self.config.server.clone(), ..config };
                let number = self.generations.replace(generation);
                self.metrics.reloaded("configuration", true);
                self.metrics.generation(number);
                tracing::info!(generation.number = number, "A new generation is in force");
            }
            Err(errors) => {
                self.metrics.reloaded("configuration", false);
                for error in errors.to_string().lines() {
                    tracing::error!(generation.number = self.generations.number(), "Not reloaded: {error}");
                }
            }
        }
    }

    fn reload_tls(&self) {
        let Some(tls) = &self.tls else { return };
        match tls.reload() {
            Ok(()) => {
                self.metrics.reloaded("tls", true);
                tracing::info!("New TLS files are in force");
            }
            Err(error) => {
                self.metrics.reloaded("tls", false);
                tracing::error!("TLS files not reloaded, the last good ones stay in force: {error}");
            }
        }
    }

    fn decisive_paths(&self) -> impl Iterator<Item = &Path> {
        let secrets = self.config.instances.iter().filter_map(|one| match &one.shared_secret {
            SecretSource::File(path) => Some(path.as_path()),
            // Credentials are fixed for the life of a unit, the environment for that of a process.
            SecretSource::Credential(_) | SecretSource::Env(_) | SecretSource::Generated => None,
        });
        [self.file.as_path()].into_iter().chain(secrets)
    }

    fn decisive_files(&self) -> FileStamps {
        FileStamps::take(self.decisive_paths())
    }

    fn tls_files(&self) -> FileStamps {
        self.config.server.tls.as_ref().map(|files| FileStamps::take(files.paths())).unwrap_or_default()
    }
}

async fn received(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => _ = hangup.recv().await,
        None => std::future::pending().await,
    }
}
