//! Identities that a mesh sidecar on this machine forwards: Envoy's `x-forwarded-client-cert` and Linkerd's `l5d-client-id`.

use http::{HeaderMap, HeaderName};
use thiserror::Error;

use crate::domain::identity::{DnsName, Identity, InvalidIdentity, InvalidSpiffeId};

pub(super) static XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
pub(super) static L5D_CLIENT_ID: HeaderName = HeaderName::from_static("l5d-client-id");

/// Bytes of a header; Envoy's own limit for all headers together is 60 KiB, and a real one has a few hundred.
const MAX_BYTES: usize = 8 * 1024;

/// Why a forwarded identity cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum InvalidForwarded {
    #[error("{0}")]
    Identity(#[from] InvalidIdentity),
    #[error("its last element names more than one DNS name and no URI")]
    ManyDnsNames,
    #[error("the header is given more than once")]
    ManyHeaders,
    #[error("its last element names more than one URI; an SVID has exactly one")]
    ManyUris,
    #[error("its last element names neither a URI nor a DNS name")]
    NoName,
    #[error("{0}")]
    SpiffeId(#[from] InvalidSpiffeId),
    #[error("it is not of the form KEY=VALUE;KEY=\"VALUE\",…")]
    Syntax,
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLong,
}

/// The identity that the sidecar itself has verified: that of the last element. Elements before it were there when the
/// request arrived at the sidecar, and prove nothing (Envoy, `forward_client_cert_details: APPEND_FORWARD`).
pub(super) fn xfcc(headers: &HeaderMap) -> Result<Option<Identity>, InvalidForwarded> {
    let Some(text) = single(headers, &XFCC)? else { return Ok(None) };
    let pairs = parse_last_element(text)?;
    let values = |key: &str| {
        let of_key = pairs.iter().filter(|(own, _)| own.eq_ignore_ascii_case(key));
        of_key.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()).collect::<Vec<_>>()
    };
    match (values("URI").as_slice(), values("DNS").as_slice()) {
        ([uri], _) => Ok(Some(Identity::Spiffe(uri.parse()?))),
        ([], [name]) => Ok(Some(Identity::Dns(name.parse()?))),
        ([], []) => Err(InvalidForwarded::NoName),
        ([], _) => Err(InvalidForwarded::ManyDnsNames),
        _ => Err(InvalidForwarded::ManyUris),
    }
}

/// The DNS-like name of the workload in Linkerd's mesh.
pub(super) fn l5d_client_id(headers: &HeaderMap) -> Result<Option<Identity>, InvalidForwarded> {
    let Some(text) = single(headers, &L5D_CLIENT_ID)? else { return Ok(None) };
    Ok(Some(Identity::Dns(text.parse::<DnsName>()?)))
}

/// The attack: a client sends a header of its own beside the sidecar's, and hopes that the other is read.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, InvalidForwarded> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(InvalidForwarded::ManyHeaders),
        (Some(value), None) if value.len() > MAX_BYTES => Err(InvalidForwarded::TooLong),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| InvalidForwarded::Syntax),
    }
}

/// Keys and values of the last element. Elements are separated by commas, pairs by semicolons; a value that holds one of
/// `,;="` is quoted, and within quotes a backslash escapes a quote.
fn parse_last_element(text: &str) -> Result<Vec<(String, String)>, InvalidForwarded> {
    let (mut pairs, mut rest) = (Vec::new(), text);
    loop {
        let (key, after) = rest.split_once('=').ok_or(InvalidForwarded::Syntax)?;
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(InvalidForwarded::Syntax);
        }
        let (value, after) = parse_value(after)?;
        pairs.push((key.to_owned(), value));
        let after = after.trim_start();
        match after.chars().next() {
            None => return Ok(pairs),
            Some(';') => {}
            Some(',') => pairs.clear(),
            Some(_) => return Err(InvalidForwarded::Syntax),
        }
        rest = &after[1..];
        // A separator at the end announces a pair that is not there.
        if rest.trim().is_empty() {
            return Err(InvalidForwarded::Syntax);
        }
    }
}

/// The value that `text` begins with, and what follows it.
fn parse_value(text: &str) -> Result<(String, &str), InvalidForwarded> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';']).unwrap_or(text.len());
        let value = &text[..end];
        return if value.contains(['"', '=']) {
            Err(InvalidForwarded::Syntax)
        } else {
            Ok((value.trim().to_owned(), &text[end..]))
        };
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => return Err(InvalidForwarded::Syntax),
            },
            _ => value.push(c),
        }
    }
    Err(InvalidForwarded::Syntax)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(text: &str) -> Result<String, InvalidForwarded> {
        let headers = [(XFCC.clone(), HeaderValue::from_str(text).unwrap())].into_iter().collect();
        xfcc(&headers).map(|identity| identity.unwrap().to_string())
    }

    #[test]
    fn the_last_element_is_the_sidecars() {
        for (text, identity) in [
            (
                "By=spiffe://a.org/us;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;URI=spiffe://a.org/web",
                "spiffe://a.org/web",
            ),
            ("URI=spiffe://a.org/forged,By=spiffe://a.org/us;URI=spiffe://a.org/web", "spiffe://a.org/web"),
            (
                "Hash=aa;Subject=\"CN=web,OU=\\\"a;b\\\",O=x\";URI=spiffe://a.org/web;DNS=web.example",
                "spiffe://a.org/web",
            ),
            ("Subject=\"/C=US;URI=spiffe://a.org/forged\";DNS=Web.example", "web.example"),
            ("Hash=aa;URI=;DNS=web.example", "web.example"),
            ("hash=aa; uri=\"spiffe://a.org/web\"", "spiffe://a.org/web"),
            ("Cert=\"-----BEGIN%20CERTIFICATE-----%0AMIIC\";URI=spiffe://a.org/web", "spiffe://a.org/web"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(identity), "{text}");
        }
    }

    #[test]
    fn what_names_no_single_caller_is_refused() {
        use InvalidForwarded::{ManyDnsNames, ManyUris, NoName, Syntax, TooLong};
        for (text, error) in [
            ("", Syntax),
            ("spiffe://a.org/web", Syntax),
            ("URI", Syntax),
            ("=x", Syntax),
            ("URI=spiffe://a.org/web;", Syntax),
            ("URI=spiffe://a.org/web,", Syntax),
            ("URI=\"spiffe://a.org/web", Syntax),
            ("URI=\"spiffe://a.org/web\"x", Syntax),
            ("URI=a=b", Syntax),
            ("Hash=aa", NoName),
            ("URI=spiffe://a.org/web,Hash=aa", NoName),
            ("URI=spiffe://a.org/web;URI=spiffe://a.org/eve", ManyUris),
            ("DNS=a.example;DNS=b.example", ManyDnsNames),
            ("URI=https://a.org/web", InvalidForwarded::SpiffeId(InvalidSpiffeId::Scheme)),
            ("DNS=*.example", InvalidForwarded::Identity(InvalidIdentity::Dns)),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
        assert_eq!(read(&format!("Hash={}", "a".repeat(MAX_BYTES))), Err(TooLong));
    }

    #[test]
    fn a_second_header_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append(&L5D_CLIENT_ID, HeaderValue::from_static("web.shop"));
        assert_eq!(l5d_client_id(&headers).unwrap().unwrap().to_string(), "web.shop");
        headers.append(&L5D_CLIENT_ID, HeaderValue::from_static("eve.shop"));
        assert_eq!(l5d_client_id(&headers), Err(InvalidForwarded::ManyHeaders));
    }
}
