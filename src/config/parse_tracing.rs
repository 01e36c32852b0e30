//! From the shape of `[tracing]` to valid types.

use url::Url;

use super::{TracingConfig, parse::Problems, raw::RawTracing};

pub(super) fn parse_tracing(raw: &RawTracing, problems: &mut Problems<'_>) -> Option<TracingConfig> {
    let text = &raw.otlp_endpoint;
    let is_endpoint = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/";
    let endpoint = Url::parse(text.get_ref()).ok().filter(is_endpoint);
    if endpoint.is_none() {
        let rule = "must be the address of an OTLP receiver over gRPC, such as \"http://127.0.0.1:4317\"";
        problems.add(&text.span(), rule);
    }
    let is_https = endpoint.as_ref().is_none_or(|url| url.scheme() == "https");
    match &raw.otlp_ca {
        Some(ca) if !is_https => {
            problems.add(&ca.span(), "has no use with an http endpoint: remove it, or make it https");
        }
        None if is_https && endpoint.is_some() => {
            problems.add(&text.span(), "needs `otlp_ca`, the CA to trust, because it is https");
        }
        Some(_) | None => {}
    }
    let ratio = raw.sample_ratio.as_ref().map_or(1.0, |ratio| *ratio.get_ref());
    if let Some(given) = raw.sample_ratio.as_ref().filter(|_| !(0.0..=1.0).contains(&ratio)) {
        problems.add(&given.span(), "must be from 0.0 to 1.0");
    }
    let ca = raw.otlp_ca.as_ref().map(|ca| ca.get_ref().into());
    Some(TracingConfig { endpoint: endpoint?, ca, sample_ratio: ratio })
}
