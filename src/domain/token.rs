//! A signed token, which no log line can hold.

use std::fmt;

use aws_lc_rs::digest;
use const_hex::Buffer;
use serde::{Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::time::UnixTime;

/// Metabase refuses to exchange a token whose `iat` is more than this many seconds ago, whatever its `exp`.
pub const MAX_AGE_SECONDS: i64 = 180;

/// Bytes of a token. Metabase reads it from the request line, whose limit in its web server is 8 KiB together with the
/// headers; a longer token would be issued and then refused with HTTP 431.
pub const MAX_TOKEN_BYTES: usize = 6 * 1024;

/// A JSON Web Token in compact form: a bearer credential. Wiped on drop; never printed or cloned.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SignedToken(String);

impl SignedToken {
    pub(crate) const fn new(jwt: String) -> Self {
        Self(jwt)
    }

    /// The token. Called where it leaves for the caller, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedToken([redacted])")
    }
}

/// The handle of a credential in logs, audit records and answers: the first 64 bits of its SHA-256, in hexadecimal.
/// Tells nothing of the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// The fingerprint of a credential, byte for byte as it was sent.
    #[must_use]
    pub fn of(credential: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, credential.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_ref()[..8]);
        Self(first)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Buffer::<_>::new().format(&self.0))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Buffer::<_>::new().format(&self.0))
    }
}

/// The last instant at which Metabase exchanges a token: `exp`, or 180 s after `iat`, whichever is first.
#[must_use]
pub fn exchange_deadline(issue_time: UnixTime, expire_time: UnixTime) -> UnixTime {
    expire_time.min(issue_time.plus_seconds(MAX_AGE_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leaves_as_it_is_and_is_never_printed() {
        let token = SignedToken::new("a.b.c".to_owned());
        assert_eq!((token.expose(), format!("{token:?}").as_str()), ("a.b.c", "SignedToken([redacted])"));
    }

    #[test]
    fn the_longest_token_has_six_kibibytes() {
        assert_eq!(MAX_TOKEN_BYTES, 6144);
    }

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_sha_256() {
        // `printf %s abc | sha256sum`; FIPS 180-4 has the same example.
        assert_eq!(Fingerprint::of("abc").to_string(), "ba7816bf8f01cfea");
    }

    #[test]
    fn a_token_is_exchanged_until_it_expires_and_at_most_three_minutes() {
        let at = UnixTime::from_seconds;
        for (expire, deadline) in [(160, 160), (280, 280), (281, 280), (3600, 280)] {
            assert_eq!(exchange_deadline(at(100), at(expire)), at(deadline), "{expire}");
        }
    }
}
