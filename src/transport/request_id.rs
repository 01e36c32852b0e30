//! Identifies a request, for whoever looks for it in the logs of several programs.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Metadata of requests and answers.
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a client's identifier.
const MAX_LEN: usize = 128;

/// Makes identifiers: random for the process, then counted.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: String,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        let mut process = [0; 8];
        // Without randomness, replicas make the same; nothing but a search suffers.
        let _ = rand::fill(&mut process);
        Self { process: const_hex::encode(process), next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    /// The client's identifier, if it has one that is fit for logs; otherwise a new one.
    pub(super) fn of(&self, metadata: &HeaderMap) -> HeaderValue {
        let given = metadata.get(&REQUEST_ID).filter(|id| is_fit(id.as_bytes()));
        let mut id = given.cloned().unwrap_or_else(|| self.make());
        // No secret, but never the same again: HPACK would remember each in place of what does come again, and look every new one up
        // among them (RFC 7541, section 7.1.3: "sensitive" is what is not to be indexed).
        id.set_sensitive(true);
        id
    }

    fn make(&self) -> HeaderValue {
        let id = format!("{}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
    }
}

/// The attack: line breaks, quotes or pages of text, in what ends up in the logs of others.
fn is_fit(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_identifier_is_remembered_by_hpack() {
        let ids = RequestIds::default();
        let given: HeaderMap = [(REQUEST_ID.clone(), HeaderValue::from_static("7f3a"))].into_iter().collect();
        for metadata in [HeaderMap::new(), given] {
            assert!(ids.of(&metadata).is_sensitive(), "{metadata:?}");
        }
    }
}
