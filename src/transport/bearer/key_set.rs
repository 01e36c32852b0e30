//! An issuer's public keys: a JSON Web Key Set (RFC 7517).

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Bytes of a key set; the largest public ones have about 20 kB.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The keys of one issuer. Never empty.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    verifying: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Why a text is no set of public keys.
#[derive(Debug, Error)]
#[error("is not a JSON Web Key Set: {0}")]
pub struct NotAKeySet(String);

impl KeySet {
    /// Keys for encryption are left out, and so is what is not understood (RFC 7517, section 5). The attack: because of a new kind of key in
    /// the set, a key that the issuer has withdrawn stays trusted.
    ///
    /// # Errors
    /// It is no set, holds a symmetric key, or none for signatures that can be used.
    pub(super) fn parse(json: &[u8]) -> Result<Self, NotAKeySet> {
        let set: Set = serde_json::from_slice(json).map_err(|error| NotAKeySet(error.to_string()))?;
        if set.keys.iter().any(|key| key["kty"] == "oct") {
            let error = "it has a symmetric key, which is no proof of who made a token";
            return Err(NotAKeySet(error.to_owned()));
        }
        let (mut keys, mut unusable) = (Vec::new(), None);
        for (index, key) in set.keys.into_iter().enumerate() {
            match Key::load(key) {
                Ok(key) => keys.extend(key),
                Err(error) => {
                    tracing::debug!(index, error, "A key of an issuer cannot be used");
                    unusable = Some(error);
                }
            }
        }
        match (keys.is_empty(), unusable) {
            (false, _) => Ok(Self(keys)),
            (true, Some(error)) => Err(NotAKeySet(format!("it has no key for signatures that can be used: {error}"))),
            (true, None) => Err(NotAKeySet("it has no key for signatures".to_owned())),
        }
    }

    /// The key that a token names; a token that names none is the only key's.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let found = match (id, self.0.as_slice()) {
            (None, [only]) => only,
            (None, _) => return None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id))?,
        };
        let suits = found.algorithm.is_none_or(|own| own == algorithm);
        (suits && found.verifying.family() == algorithm.family()).then_some(&found.verifying)
    }
}

impl Key {
    /// None if it is for encryption.
    fn load(key: Value) -> Result<Option<Self>, String> {
        let jwk: Jwk = serde_json::from_value(key).map_err(|error| error.to_string())?;
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            return Ok(None);
        }
        let verifying = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
        let algorithm = jwk.common.key_algorithm.map(|name| {
            let parsed = name.to_string().parse::<Algorithm>();
            parsed.map_err(|_| format!("it is for {name}, which is no algorithm of signatures"))
        });
        Ok(Some(Self { id: jwk.common.key_id, algorithm: algorithm.transpose()?, verifying }))
    }
}
