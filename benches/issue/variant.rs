//! Two configurations of the whole server, and what it is asked.

use metabase_token_service::{
    domain::token_request::UnverifiedRequest,
    transport::proto::{GroupList, IssueMetabaseTokenRequest, User},
};

use crate::issue;

const DEV: &str = r#"identity = { local = "shop" }"#;
const PRODUCTION: &str = r#"
[server.identity.xfcc]
trusted = ["loopback"]
[audit]
sink = { file = "DIR/audit.jsonl" }
durability = "written"
subject_key = { file = "DIR/subjects" }
"#;
const FORWARDED: [(&str, &str); 1] = [("x-forwarded-client-cert", "URI=spiffe://example.org/ns/shop/sa/web")];

/// A configuration.
#[derive(Clone, Copy)]
pub(crate) enum Variant {
    /// As little as possible.
    Dev,
    /// Behind a sidecar.
    Production,
}

impl Variant {
    /// What its configuration has besides.
    pub(crate) const fn own(self) -> &'static str {
        match self {
            Self::Dev => DEV,
            Self::Production => PRODUCTION,
        }
    }

    /// What the client sends besides.
    pub(crate) const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dev => &[],
            Self::Production => &FORWARDED,
        }
    }
}

/// The request as it is sent.
pub(crate) fn message() -> IssueMetabaseTokenRequest {
    let UnverifiedRequest { user, groups, attributes, .. } = issue::unverified();
    let user = user.map(|user| User {
        id: user.id,
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
    });
    let groups = groups.map(|names| GroupList { names });
    IssueMetabaseTokenRequest { user, groups, attributes, ..IssueMetabaseTokenRequest::default() }
}
