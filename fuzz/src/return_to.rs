//! `return_to` and `sso_url`: what is kept stays on the instance, Java reads it, reading it again changes nothing, and a browser that
//! follows `sso_url` hands Metabase exactly that. Parsed here by the expression of RFC 3986, appendix B, and by the `http` crate; the
//! service parses with `url`.

use http::Uri;
use metabase_token_service::domain::{instance::InstanceUrl, return_to::ReturnTo};

use crate::service::SERVICE;

/// Base URL, origin.
const INSTANCES: [(&str, &str); 3] = [
    ("https://bi.example.com/metabase", "https://bi.example.com"),
    ("http://localhost:3000/", "http://localhost:3000"),
    ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
];

pub fn check(input: &[u8]) {
    let Ok(given) = str::from_utf8(input) else { return };
    for (base, origin) in INSTANCES {
        let instance: InstanceUrl = base.parse().expect("it is a URL");
        match ReturnTo::parse(given, &instance) {
            Ok(kept) => check_kept(given, &kept, &instance, base, origin),
            Err(error) => assert!(!is_plain(given), "{given:?} {error}"),
        }
    }
}

fn check_kept(given: &str, kept: &ReturnTo, instance: &InstanceUrl, base: &str, origin: &str) {
    let text = kept.as_str();
    let parts = Parts::of(text);
    if given.starts_with('/') || given.is_empty() {
        // No scheme, no host; and no browser takes its beginning for a host.
        assert!(parts.scheme.is_none() && parts.authority.is_none(), "{given:?} {text:?}");
        assert!(text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\"), "{given:?} {text:?}");
    } else {
        let own = format!("{}://{}", parts.scheme.unwrap_or_default(), parts.authority.unwrap_or_default());
        assert_eq!(own, origin, "{given:?}");
    }
    assert!(parts.is_read_by_java(), "{given:?} {text:?}");
    assert_eq!(ReturnTo::parse(text, instance).as_ref(), Ok(kept), "{given:?}");
    if is_plain(given) {
        assert_eq!(text, if given.is_empty() { "/" } else { given });
    }
    check_sso_url(text, kept, instance, base, origin);
}

/// Nothing that any reader could take for something else: it has to be kept as it is.
fn is_plain(given: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_?=&".contains(c);
    given.len() <= 1000
        && !given.contains("//")
        && given.chars().all(is_plain)
        && (given.is_empty() || given.starts_with('/'))
}

fn check_sso_url(text: &str, kept: &ReturnTo, instance: &InstanceUrl, base: &str, origin: &str) {
    let token = SERVICE.key.probe();
    let url = kept.sso_url(instance, &token);
    let prefix = format!("{}/auth/sso?jwt={}&return_to=", base.trim_end_matches('/'), token.expose());
    let value = url.strip_prefix(&prefix).unwrap_or_else(|| panic!("{url}"));
    assert_eq!(decode(value), text.as_bytes());
    let uri: Uri = url.parse().unwrap_or_else(|error| panic!("{error}: {url}"));
    let own = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().expect("it has a host"));
    assert_eq!(own, origin);
    assert!(uri.path().ends_with("/auth/sso"));
    assert_eq!(uri.query().map(|query| query.split('&').count()), Some(2), "{url}");
    assert!(url.len() < 8192 - 1024, "{}", url.len());
}

/// Only unreserved characters and escapes.
fn decode(value: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), value.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: String = rest.by_ref().take(2).map(char::from).collect();
            bytes.push(u8::from_str_radix(&digits, 16).expect("an escape has two digits"));
        } else {
            assert!(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte), "{value}");
            bytes.push(byte);
        }
    }
    bytes
}

/// `^(([^:/?#]+):)?(//([^/?#]*))?([^?#]*)(\?([^#]*))?(#(.*))?`
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (rest, fragment) = text.split_once('#').map_or((text, None), |(rest, after)| (rest, Some(after)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, after)| (rest, Some(after)));
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, after)) if !scheme.is_empty() && !scheme.contains('/') => (Some(scheme), after),
            _ => (None, rest),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            None => (None, rest),
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
        };
        Self { scheme, authority, path, query, fragment }
    }

    /// The grammar of `java.net.URI`, without the letters beyond ASCII that it lets pass.
    fn is_read_by_java(&self) -> bool {
        const PATH: &str = "-_.!~*'():@&=+$,;/";
        const URIC: &str = "-_.!~*'();/?:@&=+$,[]";
        let all = |text: &str, allowed: &str| {
            let mut rest = text.bytes();
            while let Some(byte) = rest.next() {
                let is_escape = byte == b'%' && rest.by_ref().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
                if !is_escape && !byte.is_ascii_alphanumeric() && !allowed.contains(char::from(byte)) {
                    return false;
                }
            }
            true
        };
        all(self.path, PATH)
            && self.query.is_none_or(|query| all(query, URIC))
            && self.fragment.is_none_or(|fragment| all(fragment, URIC))
    }
}
