//! `[tracing]`

use std::path::PathBuf;

use url::Url;

/// Where spans go, and how many.
#[derive(Clone, Debug)]
pub struct TracingConfig {
    /// Where spans go.
    pub endpoint: Url,
    /// Who vouches for it, if it is https.
    pub ca: Option<PathBuf>,
    /// The share of traces that are sampled, of those that begin here: from 0 to 1.
    pub sample_ratio: f64,
}

impl PartialEq for TracingConfig {
    fn eq(&self, other: &Self) -> bool {
        (&self.endpoint, &self.ca, self.sample_ratio.to_bits())
            == (&other.endpoint, &other.ca, other.sample_ratio.to_bits())
    }
}
