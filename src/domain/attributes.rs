//! User and tenant attributes: the strings that Metabase filters rows by.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{
    claims::{ClaimNames, has_own_meaning},
    text::{self, InvalidText},
};

/// Attributes of one person or tenant, by key.
pub type Attributes = BTreeMap<String, String>;

/// Attributes that one person or tenant may have.
pub const MAX_ATTRIBUTES: usize = 100;
/// Characters of a key.
pub const MAX_KEY_CHARS: usize = 128;
/// Characters of a value.
pub const MAX_VALUE_CHARS: usize = 1024;

/// Why an attribute was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidAttribute {
    /// The key's text.
    #[error("the key {0}")]
    Key(InvalidText),
    /// The value's text.
    #[error("the value {0}")]
    Value(InvalidText),
    /// Metabase drops keys that begin with `@`.
    #[error("the key must not begin with @: Metabase reserves such names and drops them")]
    Reserved,
    /// RFC 7519 or Metabase give the name a meaning.
    #[error(
        "the key must not be one of iss, iat, sub, aud, exp, nbf, jti and scope: such claims have a meaning of their own"
    )]
    Registered,
    /// The attack: an attribute named `email` would make the bearer someone else.
    #[error("the key must not be a claim name of the instance: it would replace the person's identity")]
    ClaimName,
}

/// Checks one attribute of a person, which becomes a claim of the token.
///
/// # Errors
/// The first rule that the attribute breaks.
pub fn check_user_attribute(key: &str, value: &str, names: &ClaimNames) -> Result<(), InvalidAttribute> {
    check_tenant_attribute(key, value)?;
    if has_own_meaning(key) {
        return Err(InvalidAttribute::Registered);
    }
    // The default names stay refused where the instance renames its claims: if the names here and in Metabase ever
    // disagree, an attribute `email` must not decide who the bearer is.
    if names.contains(key) || ClaimNames::DEFAULT.contains(&key) {
        return Err(InvalidAttribute::ClaimName);
    }
    Ok(())
}

/// Checks one attribute of a tenant, which lives in an object of its own.
///
/// # Errors
/// The first rule that the attribute breaks.
pub fn check_tenant_attribute(key: &str, value: &str) -> Result<(), InvalidAttribute> {
    text::check_not_blank(key, MAX_KEY_CHARS).map_err(InvalidAttribute::Key)?;
    text::check(value, MAX_VALUE_CHARS).map_err(InvalidAttribute::Value)?;
    if key.starts_with('@') || is_reserved(key) {
        return Err(InvalidAttribute::Reserved);
    }
    Ok(())
}

/// The path of an attribute in errors. The key is the caller's own, but may be long or unprintable.
#[must_use]
pub fn field(map: &str, key: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    match key.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{map}[{:?}…]", &key[..end]),
        None => format!("{map}[{key:?}]"),
    }
}

/// Whether Metabase drops the key: it tests the *name* of a Clojure keyword, which is what follows the first slash.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    let name = key.split_once('/').map_or(key, |(_, name)| name);
    name.starts_with('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_would_change_the_token_are_refused() {
        let names = ClaimNames { email: "mail".to_owned(), ..ClaimNames::default() };
        for (key, error) in [
            ("exp", InvalidAttribute::Registered),
            ("scope", InvalidAttribute::Registered),
            ("mail", InvalidAttribute::ClaimName),
            ("email", InvalidAttribute::ClaimName),
            ("groups", InvalidAttribute::ClaimName),
            ("@tenant", InvalidAttribute::Reserved),
            ("@x", InvalidAttribute::Reserved),
            ("x/@y", InvalidAttribute::Reserved),
            ("@x/y", InvalidAttribute::Reserved),
            ("", InvalidAttribute::Key(InvalidText::Empty)),
        ] {
            assert_eq!(check_user_attribute(key, "1", &names), Err(error), "{key:?}");
        }
        for key in ["customer_id", "Account ID", "a/b", "/", "a@b", "Email"] {
            assert_eq!(check_user_attribute(key, "", &names), Ok(()), "{key:?}");
        }
    }
}
