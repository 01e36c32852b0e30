//! What a caller can prove about itself: a SPIFFE ID, a DNS name, or a Kubernetes service account.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::subject::is_label;

/// A proven name of a workload, whose text all clones share: each request has some. How it was proven is the caller's [`super::caller::Proof`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// A DNS name, in lower case.
    Dns(DnsName),
    /// `system:serviceaccount:<namespace>:<name>`, the subject of a Kubernetes service-account token.
    ServiceAccount(ServiceAccount),
    /// A SPIFFE ID with a path.
    Spiffe(SpiffeId),
}

impl Identity {
    /// The name as it was proven.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(DnsName(name)) | Self::ServiceAccount(ServiceAccount(name)) => name,
            Self::Spiffe(id) => id.as_str(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    /// The kind is in the form: `spiffe://…`, `system:serviceaccount:…`, or else a DNS name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(SPIFFE_SCHEME) {
            Ok(Self::Spiffe(text.parse()?))
        } else if text.starts_with(SERVICE_ACCOUNT_PREFIX) {
            text.parse().map(Self::ServiceAccount)
        } else {
            text.parse().map(Self::Dns)
        }
    }
}

/// Why a text is no identity.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidIdentity {
    /// Neither of the forms.
    #[error("must be a SPIFFE ID (spiffe://…), a service account (system:serviceaccount:NAMESPACE:NAME) or a DNS name")]
    Dns,
    /// A broken service account.
    #[error("must be system:serviceaccount:NAMESPACE:NAME")]
    ServiceAccount,
    /// A broken SPIFFE ID.
    #[error(transparent)]
    Spiffe(#[from] InvalidSpiffeId),
}

/// A DNS name in lower case: labels of letters, digits and inner hyphens, at most 253 characters. No wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Arc<str>);

impl FromStr for DnsName {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() <= 253 && text.split('.').all(|label| label.len() <= 63 && is_label(label)) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(InvalidIdentity::Dns)
        }
    }
}

const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// A Kubernetes service account, as the subject of its tokens names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceAccount(Arc<str>);

impl FromStr for ServiceAccount {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let account = text.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
        match account {
            // A namespace is a label, the name of an account a DNS subdomain (RFC 1123), both in lower case.
            Some((namespace, name))
                if is_label(namespace)
                    && name.split('.').all(is_label)
                    && !text.bytes().any(|byte| byte.is_ascii_uppercase()) =>
            {
                Ok(Self(text.into()))
            }
            Some(_) | None => Err(InvalidIdentity::ServiceAccount),
        }
    }
}

const SPIFFE_SCHEME: &str = "spiffe://";

/// The SPIFFE ID of a workload: `spiffe://<trust domain>/<path>` (SPIFFE ID specification, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    uri: Arc<str>,
    path_at: usize,
}

impl SpiffeId {
    /// Bytes of an ID (section 2.3).
    pub const MAX_LEN: usize = 2048;

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.uri[SPIFFE_SCHEME.len()..self.path_at]
    }

    /// The ID as a URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The ID up to each slash of its path, from the longest to the trust domain itself; each ends with the slash.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.uri.char_indices().rev().filter(|(at, c)| *c == '/' && *at >= self.path_at).map(|(at, _)| &self.uri[..=at])
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        if uri.len() > Self::MAX_LEN {
            return Err(InvalidSpiffeId::TooLong);
        }
        let rest = uri.strip_prefix(SPIFFE_SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        let (trust_domain, path) = rest.split_once('/').ok_or(InvalidSpiffeId::NoWorkloadPath)?;
        check_trust_domain(trust_domain)?;
        if !path.split('/').all(is_path_segment) {
            return Err(InvalidSpiffeId::PathSegment);
        }
        Ok(Self { uri: uri.into(), path_at: SPIFFE_SCHEME.len() + trust_domain.len() })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

/// Checks the name of a trust domain (SPIFFE ID specification, section 2.1).
///
/// # Errors
/// Empty, longer than 255 bytes, or with other than lower-case letters, digits, dots, hyphens and underscores.
pub fn check_trust_domain(name: &str) -> Result<(), InvalidSpiffeId> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if (1..=255).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(InvalidSpiffeId::TrustDomain)
    }
}

fn is_path_segment(segment: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
}

/// Why a text is no SPIFFE ID of a workload.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidSpiffeId {
    /// Only a trust domain.
    #[error("a SPIFFE ID of a workload has a path behind the trust domain")]
    NoWorkloadPath,
    /// Empty, `.`, `..`, a trailing slash, or other characters.
    #[error(
        "the path of a SPIFFE ID has segments of letters, digits, '.', '-' and '_', none of them empty, '.' or '..'"
    )]
    PathSegment,
    /// Not `spiffe://`.
    #[error("a SPIFFE ID begins with spiffe://")]
    Scheme,
    /// More than 2048 bytes.
    #[error("a SPIFFE ID has at most 2048 bytes")]
    TooLong,
    /// Port, user, upper case or other characters.
    #[error("a trust domain has 1 to 255 lower-case letters, digits, '.', '-' and '_', without a port or a user")]
    TrustDomain,
}

/// Which identities a caller is recognised by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdentityPattern {
    /// One identity.
    Exact(Identity),
    /// Every SPIFFE ID below a path; the text ends with its slash.
    SpiffePrefix(String),
}

impl FromStr for IdentityPattern {
    type Err = InvalidIdentity;

    /// `spiffe://example.org/ns/shop/*` stands for every ID below; the star is a whole segment, and the last.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(prefix) = text.strip_suffix("/*").filter(|prefix| prefix.starts_with(SPIFFE_SCHEME)) else {
            return text.parse().map(Self::Exact);
        };
        // With some segment in place of the star it has to be an ID.
        format!("{prefix}/x").parse::<SpiffeId>()?;
        Ok(Self::SpiffePrefix(format!("{prefix}/")))
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(identity) => identity.fmt(f),
            Self::SpiffePrefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_told_by_their_form() {
        for (text, kind) in [
            ("spiffe://example.org/ns/shop/sa/web", "Spiffe"),
            ("system:serviceaccount:shop:web.v2", "ServiceAccount"),
            ("web.shop.svc.cluster.local", "Dns"),
            ("localhost", "Dns"),
        ] {
            let identity: Identity = text.parse().unwrap();
            assert!(format!("{identity:?}").starts_with(kind), "{identity:?}");
            assert_eq!(identity.to_string(), text);
        }
        assert_eq!("Web.Shop".parse::<Identity>().unwrap().to_string(), "web.shop");
    }

    #[test]
    fn malformed_identities_are_refused() {
        use InvalidSpiffeId::{NoWorkloadPath, PathSegment, TrustDomain};
        for (text, error) in [
            ("spiffe://example.org", NoWorkloadPath),
            ("spiffe://example.org/", PathSegment),
            ("spiffe://example.org/a/", PathSegment),
            ("spiffe://example.org/a//b", PathSegment),
            ("spiffe://example.org/a/../b", PathSegment),
            ("spiffe://example.org/a%2fb", PathSegment),
            ("spiffe://example.org/a?b", PathSegment),
            ("spiffe://example.org/a b", PathSegment),
            ("spiffe://Example.org/a", TrustDomain),
            ("spiffe://example.org:443/a", TrustDomain),
            ("spiffe://me@example.org/a", TrustDomain),
            ("spiffe:///a", TrustDomain),
        ] {
            assert_eq!(text.parse::<Identity>(), Err(InvalidIdentity::Spiffe(error)), "{text}");
        }
        for text in [
            "",
            "SPIFFE://example.org/a",
            "https://example.org/a",
            "*.example.org",
            "a..b",
            "-a",
            "a b",
            "system:node:a",
        ] {
            assert_eq!(text.parse::<Identity>(), Err(InvalidIdentity::Dns), "{text}");
        }
        for text in [
            "system:serviceaccount:a",
            "system:serviceaccount:a:",
            "system:serviceaccount:A:b",
            "system:serviceaccount:a:b:c",
        ] {
            assert_eq!(text.parse::<Identity>(), Err(InvalidIdentity::ServiceAccount), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_exact_or_a_path_written_out() {
        let prefix = "spiffe://example.org/ns/shop/*".parse().unwrap();
        assert_eq!(IdentityPattern::SpiffePrefix("spiffe://example.org/ns/shop/".to_owned()), prefix);
        for text in ["spiffe://example.org/*", "spiffe://example.org/ns/shop/*", "spiffe://example.org/web", "web.shop"]
        {
            assert_eq!(text.parse::<IdentityPattern>().unwrap().to_string(), text);
        }
        for text in ["spiffe://*", "spiffe://example.org/ns/*/web", "spiffe://example.org/web*", "*", "*.example.org"] {
            assert!(text.parse::<IdentityPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn parents_go_from_the_nearest_to_the_trust_domain() {
        let id: SpiffeId = "spiffe://example.org/ns/shop/web".parse().unwrap();
        let parents: Vec<&str> = id.parents().collect();
        assert_eq!(parents, ["spiffe://example.org/ns/shop/", "spiffe://example.org/ns/", "spiffe://example.org/"]);
        assert_eq!((id.trust_domain(), id.as_str()), ("example.org", "spiffe://example.org/ns/shop/web"));
    }

    #[test]
    fn a_spiffe_id_has_at_most_2048_bytes() {
        let of_length = |length: usize| format!("spiffe://example.org/{}", "a".repeat(length - 21)).parse::<SpiffeId>();
        assert_eq!(of_length(2048).map(|id| id.as_str().len()), Ok(2048));
        assert_eq!([2049, 2050].map(of_length), [Err(InvalidSpiffeId::TooLong), Err(InvalidSpiffeId::TooLong)]);
    }
}
