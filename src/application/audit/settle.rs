//! What requests leave to be done together, at the end of their turn.

use std::{fmt, sync::Arc};

/// Writes the records that wait, if that takes no waiting. The default has none to write.
#[derive(Clone, Default)]
pub struct Settle(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Settle {
    /// `write` tells whether there was anything to write.
    #[must_use]
    pub fn new(write: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(write)))
    }

    /// Does it. Whether there was anything.
    #[must_use]
    pub fn now(&self) -> bool {
        self.0.as_ref().is_some_and(|write| write())
    }
}

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle").finish_non_exhaustive()
    }
}
