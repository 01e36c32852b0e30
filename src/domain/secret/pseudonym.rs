//! Names for people that only the holder of a key can tell from others.

use std::fmt;

use aws_lc_rs::hmac;
use const_hex::Buffer;
use serde::{Serialize, Serializer};

use super::SharedSecret;

/// A key that turns personal data into pseudonyms. The same datum has the same pseudonym as long as the key stays.
pub struct PseudonymKey(hmac::Key);

/// A name for a person, in hexadecimal where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudonym([u8; Self::LEN]);

impl Pseudonym {
    /// Bytes: with 2^32 people, two share one in less than one case in 2^64.
    const LEN: usize = 16;
}

impl Serialize for Pseudonym {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Buffer::<_>::new().format(&self.0))
    }
}

impl PseudonymKey {
    /// The secret has no other use: with the key of tokens, pseudonyms would be signatures.
    #[must_use]
    pub fn new(secret: &SharedSecret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret.0))
    }

    /// The first 128 bits of the HMAC-SHA256 of `kind`, a zero byte and `text`.
    #[must_use]
    pub fn pseudonym(&self, kind: &str, text: &str) -> Pseudonym {
        let mut hmac = hmac::Context::with_key(&self.0);
        for part in [kind.as_bytes(), &[0], text.as_bytes()] {
            hmac.update(part);
        }
        let mut first = [0; Pseudonym::LEN];
        first.copy_from_slice(&hmac.sign().as_ref()[..Pseudonym::LEN]);
        Pseudonym(first)
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PseudonymKey {
        PseudonymKey::new(&SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap())
    }

    /// Whoever holds the key can look a person up: `printf 'email\0…' | openssl dgst -sha256 -hmac KEY`.
    #[test]
    fn a_pseudonym_is_the_beginning_of_the_documented_hmac() {
        let told = serde_json::to_value(key().pseudonym("email", "ada@example.com")).unwrap();
        assert_eq!(told, "f36322fbe1c40e0b75b79a456adb1055");
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", key()), "PseudonymKey([redacted])");
    }
}
