//! The payload of a token, in exactly the shape that Metabase reads.

use serde::ser::{Serialize, SerializeMap, Serializer};
use thiserror::Error;

use super::{
    attributes::is_reserved,
    groups::Group,
    lifetime::Lifetime,
    text::{self, InvalidText},
    time::UnixTime,
    token_request::TokenRequest,
};

/// Names of the claims that Metabase lets an administrator rename, per instance. All different, and none registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// `MB_JWT_ATTRIBUTE_EMAIL`
    pub(crate) email: String,
    /// `MB_JWT_ATTRIBUTE_FIRSTNAME`
    pub(crate) first_name: String,
    /// `MB_JWT_ATTRIBUTE_LASTNAME`
    pub(crate) last_name: String,
    /// `MB_JWT_ATTRIBUTE_GROUPS`
    pub(crate) groups: String,
    /// `MB_JWT_ATTRIBUTE_TENANT`
    pub(crate) tenant: String,
    /// `MB_JWT_ATTRIBUTE_TENANT_ATTRIBUTES`
    pub(crate) tenant_attributes: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        let [email, first_name, last_name, groups, tenant, tenant_attributes] = Self::DEFAULT.map(str::to_owned);
        Self { email, first_name, last_name, groups, tenant, tenant_attributes }
    }
}

/// Claims that Metabase never takes for user attributes (RFC 7519, section 4.1).
pub const REGISTERED: [&str; 7] = ["iss", "iat", "sub", "aud", "exp", "nbf", "jti"];

/// Whether a claim of this name means something of its own: a registered one, or `scope`, which newer Metabase servers
/// read as a restriction of the bearer.
#[must_use]
pub fn has_own_meaning(name: &str) -> bool {
    REGISTERED.contains(&name) || name == "scope"
}

impl ClaimNames {
    /// Characters of a name.
    pub const MAX_CHARS: usize = 128;
    /// Those of a Metabase that was told no others, in the order of the fields.
    pub const DEFAULT: [&str; 6] = ["email", "first_name", "last_name", "groups", "@tenant", "@tenant.attributes"];

    /// The names with their keys in the configuration.
    #[must_use]
    pub fn by_key(&self) -> [(&'static str, &str); 6] {
        [
            ("email", &self.email),
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
            ("groups", &self.groups),
            ("tenant", &self.tenant),
            ("tenant_attributes", &self.tenant_attributes),
        ]
    }

    /// Whether one of the claims has this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.by_key().into_iter().any(|(_, own)| own == name)
    }

    /// Checks every name by itself and against the others.
    ///
    /// # Errors
    /// The key of the first bad name in the configuration, and its fault.
    pub fn check(&self) -> Result<(), (&'static str, InvalidClaimName)> {
        let names = self.by_key();
        for (index, (key, name)) in names.into_iter().enumerate() {
            text::check_not_blank(name, Self::MAX_CHARS).map_err(|error| (key, InvalidClaimName::Text(error)))?;
            if has_own_meaning(name) {
                return Err((key, InvalidClaimName::Registered(name.to_owned())));
            }
            if is_reserved(name) && !key.starts_with("tenant") {
                return Err((key, InvalidClaimName::Reserved));
            }
            if let Some((other, _)) = names[..index].iter().find(|(_, earlier)| *earlier == name) {
                return Err((key, InvalidClaimName::SameAs(other)));
            }
        }
        Ok(())
    }
}

/// Why a claim name was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidClaimName {
    /// The name's text.
    #[error("{0}")]
    Text(InvalidText),
    /// RFC 7519 gives the name a meaning.
    #[error("must not be {0:?}: the name has a meaning of its own in a token")]
    Registered(String),
    /// Only the tenant claims have such names.
    #[error("must not begin with @: Metabase reserves such names for tenants")]
    Reserved,
    /// Two claims of one name would overwrite each other.
    #[error("must not be the same as `{0}`: two claims of one name overwrite each other")]
    SameAs(&'static str),
}

/// The payload of one token. `exp` and `iat` are always there; `nbf`, `iss`, `aud`, `sub` and `jti` never: Metabase
/// checks none of the latter four, allows no leeway on the first, and old servers turn them into user attributes.
#[derive(Clone, Copy)]
pub struct Claims<'a> {
    request: &'a TokenRequest,
    issue_time: UnixTime,
    expire_time: UnixTime,
}

impl<'a> Claims<'a> {
    /// Seconds by which `iat` lies before the time of the call: old Metabase servers refuse a token from the future
    /// (Metabase issue 8872), and clocks of two machines agree to a second or two. Costs the same time of the 180 s.
    pub const BACKDATED_SECONDS: i64 = 5;

    /// Claims of a token that is issued at `now` and lives for `lifetime`, counted from `iat`.
    #[must_use]
    pub fn new(request: &'a TokenRequest, lifetime: Lifetime, now: UnixTime) -> Self {
        let issue_time = now.plus_seconds(-Self::BACKDATED_SECONDS);
        let expire_time = issue_time.plus_seconds(i64::from(lifetime.seconds()));
        Self { request, issue_time, expire_time }
    }

    /// `iat`.
    #[must_use]
    pub const fn issue_time(&self) -> UnixTime {
        self.issue_time
    }

    /// `exp`.
    #[must_use]
    pub const fn expire_time(&self) -> UnixTime {
        self.expire_time
    }
}

impl Serialize for Claims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        let names = &request.instance.claim_names;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(&names.email, request.subject.email.as_str())?;
        map.serialize_entry(&names.first_name, &request.subject.first_name)?;
        map.serialize_entry(&names.last_name, &request.subject.last_name)?;
        if let Some(groups) = &request.groups {
            let groups: Vec<&str> = groups.iter().map(Group::as_str).collect();
            map.serialize_entry(&names.groups, &groups)?;
        }
        if let Some(tenant) = &request.tenant {
            map.serialize_entry(&names.tenant, &tenant.slug)?;
            if !tenant.attributes.is_empty() {
                map.serialize_entry(&names.tenant_attributes, &tenant.attributes)?;
            }
        }
        for (key, value) in &request.attributes {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("iat", &self.issue_time.seconds())?;
        map.serialize_entry("exp", &self.expire_time.seconds())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{attributes::Attributes, instance::Instance, subject::Subject, tenant::Tenant};

    #[test]
    fn an_empty_map_of_tenant_attributes_is_no_claim() {
        let instance = Instance::for_test();
        let tier: Attributes = [("tier".to_owned(), "gold".to_owned())].into();
        for (attributes, expected) in [(Attributes::new(), None), (tier.clone(), Some(serde_json::json!(tier)))] {
            let request = TokenRequest {
                instance: Arc::new(instance.clone()),
                subject: Subject {
                    id: None,
                    email: "ada@example.com".parse().unwrap(),
                    first_name: "Ada".to_owned(),
                    last_name: "Lovelace".to_owned(),
                },
                groups: None,
                attributes: Attributes::new(),
                tenant: Some(Tenant { slug: "acme".to_owned(), attributes }),
                lifetime: None,
                return_to: None,
            };
            let claims = Claims::new(&request, Lifetime::MIN, UnixTime::from_seconds(1_700_000_000));
            let payload = serde_json::to_value(claims).unwrap();
            assert_eq!(payload.get("@tenant.attributes"), expected.as_ref());
        }
    }

    #[test]
    fn names_that_collide_are_refused() {
        let default = ClaimNames::default();
        assert_eq!(default.check(), Ok(()));
        for (names, key, error) in [
            (ClaimNames { groups: "email".to_owned(), ..default.clone() }, "groups", InvalidClaimName::SameAs("email")),
            (
                ClaimNames { email: "sub".to_owned(), ..default.clone() },
                "email",
                InvalidClaimName::Registered("sub".to_owned()),
            ),
            (
                ClaimNames { first_name: "@first".to_owned(), ..default.clone() },
                "first_name",
                InvalidClaimName::Reserved,
            ),
            (
                ClaimNames { last_name: String::new(), ..default },
                "last_name",
                InvalidClaimName::Text(InvalidText::Empty),
            ),
        ] {
            assert_eq!(names.check(), Err((key, error)));
        }
    }
}
