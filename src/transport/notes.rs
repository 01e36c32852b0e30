//! What the layers below tell the outermost one about a request: whose it is, and whether its client has gone.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use http::{Extensions, HeaderValue};

use crate::domain::caller::Caller;

/// About one request.
#[derive(Debug)]
pub(super) struct Notes {
    request_id: HeaderValue,
    caller: OnceLock<Caller>,
    is_cancelled: AtomicBool,
}

impl Notes {
    /// Of the request that is known by this.
    pub(super) const fn new(request_id: HeaderValue) -> Self {
        Self { request_id, caller: OnceLock::new(), is_cancelled: AtomicBool::new(false) }
    }

    /// By what the request is known.
    pub(super) const fn id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// By what the request with these extensions is known.
    pub(super) fn request_id(extensions: &Extensions) -> Option<&str> {
        extensions.get::<Arc<Self>>()?.request_id.to_str().ok()
    }

    /// Notes who has proven to be the caller of the request with these extensions.
    pub(super) fn proven(extensions: &Extensions, caller: &Caller) {
        if let Some(notes) = extensions.get::<Arc<Self>>() {
            let _ = notes.caller.set(caller.clone());
        }
    }

    /// None = nobody has proven to be.
    pub(super) fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    /// Notes that the client took the request back, or went away, before the request was complete.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it did.
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}
