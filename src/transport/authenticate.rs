//! Who is on the other end: a proven `Caller`, or why there is none.

pub(super) mod layer;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, Response};
use thiserror::Error;
use tokio::sync::Semaphore;
use tonic::body::Body;

use super::{
    bearer::{InvalidBearer, Issuers},
    certificate::NotAnSvid,
    forwarded::{self, InvalidForwarded, L5D_CLIENT_ID, XFCC},
    notes::Notes,
    peer::{Peer, Place},
    status,
};
use crate::{
    application::audit::{Audit, Event},
    config::{Limits, Proofs},
    domain::{
        caller::{Caller, CallerId, Proof},
        identity::Identity,
    },
};

/// The part of the room in flight that requests without a proven caller may take, one in so many. The attack: tokens with
/// made-up key IDs, while an issuer is slow to answer.
const PART_WAITING: usize = 8;

/// Why a request has no proven caller.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Unauthenticated {
    #[error("the bearer token proves no caller: {0}")]
    Bearer(InvalidBearer),
    #[error("the client certificate names no caller: {0}")]
    Certificate(NotAnSvid),
    #[error("the proofs name different callers")]
    Contradiction,
    #[error("{header}: {error}")]
    Forwarded { header: &'static str, error: InvalidForwarded },
    #[error(
        "{header} is not trusted here: it counts only from a sidecar on this machine, and only where it is configured"
    )]
    ForwardedNotTrusted { header: &'static str },
    #[error("no proven caller; looked for: {}", Self::list(.looked_for))]
    NoProof { looked_for: Vec<&'static str> },
}

impl Unauthenticated {
    fn list(proofs: &[&str]) -> String {
        if proofs.is_empty() { "none (server.identity is not configured)".to_owned() } else { proofs.join(", ") }
    }

    /// `google.rpc.ErrorInfo.reason`
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Bearer(InvalidBearer::KeysUnavailable) => "ISSUER_KEYS_UNAVAILABLE",
            Self::Bearer(_) => "INVALID_BEARER_TOKEN",
            Self::Certificate(_) => "CERTIFICATE_NAMES_NO_CALLER",
            Self::Contradiction => "CONTRADICTORY_IDENTITIES",
            Self::Forwarded { .. } => "INVALID_FORWARDED_IDENTITY",
            Self::ForwardedNotTrusted { .. } => "FORWARDED_IDENTITY_NOT_TRUSTED",
            Self::NoProof { .. } => "NO_PROVEN_CALLER",
        }
    }
}

/// What proofs count, and the issuers of bearer tokens.
#[derive(Debug)]
pub(super) struct Authenticator {
    proofs: Proofs,
    issuers: Arc<Issuers>,
    audit: Arc<Audit>,
    waiting: Semaphore,
}

impl Authenticator {
    pub(super) fn new(proofs: Proofs, issuers: Arc<Issuers>, audit: Arc<Audit>, limits: &Limits) -> Self {
        let waiting = Semaphore::new((limits.max_in_flight / PART_WAITING).max(1));
        Self { proofs, issuers, audit, waiting }
    }

    /// The answer to this request, which has no proven caller.
    fn refuse<B>(&self, request: &Request<B>, error: &Unauthenticated) -> Response<Body> {
        let request_id = Notes::request_id(request.extensions());
        self.audit.note(&Event::IdentityRefused { request_id, reason: error.code() });
        status::unauthenticated(error).into_http()
    }

    /// The one caller that all given proofs agree on.
    fn authenticate<B>(&self, request: &Request<B>) -> Result<Caller, Unauthenticated> {
        // Absent only if a listener was added without its peer: then nobody is proven.
        let nobody = Peer { place: Place::Remote, certificate: None };
        let peer = request.extensions().get().unwrap_or(&nobody);
        let (proofs, headers) = (&self.proofs, request.headers());
        let certificate = match peer.certificate.as_deref().filter(|_| proofs.mtls) {
            Some(Err(error)) => return Err(Unauthenticated::Certificate(error.clone())),
            Some(Ok(identity)) => Some((identity.clone(), Proof::Mtls)),
            None => None,
        };
        let xfcc = forwarded(headers, &XFCC, peer.place.is_trusted(proofs.xfcc), forwarded::xfcc)?;
        let linkerd =
            forwarded(headers, &L5D_CLIENT_ID, peer.place.is_trusted(proofs.linkerd), forwarded::l5d_client_id)?;
        let bearer = self.issuers.identity(headers).map_err(Unauthenticated::Bearer)?;
        let given = [
            certificate,
            bearer.map(|id| (id, Proof::Jwt)),
            xfcc.map(|id| (id, Proof::Xfcc)),
            linkerd.map(|id| (id, Proof::Linkerd)),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), &proofs.local) {
            (Some((identity, proof)), _) => {
                if given.any(|(other, _)| other != identity) {
                    return Err(Unauthenticated::Contradiction);
                }
                Ok(Caller { id: CallerId::Proven(identity), proof })
            }
            (None, Some(name)) if peer.place.is_local() => {
                Ok(Caller { id: CallerId::Named(name.clone()), proof: Proof::Local })
            }
            (None, _) => Err(Unauthenticated::NoProof { looked_for: names(proofs) }),
        }
    }

    /// After a token was refused for lack of a key: gets newer keys, unless that was tried just now, or too many wait already.
    async fn refresh(&self, headers: &HeaderMap) {
        if let Ok(_waiting) = self.waiting.try_acquire() {
            self.issuers.refresh(headers).await;
        }
    }
}

fn names(proofs: &Proofs) -> Vec<&'static str> {
    let all = [
        (proofs.mtls, Proof::Mtls),
        (!proofs.jwt.is_empty(), Proof::Jwt),
        (proofs.xfcc.any(), Proof::Xfcc),
        (proofs.linkerd.any(), Proof::Linkerd),
        (proofs.local.is_some(), Proof::Local),
    ];
    all.into_iter().filter(|(is_on, _)| *is_on).map(|(_, proof)| proof.as_str()).collect()
}

/// The attack: a client adds the header that a sidecar would. Where no sidecar is trusted, it is refused, not ignored.
fn forwarded(
    headers: &HeaderMap,
    header: &'static HeaderName,
    is_trusted: bool,
    read: impl Fn(&HeaderMap) -> Result<Option<Identity>, InvalidForwarded>,
) -> Result<Option<Identity>, Unauthenticated> {
    if !is_trusted && headers.contains_key(header) {
        return Err(Unauthenticated::ForwardedNotTrusted { header: header.as_str() });
    }
    read(headers).map_err(|error| Unauthenticated::Forwarded { header: header.as_str(), error })
}
