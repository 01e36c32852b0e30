//! The HTTP side of a backend: how its endpoint is asked, and what it may tell a browser when there is no token.

use http::StatusCode;

use super::Error;

/// What Metabase's SDK, or Metabase itself, asks the endpoint that a backend has for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SsoQuery {
    /// The SDK asks, and wants `{"jwt":"…"}`. Otherwise the answer is a redirect, for interactive embedding.
    pub wants_json: bool,
    /// Where the person wants to go, for [`TokenRequest::return_to`](super::TokenRequest::return_to); empty: to Metabase's home page.
    pub return_to: String,
}

impl SsoQuery {
    /// Reads what stands behind the `?` of the request. `return_to` may be encoded, or as Metabase appends it: as it is, so that
    /// everything behind it is a part of it.
    ///
    /// ```
    /// use metabase_token_service::client::SsoQuery;
    ///
    /// assert!(SsoQuery::parse("response=json").wants_json);
    /// assert_eq!(SsoQuery::parse("return_to=/dashboard/1?tab=2&who=me").return_to, "/dashboard/1?tab=2&who=me");
    /// ```
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let query = format!("&{query}");
        let (query, appended) = match query.split_once("&return_to=") {
            // Encoded, it has no `?`.
            Some((before, appended)) if appended.contains('?') => (before, Some(appended.to_owned())),
            _ => (query.as_str(), None),
        };
        let value =
            |name| form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == name).then_some(value));
        Self {
            wants_json: value("response").is_some_and(|response| response == "json"),
            return_to: appended.or_else(|| Some(value("return_to")?.into_owned())).unwrap_or_default(),
        }
    }
}

/// What a browser may be told of an error. Holds nothing that the service said, for that is for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicError {
    /// Of the answer; 429 and 503 go together with `Retry-After`.
    pub status: StatusCode,
    /// For programs, for example `NO_ACCESS`.
    pub code: &'static str,
    /// For people.
    pub message: &'static str,
}

impl PublicError {
    /// It is not the person's fault, and to try again does not help.
    pub const MISCONFIGURED: Self =
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "MISCONFIGURED", "Analytics is not set up correctly.");

    /// One of the backend's own, for example that nobody is signed in.
    #[must_use]
    pub const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message }
    }
}

impl Error {
    /// What a browser may be told of it. Log the error itself.
    #[must_use]
    pub fn public(&self) -> PublicError {
        let (status, code, message) = match self {
            Self::Denied(_) => (StatusCode::FORBIDDEN, "NO_ACCESS", "You have no access to these analytics."),
            Self::RateExceeded { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Too many people at once; try again.")
            }
            Self::Unavailable { .. } | Self::DeadlineExceeded(_) => {
                let message = "Analytics cannot sign you in at the moment; try again.";
                (StatusCode::SERVICE_UNAVAILABLE, "TRY_AGAIN", message)
            }
            Self::FailedPrecondition(refusal) if refusal.reason == "SHARED_ACCOUNT" => {
                let message = "Another person uses this e-mail address here; ask for one of your own.";
                (StatusCode::CONFLICT, "SHARED_ACCOUNT", message)
            }
            Self::Invalid { .. } if self.is_about("return_to") => {
                (StatusCode::BAD_REQUEST, "INVALID_RETURN_TO", "The link leads nowhere in Metabase.")
            }
            // Unauthenticated too: it is about the backend. As 401 it would send who is signed in to sign in, in a circle.
            Self::FailedPrecondition(_)
            | Self::Invalid { .. }
            | Self::Other(_)
            | Self::Unauthenticated(_)
            | Self::UnknownInstance(_) => return PublicError::MISCONFIGURED,
        };
        PublicError::new(status, code, message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn a_query_is_read_as_metabase_and_its_sdk_write_it() {
        let cases = [
            ("", false, ""),
            ("response=json", true, ""),
            ("x=1&response=json", true, ""),
            ("response=JSON", false, ""),
            ("xresponse=json", false, ""),
            ("x=response=json", false, ""),
            ("return_to=%2Fa%3Fb%3Dc%26d%3D%2520e+f", false, "/a?b=c&d=%20e f"),
            ("x=1&return_to=/a&theme=dark", false, "/a"),
            ("xreturn_to=/a", false, ""),
            // Appended, and not encoded.
            ("return_to=/a?b=c&d=%20e", false, "/a?b=c&d=%20e"),
            ("x=1&return_to=/a?b&response=json", false, "/a?b&response=json"),
            ("response=json&return_to=/a?b&return_to=/c", true, "/a?b&return_to=/c"),
            ("x=/a?b&response=json", true, ""),
        ];
        for (query, wants_json, return_to) in cases {
            let expected = SsoQuery { wants_json, return_to: return_to.to_owned() };
            assert_eq!(SsoQuery::parse(query), expected, "{query}");
        }
    }

    #[test]
    fn a_browser_is_told_what_concerns_the_person_and_no_more() {
        let reason = |reason| ErrorDetails::with_error_info(reason, "metabase-token-service", HashMap::new());
        let field = |field| ErrorDetails::with_bad_request_violation(field, "for operators");
        let none = ErrorDetails::new;
        let cases = [
            (Code::PermissionDenied, reason("EMAIL_DOMAIN_NOT_GRANTED"), 403, "NO_ACCESS"),
            (Code::InvalidArgument, field("return_to"), 400, "INVALID_RETURN_TO"),
            (Code::InvalidArgument, field("user.email"), 500, "MISCONFIGURED"),
            (Code::InvalidArgument, none(), 500, "MISCONFIGURED"),
            (Code::FailedPrecondition, reason("SHARED_ACCOUNT"), 409, "SHARED_ACCOUNT"),
            (Code::FailedPrecondition, reason("METABASE_URL_NOT_CONFIGURED"), 500, "MISCONFIGURED"),
            (Code::ResourceExhausted, reason("RATE_EXCEEDED"), 429, "TOO_MANY_REQUESTS"),
            (Code::ResourceExhausted, reason("REQUEST_TOO_LARGE"), 500, "MISCONFIGURED"),
            (Code::Unavailable, none(), 503, "TRY_AGAIN"),
            (Code::Cancelled, none(), 503, "TRY_AGAIN"),
            (Code::DeadlineExceeded, none(), 503, "TRY_AGAIN"),
            (Code::Unauthenticated, none(), 500, "MISCONFIGURED"),
            (Code::NotFound, none(), 500, "MISCONFIGURED"),
            (Code::Internal, none(), 500, "MISCONFIGURED"),
            (Code::Unimplemented, none(), 500, "MISCONFIGURED"),
            (Code::Unknown, none(), 500, "MISCONFIGURED"),
        ];
        for (grpc, details, status, code) in cases {
            let what = format!("{grpc:?}, {details:?}");
            let public = Error::from(Status::with_error_details(grpc, "for operators", details)).public();
            assert_eq!((public.status.as_u16(), public.code), (status, code), "{what}");
        }
    }
}
