//! Metabase tenants (Metabase 58 and later) and the rule of an instance about them.

use thiserror::Error;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::attributes::Attributes;

/// Characters of a tenant's slug: the width of Metabase's column.
pub const MAX_SLUG_CHARS: usize = 254;

/// The tenant a person belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Not blank. Metabase creates an unknown tenant with the slug as its name.
    pub(crate) slug: String,
    /// Metabase adds new ones and never overwrites.
    pub(crate) attributes: Attributes,
}

/// The slug without what a database may not see when Metabase looks a tenant up: collations of MySQL and MariaDB ignore case, accents, width,
/// invisible characters and spaces at the end. The attack: a tenant is denied, and another spelling of it is not.
#[must_use]
pub fn folded(slug: &str) -> String {
    let is_seen = |c: &char| c.is_ascii() || (c.is_alphanumeric() && !is_combining_mark(*c));
    slug.nfkd().filter(is_seen).flat_map(char::to_lowercase).collect::<String>().trim().to_owned()
}

/// Whether tokens of an instance name a tenant. There is no default for instances with tenants: a first sign-in without
/// one makes an internal account for good, which later sign-ins with a tenant are refused for (Metabase issue 78009).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tenancy {
    /// No token names one.
    #[default]
    Forbidden,
    /// A token may name one. Only for instances that mix internal people and tenants.
    Optional,
    /// Every token names one.
    Required,
}

impl Tenancy {
    /// The spelling in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }

    /// # Errors
    /// The rule that a request with (or without) a tenant breaks.
    pub const fn check(self, has_tenant: bool) -> Result<(), TenancyViolation> {
        match (self, has_tenant) {
            (Self::Required, false) => Err(TenancyViolation::Missing),
            (Self::Forbidden, true) => Err(TenancyViolation::Unexpected),
            (Self::Forbidden, false) | (Self::Required, true) | (Self::Optional, _) => Ok(()),
        }
    }
}

/// A tenant where none may be, or none where one must be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TenancyViolation {
    /// Would wedge the account.
    #[error("must be given: every token of this instance names a tenant (its tenancy is \"required\")")]
    Missing,
    /// Metabase would answer 403.
    #[error("must not be given: no token of this instance names a tenant (its tenancy is \"forbidden\")")]
    Unexpected,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_slug_are_folded_into_one() {
        for slug in ["acme-eu", "ACME-EU", " acme-eu ", "ácme-eu", "acme\u{200b}-eu", "ａｃｍｅ-eu", "acme-e\u{301}u"]
        {
            assert_eq!(folded(slug), "acme-eu", "{slug:?}");
        }
        for slug in ["acmeeu", "acme_eu", "acme eu", "acme-eu2"] {
            assert_ne!(folded(slug), "acme-eu", "{slug:?}");
        }
    }

    #[test]
    fn tenancy_is_spelled_as_in_the_configuration() {
        let words = [Tenancy::Forbidden, Tenancy::Optional, Tenancy::Required].map(Tenancy::as_str);
        assert_eq!(words, ["forbidden", "optional", "required"]);
    }

    #[test]
    fn a_tenant_is_where_it_has_to_be_and_nowhere_else() {
        for (tenancy, without, with) in [
            (Tenancy::Forbidden, Ok(()), Err(TenancyViolation::Unexpected)),
            (Tenancy::Optional, Ok(()), Ok(())),
            (Tenancy::Required, Err(TenancyViolation::Missing), Ok(())),
        ] {
            assert_eq!((tenancy.check(false), tenancy.check(true)), (without, with), "{tenancy:?}");
        }
    }
}
