//! An issuer's public keys: a JSON Web Key Set (RFC 7517).

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse},
};
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

/// Why a text is no set of public keys.
#[derive(Debug, Error)]
#[error("is not a JSON Web Key Set: {0}")]
pub struct NotAKeySet(String);

impl KeySet {
    /// Keys for encryption are left out.
    ///
    /// # Errors
    /// It is no set, holds a key that cannot be used or is symmetric, or none for signatures.
    pub(super) fn parse(json: &[u8]) -> Result<Self, NotAKeySet> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| NotAKeySet(error.to_string()))?;
        let keys = set.keys.iter().filter(|jwk| !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)));
        let keys: Vec<Key> = keys.map(Key::load).collect::<Result<_, _>>().map_err(NotAKeySet)?;
        if keys.is_empty() { Err(NotAKeySet("it has no key for signatures".to_owned())) } else { Ok(Self(keys)) }
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
    fn load(jwk: &Jwk) -> Result<Self, String> {
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err("it has a symmetric key, which is no proof of who made a token".to_owned());
        }
        let verifying = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
        let algorithm = jwk.common.key_algorithm.map(|name| {
            let parsed = name.to_string().parse::<Algorithm>();
            parsed.map_err(|_| format!("it has a key for {name}, which is no algorithm of signatures"))
        });
        Ok(Self { id: jwk.common.key_id.clone(), algorithm: algorithm.transpose()?, verifying })
    }
}
