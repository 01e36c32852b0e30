//! Who is on the other end: puts the proven `Caller` beside the request, or refuses it.

use tonic::{Request, Status};

use super::status;
use crate::domain::caller::{Caller, CallerName, Proof};

/// Authenticates every request as the configured local caller. The listener is loopback or a Unix socket, so that only
/// this machine reaches it; which caller that is, the configuration has to say.
pub(super) fn interceptor(
    local: Option<CallerName>,
) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
    let caller = local.map(|name| Caller { name, proof: Proof::Local });
    move |mut request| match &caller {
        Some(caller) => {
            request.extensions_mut().insert(caller.clone());
            Ok(request)
        }
        None => Err(status::unauthenticated()),
    }
}
