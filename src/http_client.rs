//! A leaf: the HTTP client for URLs that the configuration names. It follows no redirect, keeps no cookie, and bounds what it
//! reads in time and size.

use std::{error::Error as _, time::Duration};

use reqwest::{Certificate, Client, StatusCode, redirect};
use thiserror::Error;
use url::Url;

/// Why a URL did not give what was asked for.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("{0}")]
    Client(#[from] InvalidClient),
    #[error("{}", with_causes(.0))]
    Failed(#[from] reqwest::Error),
    #[error("must be https")]
    NotHttps,
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum InvalidClient {
    /// The file holds something else.
    #[error("the CA file holds no usable certificate in PEM form")]
    Ca,
    /// For example: the system has no CAs.
    #[error("{}", with_causes(.0))]
    Library(reqwest::Error),
}

/// A client that trusts the CAs of `ca_pem`, or those of the system. `timeout` is that of a whole exchange, from the look-up of
/// the name to the last byte.
///
/// # Errors
/// The CAs cannot be used.
pub(crate) fn build(timeout: Duration, ca_pem: Option<&[u8]>) -> Result<Client, InvalidClient> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .referer(false)
        .timeout(timeout)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = ca_pem {
        let certificates = Certificate::from_pem_bundle(pem).map_err(|_| InvalidClient::Ca)?;
        if certificates.is_empty() {
            return Err(InvalidClient::Ca);
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(InvalidClient::Library)
}

/// The body of a 200 answer to a request over https.
///
/// # Errors
/// There is none, or it has more than `max_bytes`.
pub(crate) async fn get(client: &Client, url: Url, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
    if url.scheme() != "https" {
        return Err(FetchError::NotHttps);
    }
    let mut response = client.get(url).send().await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Err(FetchError::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The library's own text stops before the cause, which is what one needs to know.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
