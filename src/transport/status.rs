//! Every error as a `tonic::Status` with google.rpc details. Nowhere else builds one.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use http::{HeaderMap, Response};

use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::{MAX_REQUEST_BYTES, authenticate::Unauthenticated, bearer::InvalidBearer};
use crate::{
    application::{
        accounts::AccountRefusal,
        check_auth_status::CheckError,
        generation::{NoInstance, NotAdmitted},
        issue_token::IssueError,
        rates::RateExceeded,
        signing_key::SignError,
    },
    domain::{deny_reason::DenyReason, policy::Denial, token_request::Violation},
};

/// `google.rpc.ErrorInfo.domain`
const DOMAIN: &str = "metabase-token-service";
/// An overload takes this long to pass, more often than not; clients add chance to it.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_millis(250);

pub(super) fn of_issue(error: IssueError) -> Status {
    match error {
        IssueError::Account(refusal) => account(refusal),
        IssueError::AuditUnavailable => audit_unavailable(
            "the audit record of the token could not be written, so it was not issued; try again, or another replica",
        ),
        IssueError::Denied(denial) => denied(&denial),
        IssueError::Invalid(violations) => invalid(violations),
        IssueError::NotAdmitted(not_admitted) => self::not_admitted(not_admitted),
        IssueError::Sign(error @ SignError::TooLong { field, .. }) => invalid(vec![Violation {
            field: field.to_owned(),
            rule: format!("{error}: send fewer or shorter attributes and groups"),
        }]),
        IssueError::Sign(error @ SignError::Claims) => {
            tracing::error!(error = &error as &dyn std::error::Error, "A permitted token was not signed");
            with_reason(Code::Internal, "SIGNING_FAILED", "internal error", HashMap::new())
        }
        IssueError::UrlNotConfigured => with_reason(
            Code::FailedPrecondition,
            "METABASE_URL_NOT_CONFIGURED",
            "return_to needs the `url` of the instance, which is not configured; leave return_to out or configure it",
            HashMap::new(),
        ),
    }
}

pub(super) fn of_check(error: CheckError) -> Status {
    match error {
        CheckError::AuditUnavailable => audit_unavailable(
            "the audit record of the live check could not be written, so Metabase was not asked; try again, or another replica",
        ),
        CheckError::Denied(denial) => denied(&denial),
        CheckError::NotAdmitted(not_admitted) => self::not_admitted(not_admitted),
        CheckError::UrlNotConfigured => with_reason(
            Code::FailedPrecondition,
            "METABASE_URL_NOT_CONFIGURED",
            "only Metabase itself can answer this, and the `url` of the instance is not configured; configure it, or send a \
             `jwt` without `live`",
            HashMap::new(),
        ),
    }
}

pub(super) fn unauthenticated(error: &Unauthenticated) -> Status {
    // Without the issuer's keys nothing is wrong with the request, and it is worth another try.
    let is_ours = *error == Unauthenticated::Bearer(InvalidBearer::KeysUnavailable);
    let code = if is_ours { Code::Unavailable } else { Code::Unauthenticated };
    with_reason(code, error.code(), &error.to_string(), HashMap::new())
}

/// Too many RPCs are in flight. Says nothing about the caller, which has not been looked at.
fn overloaded() -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(RETRY_AFTER_OVERLOAD));
    details.set_error_info("OVERLOADED", DOMAIN, HashMap::new());
    let message = "too many requests are in flight; try another replica, or this one a little later";
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// [`overloaded`] as an answer, made once: a refusal that costs as much as what it refuses protects nothing.
pub(super) fn overloaded_answer() -> Response<Body> {
    static HEAD: LazyLock<HeaderMap> = LazyLock::new(|| overloaded().into_http::<Body>().into_parts().0.headers);
    let mut answer = Response::new(Body::empty());
    answer.headers_mut().clone_from(&HEAD);
    answer
}

pub(super) fn deadline_exceeded() -> Status {
    with_reason(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the request took too long", HashMap::new())
}

/// The request's message was not complete in time.
pub(super) fn unfinished(timeout: Duration) -> Status {
    let message = format!("the request was not complete within {} ms of its headers", timeout.as_millis());
    with_reason(Code::DeadlineExceeded, "REQUEST_UNFINISHED", &message, HashMap::new())
}

/// Too many requests of the caller are not complete.
pub(super) fn too_many_unfinished() -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(RETRY_AFTER_OVERLOAD));
    details.set_error_info("TOO_MANY_UNFINISHED", DOMAIN, HashMap::new());
    let message = "too many requests of this caller wait for their message; send headers and message together";
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// Neither the method nor the content type of gRPC.
pub(super) fn not_grpc() -> Status {
    let message = "not gRPC: the method must be POST and the content type application/grpc";
    with_reason(Code::InvalidArgument, "NOT_GRPC", message, HashMap::new())
}

pub(super) fn too_large() -> Status {
    let message = format!("a request message has {MAX_REQUEST_BYTES} bytes at most");
    with_reason(Code::ResourceExhausted, "REQUEST_TOO_LARGE", &message, HashMap::new())
}

/// Not one message of the request's type; `head` is tonic's answer, which says why and repeats nothing.
pub(super) fn unreadable(head: &HeaderMap) -> Status {
    let why = Status::from_header_map(head).map(|status| status.message().to_owned()).unwrap_or_default();
    let message = format!("the request must be one message of the type in the .proto, uncompressed: {why}");
    with_reason(Code::InvalidArgument, "REQUEST_UNREADABLE", &message, HashMap::new())
}

/// Our own fault: the layer that authenticates is missing.
pub(super) fn no_caller() -> Status {
    tracing::error!("A request reached the service without authentication");
    with_reason(Code::Internal, "NO_AUTHENTICATION", "internal error", HashMap::new())
}

fn denied(denial: &Denial) -> Status {
    let (code, why) = (denial.reason.code(), why_denied(denial.reason));
    if denial.field.is_empty() {
        return with_reason(Code::PermissionDenied, code, &format!("not permitted: {code}: {why}"), HashMap::new());
    }
    let message = format!("not permitted: {code} ({}): {why}", denial.field);
    with_reason(Code::PermissionDenied, code, &message, [("field".to_owned(), denial.field.clone())].into())
}

/// By which key of the configuration, for whoever can change it. What the key says is not the caller's to know.
fn why_denied(reason: DenyReason) -> String {
    match (reason.grant_key(), reason) {
        (Some(key), _) => format!(
            "the caller's grant does not cover it (`{key}` in [[callers.grants]]); `policy explain` tells whoever runs the service why"
        ),
        (None, DenyReason::UnknownCaller) => {
            "none of the [[callers]] lists the identity that was proven, which the service's log names".to_owned()
        }
        (None, DenyReason::NoGrant) => "the caller has no [[callers.grants]] for this instance".to_owned(),
        (None, _) => "[deny] of the service's configuration lists it".to_owned(),
    }
}

fn not_admitted(not_admitted: NotAdmitted) -> Status {
    match not_admitted {
        NotAdmitted::Denied(denial) => denied(&denial),
        NotAdmitted::NoInstance(no_instance) => self::no_instance(no_instance),
        NotAdmitted::RateExceeded(exceeded) => rate_exceeded(exceeded),
    }
}

fn rate_exceeded(RateExceeded { retry_after }: RateExceeded) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(retry_after));
    details.set_error_info("RATE_EXCEEDED", DOMAIN, HashMap::new());
    let message = format!("the caller's rate is used up; retry in {} ms", retry_after.as_millis());
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// Says nothing about the other person, whom the caller may not know.
fn account(refusal: AccountRefusal) -> Status {
    let code = refusal.code();
    let findings = match refusal {
        AccountRefusal::Shared(findings) => findings,
        AccountRefusal::StoreUnavailable => {
            let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
            details.set_error_info(code, DOMAIN, HashMap::new());
            let message =
                "whether another person uses this account could not be found out, so no token was issued; try again";
            return Status::with_error_details(Code::Unavailable, message, details);
        }
    };
    let (finding, message) = if findings.other_person {
        let message = "another person (another user.id) uses the Metabase account of this e-mail address, and people who share an \
                       account share its session and its data; give every person an address of their own. Two backends over one \
                       user database have to be configured with the same `user_directory`; one_account_per_user = \"report\" \
                       issues and warns instead";
        ("other_person", message)
    } else {
        let message = "the Metabase account of this e-mail address has had more tokens within an hour than one person needs \
                       (accounts.tokens_per_hour); give every person an account of their own, and see that the backend issues a \
                       token only when it is asked for one";
        ("too_many_tokens", message)
    };
    let metadata = [("field".to_owned(), "user.email".to_owned()), ("finding".to_owned(), finding.to_owned())];
    with_reason(Code::FailedPrecondition, code, message, metadata.into())
}

/// The log has to recover first, which takes somebody who makes room on a disk.
fn audit_unavailable(message: &str) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    details.set_error_info("AUDIT_UNAVAILABLE", DOMAIN, HashMap::new());
    Status::with_error_details(Code::Unavailable, message, details)
}

fn no_instance(no_instance: NoInstance) -> Status {
    match no_instance {
        NoInstance::Unknown => {
            let message = "no instance of this name is configured";
            with_reason(Code::NotFound, "UNKNOWN_INSTANCE", message, HashMap::new())
        }
        NoInstance::Ambiguous => invalid(vec![Violation {
            field: "instance".to_owned(),
            rule: "must be given: several instances are configured and none is the default".to_owned(),
        }]),
    }
}

/// The message names every field, too: many clients show nothing else.
fn invalid(violations: Vec<Violation>) -> Status {
    let violations = fitting(violations);
    let lines: Vec<String> = violations.iter().map(|Violation { field, rule }| format!("{field}: {rule}")).collect();
    let violations: Vec<FieldViolation> =
        violations.into_iter().map(|Violation { field, rule }| FieldViolation::new(field, rule)).collect();
    let mut message = format!("invalid request: {}", lines.join("; "));
    // Messages travel in a header; the details beside them hold every violation in full.
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARS) {
        message.truncate(end);
        message.push('…');
    }
    Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(violations))
}

const MAX_MESSAGE_CHARS: usize = 1000;
/// Bytes of the texts of all violations: clients refuse metadata of more than 8 KiB, and details travel in base64.
const MAX_VIOLATION_BYTES: usize = 3500;

/// The violations that fit, and how many do not.
fn fitting(mut violations: Vec<Violation>) -> Vec<Violation> {
    let mut room = MAX_VIOLATION_BYTES;
    let fits = |violation: &Violation| {
        let size = violation.field.len() + violation.rule.len();
        room = room.checked_sub(size)?;
        Some(())
    };
    let count = violations.iter().map_while(fits).count();
    let left_out = violations.len() - count;
    if left_out > 0 {
        violations.truncate(count);
        violations.push(Violation { field: String::new(), rule: format!("and {left_out} more violations") });
    }
    violations
}

fn with_reason(code: Code, reason: &str, message: &str, metadata: HashMap<String, String>) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
}
