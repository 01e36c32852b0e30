//! A backend for Metabase's SDK and interactive embedding: settings, the connection to the token service, and the server.
//! What it answers is in `backend.rs`.

mod backend;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, bail};
use config::{Config, Environment, File, FileFormat};
use metabase_token_service::client::Client;
use serde::Deserialize;
use tokio::{net::TcpListener, signal::unix::SignalKind, signal::unix::signal, time::sleep};

/// What the environment says, and otherwise `defaults.toml`; `../README.md` lists every variable.
#[derive(Deserialize)]
struct Settings {
    listen: String,
    public_url: String,
    app_origins: String,
    cookie_samesite: String,
    people_file: String,
    metabase_instance: String,
    metabase_token_service_address: String,
    metabase_token_service_tls_ca: Option<String>,
    metabase_token_service_tls_certificate: Option<String>,
    metabase_token_service_tls_key: Option<String>,
}

impl Settings {
    fn from_env() -> Result<Self> {
        let config = Config::builder().add_source(File::from_str(include_str!("../defaults.toml"), FileFormat::Toml));
        Ok(config.add_source(Environment::default().ignore_empty(true)).build()?.try_deserialize()?)
    }

    /// Connects when first asked. Plaintext is for a mesh's sidecar, or this machine.
    fn connect(&self) -> Result<Client> {
        let mut service = Client::builder(&self.metabase_token_service_address).allow_plaintext();
        service = match (&self.metabase_token_service_tls_certificate, &self.metabase_token_service_tls_key) {
            (Some(certificate), Some(key)) => service.identity(read(certificate)?, read(key)?),
            (None, None) => service,
            _ => bail!("METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY"),
        };
        if let Some(ca) = &self.metabase_token_service_tls_ca {
            service = service.ca_certificate(read(ca).context("METABASE_TOKEN_SERVICE_TLS_CA")?);
        }
        service.connect_lazy().context("METABASE_TOKEN_SERVICE_ADDRESS, METABASE_TOKEN_SERVICE_TLS_CA")
    }
}

fn read(file: &str) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| file.to_owned())
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let settings = Settings::from_env()?;
    let people = serde_json::from_slice(&read(&settings.people_file).context("PEOPLE_FILE")?).context("PEOPLE_FILE")?;
    let app = backend::app(&settings, people, settings.connect()?)?;
    let listener = TcpListener::bind(&settings.listen).await.context("LISTEN")?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let (mut sigterm, mut same) = (signal(SignalKind::terminate())?, signal(SignalKind::terminate())?);
    let stop = async move { sigterm.recv().await.unwrap_or_default() };
    let late = async move { sleep(std::time::Duration::from_secs(same.recv().await.map_or(u64::MAX, |()| 10))).await };
    let serving = axum::serve(listener, app).with_graceful_shutdown(stop).into_future();
    // Answers what is in flight. Who stalls is not waited for.
    tokio::select! { served = serving => served.context("serving"), () = late => Ok(()) }
}
