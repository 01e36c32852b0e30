//! Asks metabase-token-service for tokens, and says in HTTP what it answers.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use axum::http::StatusCode;
use metabase_token_service::client::{self, CheckRequest, Client, Error, IssuedToken, Judgement, TokenRequest};
use serde::Deserialize;

use crate::{Failure, settings::Settings};

/// An entry of the user database.
#[derive(Clone, Deserialize)]
pub struct Person {
    id: String,
    email: String,
    first_name: String,
    last_name: String,
    groups: Vec<String>,
    attributes: BTreeMap<String, String>,
}

pub struct TokenService {
    client: Client,
    instance: String,
}

impl TokenService {
    /// Connects when first asked. Plaintext is for a mesh's sidecar, or this machine.
    pub fn connect(settings: &Settings) -> Result<Self> {
        let read = |file: &String| fs::read(file).with_context(|| file.clone());
        let mut service = Client::builder(&settings.address).allow_plaintext();
        if let Some(ca) = &settings.ca {
            service = service.ca_certificate(read(ca)?);
        }
        if let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) {
            service = service.identity(read(certificate)?, read(key)?);
        }
        Ok(Self { client: service.connect_lazy()?, instance: settings.instance.clone() })
    }

    /// A token for this person, for this one request: never kept. With `return_to`, also the URL to send them to.
    pub async fn issue(&self, person: Person, return_to: Option<String>) -> Result<IssuedToken, Failure> {
        let Person { id, email, first_name, last_name, groups, attributes } = person;
        let request = TokenRequest::new(client::Person { id, email, first_name, last_name }).instance(&self.instance);
        let request = request.groups(groups).attributes(attributes);
        let request = return_to.into_iter().fold(request, TokenRequest::return_to);
        let issued = self.client.issue(request).await?;
        warn(&issued.warnings);
        Ok(issued)
    }

    /// What Metabase would say to a token for this person; judged by the service, without an effect.
    pub async fn check(&self, person: Person) -> Result<Judgement, Failure> {
        let issued = self.issue(person, None).await?;
        let judged = self.client.check(CheckRequest::token(&issued.token).instance(&self.instance)).await?;
        warn(&judged.warnings);
        Ok(judged)
    }
}

/// For operators, as all that the service says.
fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| tracing::warn!("token service: {warning}"));
}

/// Says nothing of what the service said.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        tracing::warn!("token service: {error}"); // Never holds a token.
        match error {
            Error::Denied(_) => Self(StatusCode::FORBIDDEN, "NO_ACCESS", "You have no access to these analytics."),
            Error::RateExceeded { .. } => {
                Self(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Too many people at once; try again.")
            }
            Error::Unavailable { .. } | Error::DeadlineExceeded(_) => Self(
                StatusCode::SERVICE_UNAVAILABLE,
                "TRY_AGAIN",
                "Analytics cannot sign you in at the moment; try again.",
            ),
            error if error.is_about("return_to") => {
                Self(StatusCode::BAD_REQUEST, "INVALID_RETURN_TO", "The link leads nowhere in Metabase.")
            }
            Error::FailedPrecondition(refusal) if refusal.reason == "SHARED_ACCOUNT" => Self(
                StatusCode::CONFLICT,
                "SHARED_ACCOUNT",
                "Another person uses this e-mail address here; ask for one of your own.",
            ),
            // Unauthenticated too: it is about this backend. As 401 it would send who is signed in to sign in, in a circle.
            _ => Self(StatusCode::INTERNAL_SERVER_ERROR, "MISCONFIGURED", "Analytics is not set up correctly."),
        }
    }
}
