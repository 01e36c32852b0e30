//! An issuer's keys from an https URL: fetched at start, now and then, and when a token names a key that is not among them.
//! One fetch at a time, and seldom one for a request, so that nobody can make this service flood an issuer.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use thiserror::Error;
use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::{Instant, sleep},
};
use url::Url;

use super::key_set::{KeySet, MAX_BYTES, NotAKeySet};
use crate::{
    http_client::{self, FetchError},
    regular_file,
    telemetry::Metrics,
};

/// Of a fetch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How old keys may get. Issuers publish a new key long before they sign with it.
const REFRESH_PERIOD: Duration = Duration::from_mins(5);
/// The least time between two fetches that requests have begun, and after a failure. The attack: tokens with made-up key
/// IDs, which need no signature, would otherwise make one fetch each.
const PAUSE: Duration = Duration::from_secs(10);

/// Keys behind a URL. Keys that were fetched once stay in force until a fetch brings others.
#[derive(Debug)]
pub(super) struct RemoteKeys {
    url: Url,
    ca: Option<PathBuf>,
    keys: ArcSwapOption<KeySet>,
    fetching: watch::Sender<Fetching>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Fetching {
    is_running: bool,
    /// When a request last began a fetch.
    demanded: Option<Instant>,
    /// What became of the last fetch; none = there was none.
    last: Option<Result<(), String>>,
}

/// Why keys were not fetched.
#[derive(Debug, Error)]
enum RemoteKeysError {
    #[error("jwks_ca {}: cannot be read: {error}", .path.display())]
    Ca { path: PathBuf, error: io::Error },
    #[error("reading the CAs has ended: {0}")]
    Ended(JoinError),
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("the answer {0}")]
    NotAKeySet(#[from] NotAKeySet),
}

impl RemoteKeys {
    pub(super) fn new(url: Url, ca: Option<PathBuf>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { url, ca, keys: ArcSwapOption::empty(), fetching: watch::Sender::default(), metrics })
    }

    /// None until they were fetched for the first time.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// Fetches for ever, so that keys get neither missing nor old.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        loop {
            self.begin_fetch(|_| true);
            self.fetch_ended().await;
            let succeeded = matches!(self.fetching.borrow().last, Some(Ok(())));
            sleep(if succeeded { REFRESH_PERIOD } else { PAUSE }).await;
        }
    }

    /// Begins a fetch unless one is under way.
    pub(super) fn refresh(self: &Arc<Self>) {
        self.begin_fetch(|_| true);
    }

    /// Waits for a fetch that is under way or begins now; without either, because a request began one a moment ago, not at
    /// all.
    pub(super) async fn refresh_on_demand(self: &Arc<Self>) {
        self.begin_fetch(|fetching| {
            let is_allowed = fetching.demanded.is_none_or(|demanded| demanded.elapsed() >= PAUSE);
            if is_allowed {
                fetching.demanded = Some(Instant::now());
            }
            is_allowed
        });
        self.fetch_ended().await;
    }

    /// The fetch is a task of its own: a client that gives up does not stop it for the others.
    fn begin_fetch(self: &Arc<Self>, is_allowed: impl FnOnce(&mut Fetching) -> bool) {
        let begins = self.fetching.send_if_modified(|fetching| {
            let begins = !fetching.is_running && is_allowed(fetching);
            fetching.is_running |= begins;
            begins
        });
        if begins {
            let keys = Arc::clone(self);
            tokio::spawn(async move { keys.fetch_and_report().await });
        }
    }

    async fn fetch_ended(&self) {
        // Fails only when the sender is gone, and `self` has it.
        let _ = self.fetching.subscribe().wait_for(|fetching| !fetching.is_running).await;
    }

    async fn fetch_and_report(&self) {
        let result =
            self.fetch().await.map(|keys| self.keys.store(Some(Arc::new(keys)))).map_err(|error| error.to_string());
        self.metrics.reloaded("issuers", self.url.as_str(), result.is_ok());
        self.fetching.send_modify(|fetching| {
            let is_news = fetching.last.as_ref() != Some(&result);
            match &result {
                Ok(()) if is_news => tracing::info!(url = %self.url, "Fetched the keys of an issuer"),
                Err(error) if is_news => tracing::error!(
                    url = %self.url,
                    "The keys of an issuer were not fetched, its last good ones stay in force: {error}"
                ),
                Ok(()) | Err(_) => {}
            }
            fetching.is_running = false;
            fetching.last = Some(result);
        });
    }

    async fn fetch(&self) -> Result<KeySet, RemoteKeysError> {
        // A client for each fetch: it takes the CAs as they are now, and a fetch is rare. Not on a thread that serves: the system's CAs
        // are many, and who made up a key ID has begun this.
        let ca = self.ca.clone();
        let client = spawn_blocking(move || {
            let ca = ca
                .map(|path| regular_file::read(&path, MAX_BYTES).map_err(|error| RemoteKeysError::Ca { path, error }));
            let ca = ca.transpose()?;
            Ok::<_, RemoteKeysError>(
                http_client::build(TIMEOUT, ca.as_deref().map(Vec::as_slice)).map_err(FetchError::from)?,
            )
        });
        let client = client.await.map_err(RemoteKeysError::Ended)??;
        let json = http_client::get(&client, self.url.clone(), MAX_BYTES).await?;
        Ok(KeySet::parse(&json)?)
    }
}
