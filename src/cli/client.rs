//! What the client commands share: connecting, and showing what the server refused.

use std::fmt::Write as _;

use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::Server;

/// Connects to the service.
pub(super) async fn connect(server: &Server) -> Result<Channel, String> {
    let address = &server.address;
    let is_uri = address.starts_with("unix:") || address.contains("://");
    let uri = if is_uri { address.clone() } else { format!("http://{address}") };
    let endpoint = Endpoint::from_shared(uri)
        .map_err(|_| format!("--address {address:?} must be HOST:PORT, http://HOST:PORT or unix:/PATH"))?;
    let endpoint = endpoint.connect_timeout(server.timeout).timeout(server.timeout);
    endpoint.connect().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("cannot connect to {address}{cause}")
    })
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
