//! What the fuzz targets reach of this layer, bytes to bytes. Compiled with `--cfg fuzzing` only; see `fuzz/README.md`.

use http::{HeaderMap, HeaderValue};
use prost::Message as _;

use super::{convert, forwarded};
use crate::domain::{auth_status::Judgement, identity::Identity, token_request::UnverifiedRequest};

/// The instance's name and the request that an `IssueMetabaseTokenRequest` holds; none if it is not one.
#[must_use]
pub fn issue_request(message: &[u8]) -> Option<(String, UnverifiedRequest)> {
    prost::Message::decode(message).ok().map(convert::issue_request)
}

/// A judgement as a `CheckAuthStatusResponse`.
#[must_use]
pub fn check_response(judgement: Judgement) -> Vec<u8> {
    convert::check_response(judgement).encode_to_vec()
}

/// Who the values of `x-forwarded-client-cert` say the caller is; none without values.
///
/// # Errors
/// Nobody, or nobody in particular.
pub fn xfcc(values: impl IntoIterator<Item = HeaderValue>) -> Result<Option<Identity>, String> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(&forwarded::XFCC, value);
    }
    forwarded::xfcc(&headers).map_err(|error| error.to_string())
}
