//! The key material shared with one Metabase instance, and the mistakes that are refused at the door.

mod account_key;
mod look_alikes;
mod password;
mod pseudonym;

use std::fmt;

use aws_lc_rs::constant_time;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use self::{
    account_key::AccountKey,
    look_alikes::LookAlike,
    password::{Password, UnusablePassword},
    pseudonym::{Pseudonym, PseudonymKey},
};

/// HMAC key shared with one Metabase instance (Metabase: "JWT shared secret"). The key is the bytes as they are:
/// Metabase decodes neither hexadecimal nor base64. Wiped on drop; never printed, cloned or compared by `==`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret(Vec<u8>);

/// Values that stand in public examples: anyone can sign with them.
const PUBLISHED: [&str; 3] = [
    // metabase/sso-examples, nodejs-jwt-example and clj-jwt-example. All-`f` and all-`0` fall to `MIN_DISTINCT`.
    "152f7e25e62baf2441ca63c3fd7bb08ce78bb52717e7b4f05c854b4f8901d4b0",
    "shared secret string with metabase",
    // jwt.io
    "a-string-secret-at-least-256-bits-long",
];

/// Fewer distinct bytes than this is a pattern, not a secret: 64 random hexadecimal digits have 12 or more but for one
/// case in a million.
const MIN_DISTINCT: usize = 8;

impl SharedSecret {
    /// Bytes a secret must have: the output size of SHA-256 (RFC 7518, section 3.2).
    pub const MIN_LEN: usize = 32;
    /// Bytes a secret may have. Longer is a wrong file, not a stronger key.
    pub const MAX_LEN: usize = 4096;

    /// Takes ownership of the bytes, so that a refused secret is wiped too.
    ///
    /// # Errors
    /// What is wrong with the secret, never the secret.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, WeakSecret> {
        let secret = Self(bytes);
        match secret.weakness() {
            Some(weakness) => Err(weakness),
            None => Ok(secret),
        }
    }

    fn weakness(&self) -> Option<WeakSecret> {
        let bytes = self.0.as_slice();
        let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
            return Some(WeakSecret::Empty);
        };
        if bytes.starts_with(b"\xEF\xBB\xBF") || bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
            return Some(WeakSecret::ByteOrderMark);
        }
        let Ok(text) = str::from_utf8(bytes) else {
            return Some(WeakSecret::NotUtf8);
        };
        if last == b'\n' {
            return Some(WeakSecret::TrailingNewline);
        }
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return Some(WeakSecret::SurroundingWhitespace);
        }
        if text.contains(char::is_control) {
            return Some(WeakSecret::ControlCharacter);
        }
        if first == last && matches!(first, b'"' | b'\'' | b'`') {
            return Some(WeakSecret::Quoted);
        }
        if bytes.len() < Self::MIN_LEN {
            return Some(WeakSecret::TooShort { len: bytes.len() });
        }
        if bytes.len() > Self::MAX_LEN {
            return Some(WeakSecret::TooLong { len: bytes.len() });
        }
        if PUBLISHED.contains(&text) {
            return Some(WeakSecret::Published);
        }
        let mut seen = [false; 256];
        for byte in bytes {
            seen[usize::from(*byte)] = true;
        }
        let distinct = seen.iter().filter(|seen| **seen).count();
        (distinct < MIN_DISTINCT).then_some(WeakSecret::Repetitive { distinct })
    }

    /// Whether both hold the same key; takes the same time wherever they differ.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    /// The only way out. Called by `application::signing_key` and nowhere else.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret([redacted])")
    }
}

/// Why a secret was refused. Says nothing of the secret but lengths and counts.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WeakSecret {
    /// Nothing there.
    #[error("the secret is empty")]
    Empty,
    /// An editor's mark of UTF-8 or UTF-16; Metabase would sign without it.
    #[error("the secret begins with a byte order mark; save it as plain UTF-8 without one")]
    ByteOrderMark,
    /// Metabase holds text.
    #[error(
        "the secret is not UTF-8 text; Metabase's secret is the text itself, neither hex-decoded nor base64-decoded"
    )]
    NotUtf8,
    /// The classic of `echo secret > file`.
    #[error(
        "the secret ends with a line break, which would become part of the key; write it with `printf %s` or \
             `metabase-token-service keygen > FILE`"
    )]
    TrailingNewline,
    /// Metabase trims nothing, so nothing is trimmed here.
    #[error("the secret begins or ends with white space, which would become part of the key; remove it")]
    SurroundingWhitespace,
    /// Several lines, or a binary file.
    #[error("the secret contains a control character; it must be one line of text")]
    ControlCharacter,
    /// Copied with the quotes of a shell or YAML file.
    #[error("the secret is wrapped in quotes, which would become part of the key; remove them")]
    Quoted,
    /// RFC 7518, section 3.2.
    #[error("the secret has {len} bytes; at least {min} are required, 64 hexadecimal digits are recommended \
             (`metabase-token-service keygen` makes one)", min = SharedSecret::MIN_LEN)]
    TooShort {
        /// Bytes given.
        len: usize,
    },
    /// More than any secret needs.
    #[error("the secret has {len} bytes, more than the {max} allowed; is it the right file?", max = SharedSecret::MAX_LEN)]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// In Metabase's public examples.
    #[error(
        "the secret is a published sample value that anyone can sign with; make one with `metabase-token-service keygen`"
    )]
    Published,
    /// `ffff…`, `0000…`, `abcabc…`
    #[error(
        "the secret has only {distinct} distinct characters: a sample value, not a secret; make one with \
             `metabase-token-service keygen`"
    )]
    Repetitive {
        /// Distinct bytes given.
        distinct: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4";

    #[test]
    fn common_mistakes_are_named() {
        let letters = "abcdefghi".repeat(600);
        let cases: [(&str, Vec<u8>, WeakSecret); 18] = [
            ("empty", vec![], WeakSecret::Empty),
            ("newline", format!("{GOOD}\n").into(), WeakSecret::TrailingNewline),
            ("carriage return", format!("{GOOD}\r\n").into(), WeakSecret::TrailingNewline),
            ("space", format!(" {GOOD}").into(), WeakSecret::SurroundingWhitespace),
            ("no-break space", format!("{GOOD}\u{a0}").into(), WeakSecret::SurroundingWhitespace),
            ("byte order mark", format!("\u{feff}{GOOD}").into(), WeakSecret::ByteOrderMark),
            ("UTF-16, little end first", b"\xff\xfea\0".into(), WeakSecret::ByteOrderMark),
            ("UTF-16, big end first", b"\xfe\xff\0a".into(), WeakSecret::ByteOrderMark),
            ("quotes", format!("\"{GOOD}\"").into(), WeakSecret::Quoted),
            ("two lines", format!("{GOOD}\n{GOOD}").into(), WeakSecret::ControlCharacter),
            ("binary", vec![0x80; 32], WeakSecret::NotUtf8),
            ("short", GOOD[..31].into(), WeakSecret::TooShort { len: 31 }),
            ("one byte more than the most", letters[..4097].into(), WeakSecret::TooLong { len: 4097 }),
            ("long", letters[..5000].into(), WeakSecret::TooLong { len: 5000 }),
            ("seven letters", "abcdefg".repeat(9).into(), WeakSecret::Repetitive { distinct: 7 }),
            ("all f", "f".repeat(64).into(), WeakSecret::Repetitive { distinct: 1 }),
            ("all 0", "0".repeat(64).into(), WeakSecret::Repetitive { distinct: 1 }),
            ("published", PUBLISHED[0].into(), WeakSecret::Published),
        ];
        for (name, bytes, weakness) in cases {
            assert_eq!(SharedSecret::parse(bytes).unwrap_err(), weakness, "{name}");
        }
        assert!(SharedSecret::parse(GOOD.into()).is_ok());
        assert!(SharedSecret::parse(GOOD[..32].into()).is_ok());
        assert!(SharedSecret::parse("abcdefgh".repeat(8).into()).is_ok());
        assert!(SharedSecret::parse(letters[..4096].into()).is_ok());
    }

    #[test]
    fn the_key_is_the_bytes_as_they_are() {
        let [secret, same, other] = [GOOD, GOOD, &GOOD[..63]].map(|text| SharedSecret::parse(text.into()).unwrap());
        assert_eq!(secret.expose(), GOOD.as_bytes());
        assert!(secret.is_same_key(&same) && !secret.is_same_key(&other));
    }

    #[test]
    fn debug_tells_nothing() {
        let secret = SharedSecret::parse(GOOD.into()).unwrap();
        assert_eq!(format!("{secret:?}"), "SharedSecret([redacted])");
    }
}
