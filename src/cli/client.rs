//! What the client commands share: connecting, and showing what the server refused.

use std::{error::Error, fmt::Write as _, fs, path::Path};

use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt as _;

use super::Server;

/// Connects to the service.
pub(super) async fn connect(server: &Server) -> Result<Channel, String> {
    let address = &server.address;
    let is_uri = address.starts_with("unix:") || address.contains("://");
    // The attack: whoever sets the address takes the TLS away that the command asked for.
    if server.tls_ca.is_some() && is_uri && !address.starts_with("https://") {
        return Err(format!("--address {address:?} must be HOST:PORT or https://HOST:PORT with --tls-ca"));
    }
    let scheme = if server.tls_ca.is_some() { "https" } else { "http" };
    let uri = if is_uri { address.clone() } else { format!("{scheme}://{address}") };
    let endpoint = Endpoint::from_shared(uri)
        .map_err(|_| format!("--address {address:?} must be HOST:PORT, http://HOST:PORT or unix:/PATH"))?;
    let endpoint = match tls(server)? {
        Some(tls) => endpoint.tls_config(tls).map_err(|error| format!("--tls-ca: {}", with_causes(&error)))?,
        None => endpoint,
    };
    let endpoint = endpoint.connect_timeout(server.timeout).timeout(server.timeout);
    endpoint.connect().await.map_err(|error| format!("cannot connect to {address}: {}", with_causes(&error)))
}

fn tls(server: &Server) -> Result<Option<ClientTlsConfig>, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()));
    let Some(ca) = &server.tls_ca else { return Ok(None) };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
    if let (Some(certificate), Some(key)) = (&server.tls_certificate, &server.tls_key) {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    if let Some(name) = &server.tls_server_name {
        tls = tls.domain_name(name);
    }
    Ok(Some(tls))
}

/// The error and what it comes from, without repetitions.
fn with_causes(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        cause = error.source();
    }
    text
}

/// The code and message, and one line for each violation or reason.
pub(super) fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let details = status.get_error_details();
    if let Some(bad_request) = details.bad_request() {
        text = format!("{:?}: invalid request", status.code());
        for violation in &bad_request.field_violations {
            // Writing to a String does not fail.
            let _ = write!(text, "\n{}: {}", violation.field, violation.description);
        }
    }
    if let Some(info) = details.error_info() {
        let _ = write!(text, "\nreason: {}", info.reason);
    }
    text
}
