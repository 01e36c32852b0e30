//! Why a call gave no answer.

use std::{error, fmt, time::Duration};

use thiserror::Error as ThisError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call gave no answer. Never holds a token. What it says is for operators, not for people in browsers.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// `INVALID_ARGUMENT`: fields of the request break their rules; all of them at once.
    #[error("{refusal}")]
    Invalid {
        /// Empty if whoever refused does not say which fields.
        violations: Vec<Violation>,
        /// The whole.
        refusal: Refusal,
    },
    /// UNAUTHENTICATED: the service does not know who the backend is. About the backend, not about the person.
    #[error("{0}")]
    Unauthenticated(Refusal),
    /// `PERMISSION_DENIED`: outside what the backend was granted, for [`Refusal::reason`].
    #[error("{0}")]
    Denied(Refusal),
    /// `NOT_FOUND`: there is no such instance.
    #[error("{0}")]
    UnknownInstance(Refusal),
    /// `FAILED_PRECONDITION`: `SHARED_ACCOUNT`, when another person uses the account, or `METABASE_URL_NOT_CONFIGURED`.
    #[error("{0}")]
    FailedPrecondition(Refusal),
    /// `RESOURCE_EXHAUSTED`: too many calls, of this backend (`RATE_EXCEEDED`) or of all (`OVERLOADED`).
    #[error("{refusal}")]
    RateExceeded {
        /// When to come back at the earliest, if the service says so.
        retry_after: Option<Duration>,
        /// The whole.
        refusal: Refusal,
    },
    /// UNAVAILABLE after all tries, or CANCELLED by a service that stops.
    #[error("{refusal}")]
    Unavailable {
        /// When to come back at the earliest, if the service says so.
        retry_after: Option<Duration>,
        /// The whole.
        refusal: Refusal,
    },
    /// `DEADLINE_EXCEEDED`: no answer in time.
    #[error("{0}")]
    DeadlineExceeded(Refusal),
    /// Anything else: INTERNAL, a broken connection, an answer that is none.
    #[error("{0}")]
    Other(Refusal),
}

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Its path, as in the contract: `user.email`, `attributes`, `return_to`.
    pub field: String,
    /// The rule, and what to do.
    pub rule: String,
}

/// What the service said when it refused, or what is known if it said nothing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The code of gRPC.
    pub code: Code,
    /// `google.rpc.ErrorInfo.reason`, for example `EMAIL_DOMAIN_NOT_GRANTED`; empty if there is none.
    pub reason: String,
    /// The field it is about, if it is about one.
    pub field: Option<String>,
    /// For operators; may be empty.
    pub message: String,
    status: Option<Box<Status>>,
}

impl Error {
    /// What was said.
    #[must_use]
    pub const fn refusal(&self) -> &Refusal {
        match self {
            Self::Denied(refusal)
            | Self::DeadlineExceeded(refusal)
            | Self::FailedPrecondition(refusal)
            | Self::Invalid { refusal, .. }
            | Self::Other(refusal)
            | Self::RateExceeded { refusal, .. }
            | Self::Unauthenticated(refusal)
            | Self::Unavailable { refusal, .. }
            | Self::UnknownInstance(refusal) => refusal,
        }
    }

    /// Every field that breaks a rule.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        if let Self::Invalid { violations, .. } = self { violations } else { &[] }
    }

    /// Whether the request was refused because of this field.
    #[must_use]
    pub fn is_about(&self, field: &str) -> bool {
        self.violations().iter().any(|violation| violation.field == field)
    }

    /// When to come back at the earliest, if the service says so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        if let Self::RateExceeded { retry_after, .. } | Self::Unavailable { retry_after, .. } = self {
            *retry_after
        } else {
            None
        }
    }

    pub(super) fn no_answer_within(deadline: Duration) -> Self {
        Self::DeadlineExceeded(Refusal::own(Code::DeadlineExceeded, format!("no answer within {deadline:?}")))
    }

    pub(super) fn incomplete_answer() -> Self {
        let message = "the answer lacks the token or a time of it; is this the token service?";
        Self::Other(Refusal::own(Code::Internal, message.to_owned()))
    }

    pub(super) fn invalid(field: &str, rule: &str) -> Self {
        let violations = vec![Violation { field: field.to_owned(), rule: rule.to_owned() }];
        Self::Invalid { violations, refusal: Refusal::own(Code::InvalidArgument, format!("{field}: {rule}")) }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        let violations = details.bad_request().map(|bad_request| &bad_request.field_violations).into_iter().flatten();
        let violations = violations
            .map(|violation| Violation { field: violation.field.clone(), rule: violation.description.clone() });
        let violations: Vec<_> = violations.collect();
        let info = details.error_info();
        let refusal = Refusal {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            field: info.and_then(|info| info.metadata.get("field").cloned()),
            message: status.message().to_owned(),
            status: Some(Box::new(status)),
        };
        match refusal.code {
            Code::InvalidArgument => Self::Invalid { violations, refusal },
            Code::Unauthenticated => Self::Unauthenticated(refusal),
            Code::PermissionDenied => Self::Denied(refusal),
            Code::NotFound => Self::UnknownInstance(refusal),
            Code::FailedPrecondition => Self::FailedPrecondition(refusal),
            // To come back later does not make it smaller.
            Code::ResourceExhausted if refusal.reason == "REQUEST_TOO_LARGE" => Self::Other(refusal),
            Code::ResourceExhausted => Self::RateExceeded { retry_after, refusal },
            Code::Unavailable | Code::Cancelled => Self::Unavailable { retry_after, refusal },
            Code::DeadlineExceeded => Self::DeadlineExceeded(refusal),
            Code::Ok
            | Code::Unknown
            | Code::AlreadyExists
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss => Self::Other(refusal),
        }
    }
}

impl Refusal {
    const fn own(code: Code, message: String) -> Self {
        Self { code, reason: String::new(), field: None, message, status: None }
    }

    /// What broke the connection, if the refusal did not come from the service.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn error::Error + 'static)> {
        error::Error::source(self.status.as_deref()?)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}
