//! The person that a token is about.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::text::{self, InvalidText};

/// Characters of a first or last name: the width of Metabase's column.
pub const MAX_NAME_CHARS: usize = 254;
/// Characters of a backend's user identifier.
pub const MAX_USER_ID_CHARS: usize = 256;

/// The person that a token is about. Display and `Debug` forms of its parts are personal data: keep them out of logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The backend's own stable identifier; not part of the token.
    pub(crate) id: Option<String>,
    /// Identity of the account in Metabase.
    pub(crate) email: Email,
    /// Not blank.
    pub(crate) first_name: String,
    /// Not blank.
    pub(crate) last_name: String,
}

/// An e-mail address that Metabase accepts, in lower case (Metabase compares without regard to case).
///
/// The rule is Metabase's own (`email?` in its `metabase.util`): ASCII; a local part of dot-separated atoms; a domain of
/// at least two labels that begin and end with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    address: String,
    at: usize,
}

impl Email {
    /// RFC 5321, section 4.5.3.1.3, less the angle brackets.
    pub const MAX_LEN: usize = 254;

    /// The address, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.address
    }

    /// The part behind the `@`, in lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.address[self.at + 1..]
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        if given.is_empty() {
            return Err(InvalidEmail::Empty);
        }
        if given.len() > Self::MAX_LEN {
            return Err(InvalidEmail::TooLong { len: given.len() });
        }
        let (local, domain) = given.rsplit_once('@').ok_or(InvalidEmail::NoAt)?;
        if !local.split('.').all(is_atom) {
            return Err(InvalidEmail::LocalPart);
        }
        if !domain.split('.').all(is_label) {
            return Err(InvalidEmail::Domain);
        }
        if !domain.contains('.') {
            return Err(InvalidEmail::NoDotInDomain);
        }
        Ok(Self { address: given.to_ascii_lowercase(), at: local.len() })
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

fn is_atom(atom: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b);
    !atom.is_empty() && atom.bytes().all(allowed)
}

/// Whether `label` is a label of a domain name: letters, digits and inner hyphens.
pub(crate) fn is_label(label: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !label.is_empty() && label.bytes().all(allowed) && !label.starts_with('-') && !label.ends_with('-')
}

/// Why an e-mail address was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidEmail {
    /// Nothing given.
    #[error("must not be empty: the e-mail address is the identity of the account in Metabase")]
    Empty,
    /// See [`Email::MAX_LEN`].
    #[error("must have at most {max} characters, has {len}", max = Email::MAX_LEN)]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// Not an address.
    #[error("must be an e-mail address: it has no @")]
    NoAt,
    /// Before the `@`.
    #[error(
        "must be an e-mail address that Metabase accepts: before the @ stand ASCII letters, digits and \
             !#$%&'*+/=?^_`{{|}}~-, in parts separated by single dots"
    )]
    LocalPart,
    /// Behind the `@`.
    #[error(
        "must be an e-mail address that Metabase accepts: behind the @ stands a domain of ASCII letters, digits \
             and inner hyphens (an internationalised domain in its xn-- form)"
    )]
    Domain,
    /// For example `someone@localhost`.
    #[error("must be an e-mail address that Metabase accepts: the domain needs a dot")]
    NoDotInDomain,
}

/// Checks a first or last name: Metabase shows "Unknown" or nothing for an empty one, and breaks on some pages.
///
/// # Errors
/// Blank, too long, or with control characters.
pub fn parse_name(name: String) -> Result<String, InvalidText> {
    text::check_not_blank(&name, MAX_NAME_CHARS)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_lower_cased_and_split_at_the_last_at() {
        let email: Email = "Ada.Lovelace+1@Example.CO.uk".parse().unwrap();
        assert_eq!((email.as_str(), email.domain()), ("ada.lovelace+1@example.co.uk", "example.co.uk"));
        assert_eq!(email.to_string(), "ada.lovelace+1@example.co.uk");
    }

    #[test]
    fn a_name_says_something_in_at_most_254_characters() {
        for name in ["Ada", "ä", &"a".repeat(254)] {
            assert_eq!(parse_name(name.to_owned()), Ok(name.to_owned()));
        }
        for name in ["", " ", "A\0", &"a".repeat(255)] {
            assert!(parse_name(name.to_owned()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn addresses_that_metabase_refuses_are_refused_with_the_rule() {
        for (address, error) in [
            ("", InvalidEmail::Empty),
            ("ada", InvalidEmail::NoAt),
            ("@example.com", InvalidEmail::LocalPart),
            ("a..b@example.com", InvalidEmail::LocalPart),
            (" ada@example.com", InvalidEmail::LocalPart),
            ("ada@@example.com", InvalidEmail::LocalPart),
            ("ada@evil.example@example.com", InvalidEmail::LocalPart),
            ("adä@example.com", InvalidEmail::LocalPart),
            ("\"ada\"@example.com", InvalidEmail::LocalPart),
            ("ada@", InvalidEmail::Domain),
            ("ada@example..com", InvalidEmail::Domain),
            ("ada@-example.com", InvalidEmail::Domain),
            ("ada@example.com\n", InvalidEmail::Domain),
            ("ada@exämple.com", InvalidEmail::Domain),
            ("ada@localhost", InvalidEmail::NoDotInDomain),
        ] {
            assert_eq!(address.parse::<Email>(), Err(error), "{address:?}");
        }
        let long = format!("{}@example.com", "a".repeat(243));
        assert_eq!(long.parse::<Email>(), Err(InvalidEmail::TooLong { len: 255 }));
        assert!(long[1..].parse::<Email>().is_ok());
    }
}
