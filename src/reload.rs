//! Takes changed files into force while serving: everything that decides about a token as one generation, all or nothing,
//! and the TLS files by themselves. What cannot be used changes nothing and is logged.

use std::{future::pending, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::{
    adapters::{
        file_stamps::FileStamps,
        load_generation::{self, LoadedFile},
    },
    application::{
        Clock,
        audit::{Audit, Event},
        generation::Generations,
    },
    config::{AccountsConfig, AuditConfig, Config, ServerConfig, TracingConfig},
    hardening::Confinement,
    telemetry::Metrics,
    transport::{
        bearer::Issuers,
        tls::{self, CurrentTls},
    },
};

/// How often the files are looked at. A look is a handful of `stat` calls.
const PERIOD: Duration = Duration::from_secs(1);

/// What reloading needs.
#[derive(Debug)]
pub struct Reloader {
    /// The configuration file.
    pub file: PathBuf,
    /// The state of the files that the generation in force was read from.
    pub stamps: FileStamps,
    /// `[server]` in force; a change of it takes a restart.
    pub server: ServerConfig,
    /// What else takes a restart.
    pub fixed: Fixed,
    /// What the process can still reach.
    pub confinement: Confinement,
    /// Where a new generation goes.
    pub generations: Arc<Generations>,
    /// The state of the TLS files that are in force, and where new ones go.
    pub tls: Option<(FileStamps, Arc<CurrentTls>)>,
    /// The state of the key files of issuers that are in force, and where new ones go.
    pub issuers: (FileStamps, Arc<Issuers>),
    /// SIGHUP, followed from before the server is announced: unfollowed, it would end the process.
    pub hangup: Option<Signal>,
    /// Where outcomes are counted.
    pub metrics: Arc<Metrics>,
    /// Where outcomes are recorded.
    pub audit: Arc<Audit>,
    /// Tells since when a generation is in force.
    pub clock: Arc<dyn Clock>,
}

/// Sections of the configuration whose change takes a restart, as they are in force.
#[derive(Debug)]
pub struct Fixed {
    /// `[audit]`
    pub audit: Option<AuditConfig>,
    /// `[tracing]`
    pub tracing: Option<TracingConfig>,
    /// `[accounts]`
    pub accounts: AccountsConfig,
}

/// What is wrong at the moment; none = the files are in force.
#[derive(Debug, Default)]
struct Errors {
    generation: Option<String>,
    tls: Option<String>,
    issuers: Option<String>,
}

impl Reloader {
    /// Reloads when files change and on SIGHUP, for ever.
    pub async fn run(mut self) {
        let mut hangup = self.hangup.take();
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = (self, Errors::default());
        loop {
            let is_forced = tokio::select! {
                _ = ticks.tick() => false,
                () = received(hangup.as_mut()) => true,
            };
            // Beside the serving task: a file system that hangs holds up neither requests nor the drain.
            let looked = spawn_blocking(move || {
                let (this, errors) = &mut state;
                this.look(is_forced, errors);
                state
            });
            state = match looked.await {
                Ok(state) => state,
                Err(error) => {
                    tracing::error!(%error, "Reloading has failed; files are not looked at any more");
                    pending().await
                }
            };
        }
    }

    /// Takes into force what has changed, or everything when that is `forced`.
    fn look(&mut self, is_forced: bool, errors: &mut Errors) {
        // After a failure every look tries again: what is missing may be a file that nobody watches yet.
        if is_forced || errors.generation.is_some() || !self.stamps.are_current() {
            let error = self.reload_generation().err();
            self.report("configuration", error, is_forced, &mut errors.generation);
        }
        if let Some((stamps, tls)) = &mut self.tls
            && (is_forced || errors.tls.is_some() || !stamps.are_current())
        {
            // Taken before the files are read: a change in between is seen at the next look.
            *stamps = FileStamps::take(tls.files().paths());
            let error = tls.reload().err().map(|error| error.to_string());
            if let Some(warning) = tls::untimely(tls.files(), self.clock.now()).filter(|_| error.is_none()) {
                tracing::warn!("{warning}");
            }
            self.report("tls", error, is_forced, &mut errors.tls);
        }
        let (stamps, issuers) = &mut self.issuers;
        let is_news = is_forced || !stamps.are_current();
        if is_news {
            // Not with each try to read a bad file again: nobody fetches from an issuer every second.
            issuers.begin_fetches();
        }
        if is_news || errors.issuers.is_some() {
            *stamps = FileStamps::take(self.server.proofs.key_files());
            let error = issuers.reload_files().err();
            self.report("issuers", error, is_forced, &mut errors.issuers);
        }
    }

    /// What the changed configuration needs that this process has given up at start. A file that cannot be read or parsed is
    /// left to the load that follows.
    fn check_confinement(&self) -> Result<(), String> {
        let name = self.file.display().to_string();
        let text = load_generation::read(&self.file).ok();
        let Some(config) = text.and_then(|text| Config::parse(&text, &name).ok()) else { return Ok(()) };
        let refusals = self.confinement.refusals(&config);
        if refusals.is_empty() { Ok(()) } else { Err(format!("{name}: {}", refusals.join(&format!("\n{name}: ")))) }
    }

    fn reload_generation(&mut self) -> Result<(), String> {
        self.check_confinement()?;
        let LoadedFile { config, loaded, stamps } =
            load_generation::load_file(&self.file).map_err(|error| error.to_string())?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let fixed = [
            ("[server]", config.server != self.server),
            ("[accounts]", config.accounts != self.fixed.accounts),
            ("[audit]", config.audit != self.fixed.audit),
            ("[tracing]", config.tracing != self.fixed.tracing),
        ];
        let changed: Vec<&str> =
            fixed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name).collect();
        if !changed.is_empty() {
            tracing::warn!("A change of {} takes a restart; everything else is in force", changed.join(" and "));
        }
        self.stamps = stamps;
        let number = self.generations.replace(loaded.generation);
        self.metrics.generation(number, self.clock.now().seconds());
        let metrics = &self.metrics.accounts;
        self.generations.current().instances().for_each(|one| metrics.begin(one.instance.name.as_str()));
        Ok(())
    }

    /// Says what has changed since the last time, once; and whatever it is to somebody who asked by a signal.
    fn report(&self, what: &'static str, error: Option<String>, is_forced: bool, last: &mut Option<String>) {
        let number = self.generations.number();
        let is_new = error != *last;
        match &error {
            None => {
                self.metrics.reloaded(what, "", true);
                tracing::info!(what, generation.number = number, "Reloaded");
            }
            Some(errors) if is_new || is_forced => {
                if is_new {
                    self.metrics.reloaded(what, "", false);
                }
                for error in errors.lines() {
                    tracing::error!(
                        what,
                        generation.number = number,
                        "Not reloaded, the last good one stays in force: {error}"
                    );
                }
            }
            Some(_) => {}
        }
        if error.is_none() || is_new || is_forced {
            self.audit.note(&Event::Reloaded { what, succeeded: error.is_none(), generation: number });
        }
        *last = error;
    }
}

/// Follows SIGHUP of this process.
#[must_use]
pub fn follow_hangup() -> Option<Signal> {
    signal(SignalKind::hangup())
        .inspect_err(|error| tracing::error!(%error, "SIGHUP cannot be followed; files are still watched"))
        .ok()
}

async fn received(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => _ = hangup.recv().await,
        None => pending().await,
    }
}
