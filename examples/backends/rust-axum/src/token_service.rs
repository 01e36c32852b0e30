//! Asks metabase-token-service for tokens, in bounded time, and says in HTTP what it answers.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::{Context as _, Result};
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Code, Request, Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use tonic_types::StatusExt as _;

use crate::{
    Failure,
    proto::{self, check_auth_status_request::Credential, metabase_token_service_client::MetabaseTokenServiceClient},
    settings::Settings,
};

/// For an RPC with all its tries.
const DEADLINE: Duration = Duration::from_secs(2);
const TRIES: u32 = 3;

/// An entry of the user database.
#[derive(Clone, Deserialize)]
pub struct Person {
    pub id: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub groups: Vec<String>,
    pub attributes: HashMap<String, String>,
}

pub struct TokenService {
    client: MetabaseTokenServiceClient<Channel>,
    instance: String,
}

impl TokenService {
    /// Connects when first asked. Plaintext is for a mesh's sidecar, or this machine.
    pub fn connect(settings: &Settings) -> Result<Self> {
        let read = |file: &String| fs::read(file).with_context(|| file.clone());
        let mut endpoint = Channel::from_shared(settings.address.clone())?
            .connect_timeout(DEADLINE)
            .http2_keep_alive_interval(Duration::from_secs(30)) // Notices a peer that vanished without a word.
            .keep_alive_timeout(Duration::from_secs(5));
        if let Some(ca) = &settings.ca {
            let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
            if let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) {
                tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        let client = MetabaseTokenServiceClient::new(endpoint.connect_lazy());
        Ok(Self { client, instance: settings.instance.clone() })
    }

    /// A token for this person, for this one request: never kept. With `return_to`, also the URL to send them to.
    pub async fn issue(
        &self,
        person: Person,
        return_to: Option<String>,
    ) -> Result<proto::IssueMetabaseTokenResponse, Failure> {
        let Person { id, email, first_name, last_name, groups, attributes } = person;
        let request = proto::IssueMetabaseTokenRequest {
            instance: self.instance.clone(),
            user: Some(proto::User { id, email, first_name, last_name }),
            groups: Some(proto::GroupList { names: groups }),
            attributes,
            return_to,
            ..Default::default()
        };
        self.ask(request, async |mut client, request| client.issue_metabase_token(request).await).await
    }

    /// What Metabase would say to the token; judged by the service, without an effect.
    pub async fn check(&self, jwt: String) -> Result<proto::CheckAuthStatusResponse, Failure> {
        let credential = Some(Credential::Jwt(jwt));
        let request =
            proto::CheckAuthStatusRequest { instance: self.instance.clone(), credential, ..Default::default() };
        self.ask(request, async |mut client, request| client.check_auth_status(request).await).await
    }

    /// Only what certainly was not answered is tried again.
    async fn ask<Q: Clone, A>(
        &self,
        request: Q,
        rpc: impl AsyncFn(MetabaseTokenServiceClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let deadline = Instant::now() + DEADLINE;
        let mut tried = 0;
        loop {
            let mut request = Request::new(request.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let late = |_| Err(Status::deadline_exceeded("no answer in time"));
            let answer = timeout_at(deadline, rpc(self.client.clone(), request)).await.unwrap_or_else(late);
            tried += 1;
            match answer {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if status.code() == Code::Unavailable && tried < TRIES => {
                    sleep(Duration::from_millis(100) * tried).await;
                }
                Err(status) => return Err(failure(&status)),
            }
        }
    }
}

/// Says nothing of what the service said.
fn failure(status: &Status) -> Failure {
    tracing::warn!(code = ?status.code(), "token service: {}", status.message()); // For operators; never holds a token.
    let names_return_to = |details: tonic_types::BadRequest| {
        details.field_violations.iter().any(|violation| violation.field == "return_to")
    };
    match status.code() {
        Code::PermissionDenied => Failure(StatusCode::FORBIDDEN, "NO_ACCESS", "You have no access to these analytics."),
        Code::ResourceExhausted => {
            Failure(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Too many people at once; try again.")
        }
        // Cancelled: tonic's own word for a deadline that passed.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "TRY_AGAIN",
            "Analytics cannot sign you in at the moment; try again.",
        ),
        _ if status.get_details_bad_request().is_some_and(names_return_to) => {
            Failure(StatusCode::BAD_REQUEST, "INVALID_RETURN_TO", "The link leads nowhere in Metabase.")
        }
        _ if status.get_details_error_info().is_some_and(|info| info.reason == "SHARED_ACCOUNT") => Failure(
            StatusCode::CONFLICT,
            "SHARED_ACCOUNT",
            "Another person uses this e-mail address here; ask for one of your own.",
        ),
        // Unauthenticated too: it is about this backend. As 401 it would send who is signed in to sign in, in a circle.
        _ => Failure(StatusCode::INTERNAL_SERVER_ERROR, "MISCONFIGURED", "Analytics is not set up correctly."),
    }
}
