//! A shared secret in its role: signs tokens for permits, and tells whether a signature is its own.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::domain::{
    attributes::Attributes,
    claims::Claims,
    policy::Permit,
    secret::SharedSecret,
    time::UnixTime,
    token::{Fingerprint, MAX_TOKEN_BYTES, SignedToken},
    token_request::TokenRequest,
};

/// `{"alg":"HS256","typ":"JWT"}` in base64url, and the dot behind it: Metabase accepts no other algorithm.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.";
/// Characters of a dot and an HMAC-SHA256 in base64url.
const SIGNATURE_CHARS: usize = 1 + 43;

/// A token that was good for one second of 1970 and names nobody, whatever any clock says: Metabase verifies its signature, and
/// then refuses it.
const PROBE: &[u8] = br#"{"iat":0,"exp":1}"#;

/// The key of one instance, as HMAC-SHA256 begins with it (RFC 2104, section 4), so that it is hashed once and not for each token.
/// Wiped on drop by the library. (`jsonwebtoken` prepares its key anew for each signature.)
pub struct SigningKey(hmac::Key);

/// The payload of a token that is not too long to be of use. Whether it is can be told before anything is signed.
pub struct Unsigned {
    payload: Vec<u8>,
    issue_time: UnixTime,
    expire_time: UnixTime,
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
        /// Path of the field that takes most of them, with the names of the proto.
        field: &'static str,
    },
    /// Does not happen with claims that are strings.
    #[error("the claims could not be written as JSON")]
    Claims,
}

impl SigningKey {
    /// The key is the secret's bytes as they are. This is the one reader of `SharedSecret::expose`.
    #[must_use]
    pub fn new(secret: &SharedSecret) -> Self {
        Self::from_bytes(secret.expose())
    }

    pub(super) fn from_bytes(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Signs what the policy permitted, at `now`.
    ///
    /// # Errors
    /// The token would be too long for Metabase.
    pub fn sign(&self, permit: &Permit, now: UnixTime) -> Result<Signed, SignError> {
        Unsigned::new(permit, now).map(|unsigned| self.sign_prepared(&unsigned))
    }

    /// Signs what is prepared.
    #[must_use]
    pub fn sign_prepared(&self, unsigned: &Unsigned) -> Signed {
        let Unsigned { payload, issue_time, expire_time } = unsigned;
        Signed { token: self.sign_payload(payload), issue_time: *issue_time, expire_time: *expire_time }
    }

    /// A token that tells whether Metabase holds this key and does nothing else.
    #[must_use]
    pub fn probe(&self) -> SignedToken {
        self.sign_payload(PROBE)
    }

    fn sign_payload(&self, payload: &[u8]) -> SignedToken {
        let mut jwt = String::with_capacity(token_len(payload));
        jwt.push_str(HEADER);
        URL_SAFE_NO_PAD.encode_string(payload, &mut jwt);
        let signature = hmac::sign(&self.0, jwt.as_bytes());
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        SignedToken::new(jwt)
    }

    /// Whether both are of one secret.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Fingerprint::of(self.probe().expose()) == Fingerprint::of(other.probe().expose())
    }

    /// Whether `signature` is the HMAC-SHA256 of `message` under this key, all 256 bits of it (RFC 7518, section 3.2); takes the same
    /// time wherever they differ.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, message, signature).is_ok()
    }
}

impl Unsigned {
    /// Of what the policy permitted, issued at `now`.
    ///
    /// # Errors
    /// The token would be too long for Metabase.
    pub fn new(permit: &Permit, now: UnixTime) -> Result<Self, SignError> {
        let claims = Claims::new(permit.request(), permit.lifetime(), now);
        let payload = serde_json::to_vec(&claims).map_err(|_| SignError::Claims)?;
        match token_len(&payload) {
            0..=MAX_TOKEN_BYTES => {
                Ok(Self { payload, issue_time: claims.issue_time(), expire_time: claims.expire_time() })
            }
            len => Err(SignError::TooLong { len, field: longest(permit.request()) }),
        }
    }
}

/// Of the fields that hold many values, the one with most bytes.
fn longest(request: &TokenRequest) -> &'static str {
    let groups = request.groups.iter().flatten().map(|group| group.as_str().len()).sum::<usize>();
    let all = |attributes: &Attributes| attributes.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    let of_tenant = request.tenant.as_ref().map_or(0, |tenant| all(&tenant.attributes));
    let fields = [("tenant.attributes", of_tenant), ("groups.names", groups), ("attributes", all(&request.attributes))];
    fields.into_iter().max_by_key(|(_, bytes)| *bytes).map_or("attributes", |(field, _)| field)
}

/// Characters of the token with this payload.
const fn token_len(payload: &[u8]) -> usize {
    HEADER.len() + (payload.len() * 4).div_ceil(3) + SIGNATURE_CHARS
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

#[cfg(test)]
mod tests;
