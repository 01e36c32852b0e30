//! Bearer tokens as proof of identity: Kubernetes' projected service-account tokens and SPIFFE JWT-SVIDs, by issuer,
//! audience and a set of public keys.

use std::{fs, io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, dangerous, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse},
};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    config::JwtIssuer,
    domain::identity::{Identity, InvalidIdentity, InvalidSpiffeId, ServiceAccount, SpiffeId},
};

/// Public-key algorithms only. The attack: with HMAC among them, the published public key would be the secret of a forger
/// (RFC 8725, section 2.1).
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
];

/// By how much the clocks of an issuer and this machine may differ.
const LEEWAY_SECONDS: u64 = 10;

/// Why a bearer token proves nothing. Never holds a part of the token.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum InvalidBearer {
    #[error("its algorithm is not one of public keys")]
    Algorithm,
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("the trust domain of its subject is not this issuer's")]
    ForeignTrustDomain,
    #[error("its issuer is not configured")]
    Issuer,
    #[error("the header is given more than once")]
    ManyHeaders,
    #[error("it is not a JSON Web Token")]
    Malformed,
    #[error("the header must be \"Bearer TOKEN\"")]
    NotBearer,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("its signature or one of its claims is wrong")]
    Refused,
    #[error("its subject is no service account: {0}")]
    ServiceAccount(InvalidIdentity),
    #[error("its subject is no SPIFFE ID: {0}")]
    SpiffeId(InvalidSpiffeId),
    #[error("none of its issuer's keys has made it")]
    UnknownKey,
}

/// Why the keys of an issuer cannot be used.
#[derive(Debug, Error)]
pub enum KeySetError {
    /// Not a set of public keys.
    #[error("{path}: is not a JSON Web Key Set: {error}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// Cannot be read.
    #[error("{path}: cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The issuers that are trusted to name callers, and their keys in force.
#[derive(Debug, Default)]
pub struct Issuers(Vec<Issuer>);

#[derive(Debug)]
struct Issuer {
    config: JwtIssuer,
    keys: ArcSwap<Vec<Key>>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    verifying: DecodingKey,
}

#[derive(Deserialize)]
struct Issued {
    iss: String,
}

#[derive(Deserialize)]
struct Subject {
    sub: String,
}

impl Issuers {
    /// # Errors
    /// The keys of one cannot be used.
    pub fn load(configs: &[JwtIssuer]) -> Result<Self, KeySetError> {
        let load =
            |config: &JwtIssuer| Ok(Issuer { keys: ArcSwap::from_pointee(load_keys(config)?), config: config.clone() });
        configs.iter().map(load).collect::<Result<_, _>>().map(Self)
    }

    /// Takes the keys as they are now.
    ///
    /// # Errors
    /// The keys of one cannot be used; its last good ones stay in force, and those of the issuers before it are new.
    pub fn reload(&self) -> Result<(), KeySetError> {
        for issuer in &self.0 {
            issuer.keys.store(Arc::new(load_keys(&issuer.config)?));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The identity that the request's bearer token proves; none without a token, or where no issuer is configured.
    pub(super) fn identity(&self, headers: &HeaderMap) -> Result<Option<Identity>, InvalidBearer> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(_), Some(_)) => return Err(InvalidBearer::ManyHeaders),
            (Some(value), None) => value.to_str().map_err(|_| InvalidBearer::NotBearer)?,
        };
        let (scheme, token) = value.split_once(' ').ok_or(InvalidBearer::NotBearer)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(InvalidBearer::NotBearer);
        }
        self.verify(token.trim()).map(Some)
    }

    fn verify(&self, token: &str) -> Result<Identity, InvalidBearer> {
        let unverified_header = decode_header(token).map_err(|_| InvalidBearer::Malformed)?;
        let algorithm = unverified_header.alg;
        if !ALGORITHMS.contains(&algorithm) {
            return Err(InvalidBearer::Algorithm);
        }
        let unverified: Issued = dangerous::insecure_decode_claims(token).map_err(|_| InvalidBearer::Malformed)?;
        let issuer =
            self.0.iter().find(|issuer| issuer.config.issuer == unverified.iss).ok_or(InvalidBearer::Issuer)?;
        let keys = issuer.keys.load();
        let key = find_key(&keys, unverified_header.kid.as_deref(), algorithm).ok_or(InvalidBearer::UnknownKey)?;

        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[&issuer.config.audience]);
        validation.set_issuer(&[&issuer.config.issuer]);
        validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
        let subject: Subject =
            decode(token, &key.verifying, &validation).map_err(|error| refusal(error.kind()))?.claims;
        issuer.identity(&subject.sub)
    }
}

impl Issuer {
    /// Each issuer names one kind of caller, so that none can name those of another.
    fn identity(&self, subject: &str) -> Result<Identity, InvalidBearer> {
        match &self.config.trust_domain {
            None => {
                subject.parse::<ServiceAccount>().map(Identity::ServiceAccount).map_err(InvalidBearer::ServiceAccount)
            }
            Some(trust_domain) => {
                let id: SpiffeId = subject.parse().map_err(InvalidBearer::SpiffeId)?;
                if id.trust_domain() == trust_domain {
                    Ok(Identity::Spiffe(id))
                } else {
                    Err(InvalidBearer::ForeignTrustDomain)
                }
            }
        }
    }
}

/// The key that the token names; a token that names none is the only key's.
fn find_key<'a>(keys: &'a [Key], id: Option<&str>, algorithm: Algorithm) -> Option<&'a Key> {
    let found = match (id, keys) {
        (None, [only]) => only,
        (None, _) => return None,
        (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id))?,
    };
    let suits = found.algorithm.is_none_or(|own| own == algorithm);
    (suits && found.verifying.family() == algorithm.family()).then_some(found)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open, and every other kind means the same")]
fn refusal(kind: &ErrorKind) -> InvalidBearer {
    match kind {
        ErrorKind::ExpiredSignature => InvalidBearer::Expired,
        ErrorKind::ImmatureSignature => InvalidBearer::NotYetValid,
        ErrorKind::InvalidAudience => InvalidBearer::Audience,
        _ => InvalidBearer::Refused,
    }
}

fn load_keys(config: &JwtIssuer) -> Result<Vec<Key>, KeySetError> {
    let path = &config.jwks;
    let text = fs::read(path).map_err(|error| KeySetError::Read { path: path.clone(), error })?;
    let wrong = |error: String| KeySetError::Format { path: path.clone(), error };
    let set: JwkSet = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let keys = set.keys.iter().filter(|jwk| !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)));
    let keys: Vec<Key> = keys.map(|jwk| load_key(jwk).map_err(wrong)).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(wrong("it has no key for signatures".to_owned())) } else { Ok(keys) }
}

fn load_key(jwk: &Jwk) -> Result<Key, String> {
    if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
        return Err("it has a symmetric key, which is no proof of who made a token".to_owned());
    }
    let verifying = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    let algorithm = jwk.common.key_algorithm.map(|name| {
        let parsed = name.to_string().parse::<Algorithm>();
        parsed.map_err(|_| format!("it has a key for {name}, which is no algorithm of signatures"))
    });
    Ok(Key { id: jwk.common.key_id.clone(), algorithm: algorithm.transpose()?, verifying })
}
