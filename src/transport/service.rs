//! The generated trait to the use cases. A handler translates and counts, nothing else.

use std::sync::Arc;

use http::Extensions;
use tonic::{Request, Response, Status};

use super::{convert, deadline, notes::Notes, proto, status, warnings};
use crate::{
    application::{
        audit::Asked,
        check_auth_status::CheckAuthStatus,
        generation::NotAdmitted,
        issue_token::{IssueError, IssueToken},
    },
    telemetry::Metrics,
};

pub(super) struct TokenService {
    issue_token: IssueToken,
    check_auth_status: CheckAuthStatus,
    metrics: Arc<Metrics>,
}

impl TokenService {
    pub(super) const fn new(
        issue_token: IssueToken,
        check_auth_status: CheckAuthStatus,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { issue_token, check_auth_status, metrics }
    }
}

#[tonic::async_trait]
impl proto::metabase_token_service_server::MetabaseTokenService for TokenService {
    async fn issue_metabase_token(
        &self,
        request: Request<proto::IssueMetabaseTokenRequest>,
    ) -> Result<Response<proto::IssueMetabaseTokenResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let asked = asked(&extensions)?;
        let (instance, unverified) = convert::issue_request(request);
        match self.issue_token.execute(asked, &instance, unverified).await {
            Ok(issued) => {
                self.metrics.rpcs.issued();
                let mut response = Response::new(convert::issue_response(&issued));
                warnings::add(issued.warnings, response.metadata_mut());
                Ok(response)
            }
            Err(error) => {
                let (outcome, reason) = outcome(&error);
                self.metrics.rpcs.not_issued(outcome, reason);
                Err(status::of_issue(error))
            }
        }
    }

    async fn check_auth_status(
        &self,
        request: Request<proto::CheckAuthStatusRequest>,
    ) -> Result<Response<proto::CheckAuthStatusResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let (asked, budget) = (asked(&extensions)?, deadline::budget(&extensions));
        let proto::CheckAuthStatusRequest { instance, credential, live } = request;
        let credential = convert::credential(credential);
        let judgement = self.check_auth_status.execute(asked, &instance, credential, live, budget).await;
        judgement.map(convert::check_response).map(Response::new).map_err(status::of_check)
    }
}

/// The caller is absent only if the authentication is missing: our bug, never the caller's.
fn asked(extensions: &Extensions) -> Result<Asked<'_>, Status> {
    let caller = extensions.get().ok_or_else(status::no_caller)?;
    Ok(Asked { caller, request_id: Notes::request_id(extensions) })
}

/// Labels of the metric.
const fn outcome(error: &IssueError) -> (&'static str, &'static str) {
    match error {
        IssueError::Account(refusal) => ("refused", refusal.code()),
        IssueError::AuditUnavailable => ("refused", "AUDIT_UNAVAILABLE"),
        IssueError::Denied(denial) | IssueError::NotAdmitted(NotAdmitted::Denied(denial)) => {
            ("denied", denial.reason.code())
        }
        IssueError::Invalid(_) => ("refused", "INVALID_ARGUMENT"),
        IssueError::NotAdmitted(NotAdmitted::NoInstance(_)) => ("refused", "UNKNOWN_INSTANCE"),
        IssueError::NotAdmitted(NotAdmitted::RateExceeded(_)) => ("refused", "RATE_EXCEEDED"),
        IssueError::Sign(_) => ("refused", "NOT_SIGNED"),
        IssueError::UrlNotConfigured => ("refused", "METABASE_URL_NOT_CONFIGURED"),
    }
}
