//! A shared secret in its role: signs tokens for permits, and tells whether a signature is its own.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use thiserror::Error;

use crate::domain::{
    claims::Claims,
    policy::Permit,
    secret::SharedSecret,
    time::UnixTime,
    token::{Fingerprint, MAX_TOKEN_BYTES, SignedToken},
};

/// `{"alg":"HS256","typ":"JWT"}` in base64url: Metabase accepts no other algorithm.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// A token that was good for one second of 1970 and names nobody, whatever any clock says: Metabase verifies its signature, and
/// then refuses it.
const PROBE: &[u8] = br#"{"iat":0,"exp":1}"#;

/// The key of one instance. Wiped on drop.
pub struct SigningKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// A token with its `iat` and `exp`.
#[derive(Debug)]
pub struct Signed {
    /// The token.
    pub token: SignedToken,
    /// `iat`.
    pub issue_time: UnixTime,
    /// `exp`.
    pub expire_time: UnixTime,
}

/// Why a permitted token was not signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// Metabase's web server could not read it.
    #[error(
        "the token would have {len} bytes, more than the {MAX_TOKEN_BYTES} that Metabase reliably reads from a URL"
    )]
    TooLong {
        /// Bytes of the token.
        len: usize,
    },
    /// Does not happen with HMAC keys and string claims.
    #[error("the cryptographic library refused to sign")]
    Library,
}

impl SigningKey {
    /// The key is the secret's bytes as they are. This is the one reader of `SharedSecret::expose`.
    #[must_use]
    pub fn new(secret: &SharedSecret) -> Self {
        Self::from_bytes(secret.expose())
    }

    pub(super) fn from_bytes(key: &[u8]) -> Self {
        Self { encoding: EncodingKey::from_secret(key), decoding: DecodingKey::from_secret(key) }
    }

    /// Signs what the policy permitted, at `now`.
    ///
    /// # Errors
    /// The token would be too long for Metabase.
    pub fn sign(&self, permit: &Permit, now: UnixTime) -> Result<Signed, SignError> {
        let claims = Claims::new(permit.request(), permit.lifetime(), now);
        let payload = serde_json::to_vec(&claims).map_err(|_| SignError::Library)?;
        let token = self.sign_payload(&payload)?;
        match token.expose().len() {
            0..=MAX_TOKEN_BYTES => {
                Ok(Signed { token, issue_time: claims.issue_time(), expire_time: claims.expire_time() })
            }
            len => Err(SignError::TooLong { len }),
        }
    }

    /// A token that tells whether Metabase holds this key and does nothing else.
    ///
    /// # Errors
    /// The library refused.
    pub fn probe(&self) -> Result<SignedToken, SignError> {
        self.sign_payload(PROBE)
    }

    fn sign_payload(&self, payload: &[u8]) -> Result<SignedToken, SignError> {
        let mut jwt = String::with_capacity(HEADER.len() + payload.len() * 4 / 3 + 48);
        jwt.push_str(HEADER);
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut jwt);
        let signature =
            crypto::sign(jwt.as_bytes(), &self.encoding, Algorithm::HS256).map_err(|_| SignError::Library)?;
        jwt.push('.');
        jwt.push_str(&signature);
        Ok(SignedToken::new(jwt))
    }

    /// Whether both are of one secret.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let probe = |key: &Self| key.probe().map(|probe| Fingerprint::of(probe.expose())).ok();
        probe(self).is_some_and(|own| Some(own) == probe(other))
    }

    /// Whether `signature` is the HMAC-SHA256 of `message` under this key; takes the same time wherever they differ.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        // The library reads only one spelling of a signature; Metabase's decoder reads several, so ours ran before.
        let signature = URL_SAFE_NO_PAD.encode(signature);
        crypto::verify(&signature, message, &self.decoding, Algorithm::HS256).unwrap_or(false)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

#[cfg(test)]
mod tests;
