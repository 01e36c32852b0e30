//! A leaf: the HTTP client for URLs that the configuration names. It follows no redirect, keeps no cookie, and bounds what it
//! reads in time and size.

use std::{error::Error as _, time::Duration};

use reqwest::{Certificate, Client, StatusCode, redirect};
use thiserror::Error;
use url::Url;

/// Of the whole exchange, from the look-up of the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a URL did not give what was asked for.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("its CA file holds no usable certificate in PEM form")]
    Ca,
    #[error("{}", with_causes(.0))]
    Failed(#[from] reqwest::Error),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// A client that trusts the CAs of `ca_pem`, or those of the system.
///
/// # Errors
/// The CAs cannot be used.
pub(crate) fn build(ca_pem: Option<&[u8]>) -> Result<Client, FetchError> {
    let mut builder = Client::builder()
        .https_only(true)
        .redirect(redirect::Policy::none())
        .referer(false)
        .timeout(TIMEOUT)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = ca_pem {
        let certificates = Certificate::from_pem_bundle(pem).map_err(|_| FetchError::Ca)?;
        if certificates.is_empty() {
            return Err(FetchError::Ca);
        }
        builder = builder.tls_certs_only(certificates);
    }
    Ok(builder.build()?)
}

/// The body of a 200 answer.
///
/// # Errors
/// There is none, or it has more than `max_bytes`.
pub(crate) async fn get(client: &Client, url: Url, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
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
