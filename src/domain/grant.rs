//! What one caller may issue on one instance. Absence denies: every allowance is written out.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    num::NonZeroU32,
};

use regex::Regex;
use thiserror::Error;

use super::{attributes::Attributes, lifetime::Lifetime};

/// What one caller may issue on one instance. The default grants nothing but status checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Domains of the e-mail addresses that tokens may name.
    pub(crate) email_domains: EmailDomains,
    /// Groups that tokens may name; Administrators needs its own switch besides.
    pub(crate) groups: Vec<Pattern>,
    /// Whether a token may make an administrator.
    pub(crate) allow_administrators: bool,
    /// Rules for user attributes; a key without a rule is denied.
    pub(crate) attributes: AttributeRules,
    /// User attributes without which no token is issued: a forgotten one may lift row-level security.
    pub(crate) required_attributes: BTreeSet<String>,
    /// Slugs that tokens may name.
    pub(crate) tenants: Vec<Pattern>,
    /// Whether a token may name no tenant although `tenants` are granted, on an instance where that is optional.
    pub(crate) allow_no_tenant: bool,
    /// Rules for tenant attributes.
    pub(crate) tenant_attributes: AttributeRules,
    /// The longest lifetime; none = the instance's maximum.
    pub(crate) max_lifetime: Option<Lifetime>,
    /// Whether the caller may ask for the status of credentials.
    pub(crate) may_check_status: bool,
    /// How many requests of the caller are answered; none = all.
    pub(crate) rate: Option<Rate>,
}

/// Requests that a caller may make on one instance, of both RPCs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// In the long run.
    pub(crate) per_second: NonZeroU32,
    /// At once, after a pause.
    pub(crate) burst: NonZeroU32,
}

impl Default for Grant {
    fn default() -> Self {
        Self {
            email_domains: EmailDomains::default(),
            groups: Vec::new(),
            allow_administrators: false,
            attributes: AttributeRules::default(),
            required_attributes: BTreeSet::new(),
            tenants: Vec::new(),
            allow_no_tenant: false,
            tenant_attributes: AttributeRules::default(),
            max_lifetime: None,
            may_check_status: true,
            rate: None,
        }
    }
}

impl Grant {
    /// Everything, for `serve --dev`.
    #[must_use]
    pub fn unrestricted() -> Self {
        let any = || vec![Pattern::parse("*")];
        let anything = || AttributeRules { by_key: BTreeMap::new(), others: Some(AttributeRule::String) };
        Self {
            email_domains: EmailDomains::Any,
            groups: any(),
            allow_administrators: true,
            attributes: anything(),
            tenants: any(),
            tenant_attributes: anything(),
            ..Self::default()
        }
    }
}

impl Grant {
    /// Whether a token may name no tenant where that is optional. A grant for certain tenants is not one for internal people:
    /// Metabase makes an internal account of whoever comes without a tenant, for good.
    #[must_use]
    pub fn allows_no_tenant(&self) -> bool {
        let everything = Pattern::Prefix(String::new());
        self.allow_no_tenant || self.tenants.is_empty() || self.tenants.contains(&everything)
    }
}

/// Domains of e-mail addresses. A domain does not include its subdomains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EmailDomains {
    /// Every domain: `"*"` in the configuration.
    Any,
    /// These, in lower case.
    Only(BTreeSet<String>),
}

impl Default for EmailDomains {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl EmailDomains {
    /// Whether `domain`, in lower case, is one of them.
    #[must_use]
    pub fn contains(&self, domain: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(domains) => domains.contains(domain),
        }
    }
}

/// A name, or a beginning of names when it ends with `*`. With regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This name.
    Exact(String),
    /// Every name that begins so.
    Prefix(String),
}

impl Pattern {
    /// Every text is a pattern.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    /// Whether `name` is one of those meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }
}

/// Rules for attributes by key, and maybe one for every other key (`"*"` in the configuration).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttributeRules {
    pub(crate) by_key: BTreeMap<String, AttributeRule>,
    pub(crate) others: Option<AttributeRule>,
}

/// The type of an attribute's value. Metabase once returned all rows when an attribute's type did not match its column
/// (Metabase issue 81821), so a type is a matter of security.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeRule {
    /// `true` or `false`.
    Boolean,
    /// A decimal integer of at most 18 digits, without leading zeros or a plus sign.
    Integer,
    /// One of these.
    OneOf(BTreeSet<String>),
    /// The whole value matches.
    Regex(AnchoredRegex),
    /// Any text.
    String,
    /// 8-4-4-4-12 hexadecimal digits.
    Uuid,
}

impl AttributeRule {
    fn allows(&self, value: &str) -> bool {
        match self {
            Self::Boolean => matches!(value, "true" | "false"),
            Self::Integer => is_integer(value),
            Self::OneOf(values) => values.contains(value),
            Self::Regex(regex) => regex.0.is_match(value),
            Self::String => true,
            Self::Uuid => is_uuid(value),
        }
    }
}

/// Which attribute the rules refuse, and whether it is the key or the value.
#[derive(Debug, PartialEq, Eq)]
pub enum AttributeDenied<'a> {
    /// No rule for the key.
    Key(&'a str),
    /// The value is not of the key's type.
    Value(&'a str),
}

impl AttributeRules {
    /// # Errors
    /// The first attribute that no rule allows.
    pub fn check<'a>(&self, attributes: &'a Attributes) -> Result<(), AttributeDenied<'a>> {
        for (key, value) in attributes {
            match self.by_key.get(key).or(self.others.as_ref()) {
                None => return Err(AttributeDenied::Key(key)),
                Some(rule) if !rule.allows(value) => return Err(AttributeDenied::Value(key)),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let canonical = value == "0" || !digits.starts_with('0');
    canonical && (1..=18).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_uuid(value: &str) -> bool {
    let groups = value.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12]) && value.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// A regular expression that has to match a value from end to end; matches in time linear in the value.
#[derive(Clone, Debug)]
pub struct AnchoredRegex(Regex);

impl AnchoredRegex {
    /// # Errors
    /// Not a regular expression by itself.
    pub fn parse(pattern: &str) -> Result<Self, InvalidRegex> {
        // By itself first: `a)|(b` is an expression only inside the anchors, and would escape them.
        Regex::new(pattern).map_err(|_| InvalidRegex)?;
        Regex::new(&format!(r"\A(?:{pattern})\z")).map(Self).map_err(|_| InvalidRegex)
    }

    /// The expression, with its anchors.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for AnchoredRegex {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for AnchoredRegex {}

impl Hash for AnchoredRegex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// Not a regular expression.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("must be a regular expression of the Rust `regex` syntax (no look-around, no back-references)")]
pub struct InvalidRegex;

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use super::*;

    #[test]
    fn values_are_held_to_their_type_from_end_to_end() {
        let regex = |pattern| AttributeRule::Regex(AnchoredRegex::parse(pattern).unwrap());
        let one_of = AttributeRule::OneOf(["emea", "apac"].map(str::to_owned).into());
        for (rule, allowed, denied) in [
            (AttributeRule::Integer, "42 0 -7", "042 -0 +1 1.0 1e3 1' x - 1234567890123456789"),
            (AttributeRule::Boolean, "true false", "TRUE 1 yes"),
            (
                AttributeRule::Uuid,
                "123e4567-e89b-12d3-a456-426614174000",
                "123e4567e89b12d3a456426614174000 123e4567-e89b-12d3-a456-42661417400g",
            ),
            (one_of, "emea apac", "EMEA emea,apac"),
            (regex("[a-z]+|[0-9]+"), "abc 123", "abc123 a1 Abc"),
        ] {
            assert!(allowed.split(' ').all(|value| rule.allows(value)), "{rule:?} {allowed}");
            assert!(denied.split(' ').all(|value| !rule.allows(value)), "{rule:?} {denied}");
            assert!(!rule.allows(""), "{rule:?} empty");
        }
        assert!(!regex("[a-z]+").allows("abc\n"));
    }

    #[test]
    fn an_expression_cannot_escape_its_anchors() {
        assert_eq!(AnchoredRegex::parse("a)|(b").map(|_| ()), Err(InvalidRegex));
        assert_eq!(AnchoredRegex::parse("a|b").unwrap().as_str(), r"\A(?:a|b)\z");
    }

    /// Otherwise the grants of thousands of callers would lie in one place of the policy's table.
    #[test]
    fn grants_that_differ_in_an_expression_alone_are_spread_over_a_table() {
        let hash = |pattern| {
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            hasher.hash_one(AnchoredRegex::parse(pattern).unwrap())
        };
        assert_ne!(hash("[a-z]+"), hash("[0-9]+"));
    }

    #[test]
    fn unrestricted_is_everything() {
        let grant = Grant::unrestricted();
        assert!(grant.email_domains.contains("example.com") && grant.allow_administrators && grant.may_check_status);
        assert!(grant.groups[0].matches("Administrators") && grant.tenants[0].matches("acme"));
        let anything = [("key".to_owned(), "value".to_owned())].into();
        assert!(grant.attributes.check(&anything).is_ok() && grant.tenant_attributes.check(&anything).is_ok());
    }
}
