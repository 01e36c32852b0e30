//! From the shapes of the file to valid types: addresses, TLS, proofs of identity, the deny list.

use std::{collections::HashSet, path::PathBuf};

use toml::Spanned;
use url::Url;

use super::{
    CallerConfig, Config, JwtIssuer, KeySource, ListenAddress, Proofs, ServerConfig, TlsFiles, TrustedPeers,
    parse::Problems,
    parse_limits::{parse_drain, parse_limits},
    parse_listen::{check_distinct, parse_listen, parse_mode, parse_socket_address},
    raw::{RawDeny, RawForwarded, RawIdentity, RawJwtIssuer, RawServer, RawTls},
};
use crate::domain::{caller::CallerName, identity::check_trust_domain, policy::Denied, subject::Email, tenant};

pub(super) fn parse_server(
    raw: &RawServer,
    callers: &[CallerConfig],
    problems: &mut Problems<'_>,
) -> Option<ServerConfig> {
    let tls = raw.tls.as_ref().map(|tls| parse_tls(tls, problems));
    let listen = match &raw.listen {
        None => Some(ListenAddress::Tcp(Config::DEFAULT_LISTEN)),
        Some(text) => problems.take(&text.span(), parse_listen(text.get_ref(), tls.is_some())),
    };
    let metrics_listen = match &raw.metrics_listen {
        None => Some(Config::DEFAULT_METRICS_LISTEN),
        Some(text) => problems.take(&text.span(), parse_socket_address(text.get_ref())),
    };
    let probe_listen =
        raw.probe_listen.as_ref().map(|text| problems.take(&text.span(), parse_socket_address(text.get_ref())));
    let listen_mode = parse_mode(raw.listen_mode.as_ref(), listen.as_ref(), problems);
    let grpc = match &listen {
        Some(ListenAddress::Tcp(address)) => Some(*address),
        Some(ListenAddress::Unix(_)) | None => None,
    };
    let addresses = [
        (grpc, raw.listen.as_ref()),
        (probe_listen.flatten(), raw.probe_listen.as_ref()),
        (metrics_listen, raw.metrics_listen.as_ref()),
    ];
    check_distinct(addresses, problems);
    let proofs = parse_identity(&raw.identity, raw.tls.as_ref(), callers, problems);
    let limits = parse_limits(&raw.limits, problems);
    let drain = parse_drain(&raw.drain, problems);
    Some(ServerConfig {
        listen: listen?,
        listen_mode,
        probe_listen: probe_listen.map_or(Some(None), |address| address.map(Some))?,
        tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
        metrics_listen: metrics_listen?,
        reflection: raw.reflection,
        require_hardening: raw.require_hardening,
        proofs,
        limits,
        drain,
    })
}

fn parse_tls(raw: &RawTls, problems: &mut Problems<'_>) -> Option<TlsFiles> {
    let mut path = |text: &Spanned<String>| {
        let is_empty = text.get_ref().is_empty();
        problems.take(
            &text.span(),
            if is_empty { Err("must be the path of a PEM file") } else { Ok(PathBuf::from(text.get_ref())) },
        )
    };
    let (certificate, private_key) = (path(&raw.certificate), path(&raw.private_key));
    let client_ca = raw.client_ca.as_ref().map(&mut path);
    let client_crl = raw.client_crl.as_ref().map(&mut path);
    if let (Some(crl), None) = (&raw.client_crl, &raw.client_ca) {
        problems.add(&crl.span(), "needs `client_ca`: it lists what that CA has revoked");
    }
    Some(TlsFiles {
        certificate: certificate?,
        private_key: private_key?,
        client_ca: client_ca.map_or(Some(None), |path| path.map(Some))?,
        client_crl: client_crl.map_or(Some(None), |path| path.map(Some))?,
    })
}

fn parse_identity(
    raw: &RawIdentity,
    tls: Option<&RawTls>,
    callers: &[CallerConfig],
    problems: &mut Problems<'_>,
) -> Proofs {
    let has_client_ca = tls.is_some_and(|tls| tls.client_ca.is_some());
    let mtls = raw.mtls.as_ref().is_some_and(|mtls| *mtls.get_ref());
    if let Some(on) = raw.mtls.as_ref().filter(|_| mtls && !has_client_ca) {
        problems.add(&on.span(), "needs `server.tls.client_ca`, which vouches for the callers' certificates");
    }
    let local = raw.local.as_ref().and_then(|local| {
        let name: CallerName = problems.parse(local)?;
        if !callers.iter().any(|caller| caller.name == name) {
            problems.add(&local.span(), "must be the name of one of the [[callers]]");
        }
        Some(name)
    });
    let xfcc = raw.xfcc.as_ref().map(|raw| parse_trusted(raw, problems)).unwrap_or_default();
    let linkerd = raw.linkerd.as_ref().map(|raw| parse_trusted(raw, problems)).unwrap_or_default();
    if let Some(text) = raw.local.as_ref().filter(|_| xfcc.any() || linkerd.any()) {
        problems.add(
            &text.span(),
            "cannot stand beside `xfcc` or `linkerd`: whoever the sidecar forwards without an identity would be this caller",
        );
    }
    Proofs { local, mtls, jwt: parse_issuers(&raw.jwt, problems), xfcc, linkerd }
}

fn parse_issuers(raw: &[RawJwtIssuer], problems: &mut Problems<'_>) -> Vec<JwtIssuer> {
    let (mut issuers, mut names, mut kinds) = (Vec::with_capacity(raw.len()), HashSet::new(), HashSet::new());
    for raw in raw {
        for text in [&raw.issuer, &raw.audience, &raw.jwks] {
            if text.get_ref().is_empty() {
                problems.add(&text.span(), "must not be empty");
            }
        }
        if !names.insert(raw.issuer.get_ref()) {
            problems.add(&raw.issuer.span(), "must be unique among the issuers");
        }
        let trust_domain = raw.trust_domain.as_ref();
        if let Some(text) = trust_domain {
            problems.take(&text.span(), check_trust_domain(text.get_ref()));
        }
        if !kinds.insert(trust_domain.map(Spanned::get_ref)) {
            let span = trust_domain.unwrap_or(&raw.issuer).span();
            problems
                .add(&span, "one issuer for each trust domain, and one without: two could name each other's callers");
        }
        let Some(jwks) = parse_key_source(raw, problems) else { continue };
        issuers.push(JwtIssuer {
            issuer: raw.issuer.get_ref().clone(),
            audience: raw.audience.get_ref().clone(),
            jwks,
            trust_domain: trust_domain.map(|text| text.get_ref().clone()),
        });
    }
    issuers
}

fn parse_key_source(raw: &RawJwtIssuer, problems: &mut Problems<'_>) -> Option<KeySource> {
    let (text, span) = (raw.jwks.get_ref(), raw.jwks.span());
    if !text.contains("://") {
        if let Some(ca) = &raw.jwks_ca {
            problems.add(&ca.span(), "needs an https URL as `jwks`: a file has no server to vouch for");
        }
        return Some(KeySource::File(text.into()));
    }
    let url = match Url::parse(text) {
        Ok(url) if url.scheme() == "https" && url.username().is_empty() && url.password().is_none() => url,
        Ok(_) | Err(_) => {
            problems.add(&span, "must be the path of a file or an https URL without a user name: whoever changes the keys on their way can name any caller");
            return None;
        }
    };
    Some(KeySource::Url { url, ca: raw.jwks_ca.as_ref().map(|ca| ca.get_ref().into()) })
}

fn parse_trusted(raw: &RawForwarded, problems: &mut Problems<'_>) -> TrustedPeers {
    let mut trusted = TrustedPeers::default();
    if raw.trusted.get_ref().is_empty() {
        problems.add(
            &raw.trusted.span(),
            "must list the peers that may forward an identity: \"loopback\", \"unix\", or both",
        );
    }
    for peer in raw.trusted.get_ref() {
        match peer.get_ref().as_str() {
            "loopback" => trusted.loopback = true,
            "unix" => trusted.unix = true,
            _ => problems
                .add(&peer.span(), "must be \"loopback\" or \"unix\": only a sidecar on this machine is trusted"),
        }
    }
    trusted
}

pub(super) fn parse_deny(raw: RawDeny, callers: &[CallerConfig], problems: &mut Problems<'_>) -> Denied {
    let mut denied = Denied::default();
    for text in &raw.callers {
        match problems.parse::<CallerName>(text) {
            Some(name) if callers.iter().any(|caller| caller.name == name) => _ = denied.callers.insert(name),
            Some(_) => problems.add(&text.span(), "must be the name of one of the [[callers]]"),
            None => {}
        }
    }
    for text in &raw.emails {
        denied.emails.extend(problems.parse::<Email>(text).map(|email| email.as_str().to_owned()));
    }
    denied.user_ids.extend(raw.user_ids);
    denied.tenants.extend(raw.tenants.iter().map(|slug| tenant::folded(slug)));
    denied
}
