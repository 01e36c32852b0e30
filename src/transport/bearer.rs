//! Bearer tokens as proof of identity: Kubernetes' projected service-account tokens and SPIFFE JWT-SVIDs, by issuer,
//! audience and a set of public keys.

mod issuer_keys;
mod key_set;
mod remote_keys;

use std::{future::pending, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, Validation, dangerous, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use thiserror::Error;
use tokio::task::JoinSet;

pub use self::issuer_keys::KeyFileError;
use self::{issuer_keys::IssuerKeys, remote_keys::RemoteKeys};
use crate::{
    config::JwtIssuer,
    domain::identity::{Identity, InvalidIdentity, InvalidSpiffeId, ServiceAccount, SpiffeId},
    telemetry::Metrics,
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
    #[error("its header demands in `crit` what is not understood here")]
    Critical,
    #[error("it has expired")]
    Expired,
    #[error("the trust domain of its subject is not this issuer's")]
    ForeignTrustDomain,
    #[error("its issuer is not configured")]
    Issuer,
    #[error("the header is given more than once")]
    ManyHeaders,
    #[error("the keys of its issuer cannot be had at the moment")]
    KeysUnavailable,
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
    #[error("its `typ` is neither \"JWT\" nor \"JOSE\", as that of a JWT-SVID is")]
    Type,
    #[error("none of its issuer's keys has made it")]
    UnknownKey,
}

/// The issuers that are trusted to name callers, and their keys in force.
#[derive(Debug, Default)]
pub struct Issuers(Vec<Issuer>);

#[derive(Debug)]
struct Issuer {
    config: JwtIssuer,
    keys: IssuerKeys,
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
    /// Reads the keys that are in files; those behind URLs are fetched by [`Issuers::keep_fresh`]. Fetches are counted in
    /// `metrics`.
    ///
    /// # Errors
    /// The keys of one cannot be used.
    pub fn load(configs: &[JwtIssuer], metrics: &Arc<Metrics>) -> Result<Self, KeyFileError> {
        let load =
            |config: &JwtIssuer| Ok(Issuer { keys: IssuerKeys::load(&config.jwks, metrics)?, config: config.clone() });
        configs.iter().map(load).collect::<Result<_, _>>().map(Self)
    }

    /// Takes the keys of files as they are now.
    ///
    /// # Errors
    /// Those of some cannot be used, one line for each; their last good ones stay in force, and those of the others are new.
    pub fn reload_files(&self) -> Result<(), String> {
        let errors: Vec<String> =
            self.0.iter().filter_map(|issuer| issuer.keys.reload_file().err()).map(|error| error.to_string()).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
    }

    /// Begins to fetch the keys behind URLs.
    pub fn begin_fetches(&self) {
        self.0.iter().filter_map(|issuer| issuer.keys.remote()).for_each(RemoteKeys::refresh);
    }

    /// Fetches the keys behind URLs, now and when they get old, for ever.
    pub async fn keep_fresh(&self) {
        let fetches = self.0.iter().filter_map(|issuer| issuer.keys.remote()).cloned();
        let mut tasks: JoinSet<()> = fetches.map(RemoteKeys::keep_fresh).collect();
        while tasks.join_next().await.is_some() {}
        pending::<()>().await;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The identity that the request's bearer token proves; none without a token, or where no issuer is configured.
    ///
    /// # Errors
    /// Why it proves none. After [`InvalidBearer::is_for_lack_of_a_key`], the same token may prove one once
    /// [`Issuers::refresh`] is over.
    pub(super) fn identity(&self, headers: &HeaderMap) -> Result<Option<Identity>, InvalidBearer> {
        let Some(token) = self.token(headers)? else { return Ok(None) };
        let unverified_header = decode_header(token).map_err(|_| InvalidBearer::Malformed)?;
        let algorithm = unverified_header.alg;
        if !ALGORITHMS.contains(&algorithm) {
            return Err(InvalidBearer::Algorithm);
        }
        // RFC 7515, section 4.1.11: what is critical and not understood makes the token invalid.
        if unverified_header.crit.is_some() {
            return Err(InvalidBearer::Critical);
        }
        let issuer = self.issuer(token)?;
        // JWT-SVID specification, section 2.3. The attack: a token of another kind, made for another purpose by the same keys.
        let is_svid = issuer.config.trust_domain.is_some();
        if is_svid && !unverified_header.typ.as_deref().is_none_or(|typ| ["JWT", "JOSE"].contains(&typ)) {
            return Err(InvalidBearer::Type);
        }
        let keys = issuer.keys.current().ok_or(InvalidBearer::KeysUnavailable)?;
        let key = keys.find(unverified_header.kid.as_deref(), algorithm).ok_or(InvalidBearer::UnknownKey)?;

        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[&issuer.config.audience]);
        validation.set_issuer(&[&issuer.config.issuer]);
        validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
        let subject: Subject = decode(token, key, &validation).map_err(|error| refusal(error.kind()))?.claims;
        issuer.identity(&subject.sub).map(Some)
    }

    /// Gets newer keys of the issuer that the request's token names, unless that was tried just now. Anyone can ask for it.
    pub(super) async fn refresh(&self, headers: &HeaderMap) {
        let issuer = self.token(headers).ok().flatten().and_then(|token| self.issuer(token).ok());
        if let Some(keys) = issuer.and_then(|issuer| issuer.keys.remote()) {
            keys.refresh_on_demand().await;
        }
    }

    fn token<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, InvalidBearer> {
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
        if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(InvalidBearer::NotBearer) }
    }

    /// The issuer that the token names, which proves nothing yet.
    fn issuer(&self, token: &str) -> Result<&Issuer, InvalidBearer> {
        let unverified: Issued = dangerous::insecure_decode_claims(token).map_err(|_| InvalidBearer::Malformed)?;
        self.0.iter().find(|issuer| issuer.config.issuer == unverified.iss).ok_or(InvalidBearer::Issuer)
    }
}

impl InvalidBearer {
    /// Whether newer keys of the issuer may make the token good.
    pub(super) const fn is_for_lack_of_a_key(&self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::UnknownKey)
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

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open, and every other kind means the same")]
fn refusal(kind: &ErrorKind) -> InvalidBearer {
    match kind {
        ErrorKind::ExpiredSignature => InvalidBearer::Expired,
        ErrorKind::ImmatureSignature => InvalidBearer::NotYetValid,
        ErrorKind::InvalidAudience => InvalidBearer::Audience,
        _ => InvalidBearer::Refused,
    }
}
