//! One Metabase deployment that tokens are issued for.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use thiserror::Error;
use url::Url;

use super::{account::OneAccount, claims::ClaimNames, lifetime::LifetimeRange, tenant::Tenancy};

/// A configured Metabase instance, apart from its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Unique among the instances.
    pub(crate) name: InstanceName,
    /// Base URL as people's browsers reach it.
    pub(crate) url: Option<InstanceUrl>,
    /// Whether API keys may be checked.
    pub(crate) environment: Environment,
    /// Default and maximum.
    pub(crate) lifetimes: LifetimeRange,
    /// Whether tokens name a tenant.
    pub(crate) tenancy: Tenancy,
    /// What is done about accounts that several people share.
    pub(crate) one_account: OneAccount,
    /// As configured in Metabase.
    pub(crate) claim_names: ClaimNames,
    /// Stands in for the empty name in requests.
    pub(crate) is_default: bool,
}

/// Name of an instance: 1 to 63 ASCII letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceName(Arc<str>);

impl InstanceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        check_name(name)?;
        Ok(Self(name.into()))
    }
}

impl Borrow<str> for InstanceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a name that an operator gives to an instance or a caller; it appears in logs, metrics and messages.
///
/// # Errors
/// The rule, whichever part of it is broken.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidName> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins_well && name.len() <= 63 && name.bytes().all(allowed) { Ok(()) } else { Err(InvalidName) }
}

/// A name outside the rule.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("must be 1 to 63 ASCII letters, digits, '-', '_' and '.', beginning with a letter or digit")]
pub struct InvalidName;

/// What an instance is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Environment {
    /// API keys are never accepted.
    #[default]
    Production,
    /// `CheckAuthStatus` accepts API keys, as the SDK does on localhost.
    Development,
}

impl Environment {
    /// The spelling in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
        }
    }
}

/// Base URL of an instance: http or https, a host, maybe a path; no user, query or fragment. Ends without a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceUrl(Url);

impl InstanceUrl {
    /// The URL, for joining and comparing.
    #[must_use]
    pub const fn as_url(&self) -> &Url {
        &self.0
    }

    /// `<url>/auth/sso`, where tokens are exchanged.
    #[must_use]
    pub fn sso_endpoint(&self) -> String {
        format!("{self}/auth/sso")
    }
}

impl FromStr for InstanceUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(InvalidUrl::Syntax)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidUrl::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidUrl::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidUrl::QueryOrFragment);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for InstanceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Why a URL was refused. Does not repeat the URL, which might hold a password.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidUrl {
    /// Not a URL.
    #[error("must be an absolute URL such as \"https://metabase.example.com\": {0}")]
    Syntax(url::ParseError),
    /// Neither http nor https.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// `https://user:password@…`
    #[error("must not contain a user name or password")]
    Credentials,
    /// `?…` or `#…`
    #[error("must not contain a query or a fragment: give the base URL of the instance")]
    QueryOrFragment,
}

#[cfg(test)]
impl Instance {
    /// `main`, as a configuration has it that says nothing else, but for accounts, which nobody looks at.
    pub(crate) fn for_test() -> Self {
        Self {
            name: "main".parse().unwrap(),
            url: None,
            environment: Environment::Production,
            lifetimes: LifetimeRange::default(),
            tenancy: Tenancy::Optional,
            one_account: OneAccount::Off,
            claim_names: ClaimNames::default(),
            is_default: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_of_the_documented_characters_and_length() {
        let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
        for name in ["main", "9", "Main-EU_2.test", &longest] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
        for name in ["", "-main", ".main", "_main", "main instance", "main/x", "mäin", "ämain", &too_long] {
            assert_eq!(check_name(name), Err(InvalidName), "{name:?}");
        }
    }

    #[test]
    fn an_instance_is_found_by_the_text_of_its_name() {
        let name: InstanceName = "main".parse().unwrap();
        assert_eq!(name.to_string(), "main");
        let names = HashSet::from([name]);
        assert!(names.contains("main") && !names.contains("other"));
    }

    #[test]
    fn environments_are_spelled_as_in_the_configuration() {
        let words = [Environment::Production, Environment::Development].map(Environment::as_str);
        assert_eq!(words, ["production", "development"]);
    }

    #[test]
    fn a_url_is_the_base_of_the_instance_and_no_more() {
        for (text, base) in [
            ("https://bi.example.com", "https://bi.example.com"),
            ("https://bi.example.com/", "https://bi.example.com"),
            ("http://localhost:3000/metabase/", "http://localhost:3000/metabase"),
        ] {
            let url: InstanceUrl = text.parse().unwrap();
            assert_eq!((url.to_string(), url.sso_endpoint()), (base.to_owned(), format!("{base}/auth/sso")));
        }
        for (text, error) in [
            ("bi.example.com", InvalidUrl::Syntax(url::ParseError::RelativeUrlWithoutBase)),
            ("ftp://bi.example.com", InvalidUrl::Scheme),
            ("https://user@bi.example.com", InvalidUrl::Credentials),
            ("https://:password@bi.example.com", InvalidUrl::Credentials),
            ("https://bi.example.com?x", InvalidUrl::QueryOrFragment),
            ("https://bi.example.com#x", InvalidUrl::QueryOrFragment),
        ] {
            assert_eq!(text.parse::<InstanceUrl>(), Err(error), "{text}");
        }
    }
}
