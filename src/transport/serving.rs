//! Serves connections, and asks each to leave when its time has come: of age, idle, or because the server leaves.
//!
//! A connection leaves by GOAWAY: what is in flight is finished, what comes later goes to a new connection, and no RPC fails.
//! (tonic's own `max_connection_age` has no jitter, and with a grace period cuts connections off without a GOAWAY.)

use std::{convert::Infallible, future::pending, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::{Request, Response};
use hyper::body::Incoming as RequestBody;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{body::Body, transport::server::Connected as _};
use tower::{Service, ServiceExt as _, util::Oneshot};

use super::{
    acceptor::{Accepted, Incoming},
    activity::{Activity, Followed},
    http2,
    peer::Peer,
    requests::{Requests, WithRequests},
};
use crate::{
    application::{audit::Settle, watch_metabase::jittered},
    config::Limits,
    telemetry::ConnectionEnd,
};

/// How long a client without an RPC in flight may take to answer GOAWAY. What it sent before it knew arrives within that.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves what is `incoming`; `settle` is done whenever requests of a connection have had their turn. From `leaving` on, connections are asked to leave; new ones are still answered, so that probes
/// are, and asked to leave soon. When all that were there at `leaving` have left, the address is free; resolves when the others
/// have left, too.
pub async fn serve<S>(service: S, mut incoming: Incoming, limits: Limits, settle: Settle, leaving: CancellationToken)
where
    S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let (connections, late_connections) = (TaskTracker::new(), TaskTracker::new());
    let own = || (service.clone(), settle.clone());
    let serve = |accepted| serve_connection(accepted, own(), limits, leaving.clone().cancelled_owned());
    loop {
        tokio::select! {
            biased;
            () = leaving.cancelled() => break,
            Some(accepted) = incoming.next() => drop(connections.spawn(serve(accepted))),
            else => break,
        }
    }
    connections.close();
    // Time for the first requests: GOAWAY before them would turn them away.
    let serve_late = |accepted| serve_connection(accepted, own(), limits, sleep(GOODBYE));
    loop {
        tokio::select! {
            biased;
            () = connections.wait() => break,
            Some(accepted) = incoming.next() => drop(late_connections.spawn(serve_late(accepted))),
            else => break,
        }
    }
    incoming.close();
    while let Some(accepted) = incoming.next().await {
        late_connections.spawn(serve_late(accepted));
    }
    late_connections.close();
    late_connections.wait().await;
}

async fn serve_connection<S>(
    accepted: Accepted,
    (service, settle): (S, Settle),
    limits: Limits,
    leaving: impl Future<Output = ()>,
) where
    S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Accepted { connection, mut admitted } = accepted;
    let activity = Arc::new(Activity::new());
    let service = OfConnection { inner: service, peer: connection.connect_info(), activity: Arc::clone(&activity) };
    let requests = Requests::default();
    let connection =
        pin!(http2::builder(&limits, requests.clone()).serve_connection(TokioIo::new(connection), service));
    let mut connection = WithRequests::new(connection, requests, settle);
    // Asked when it is woken, and not whenever a request comes: timers, and `leaving` with a lock that all connections share, are not for
    // the hot path.
    let mut reasons = FuturesUnordered::from_iter([reason_to_leave(leaving, limits, &activity)]);
    let end = tokio::select! {
        biased; // Finished work wins over an expired deadline.
        ended = &mut connection => return log(ended),
        Some(end) = reasons.next() => end,
    };
    admitted.end = end;
    let grace = match end {
        // What it asked for fills the memory. Whoever takes nothing hears no GOAWAY either.
        ConnectionEnd::Client | ConnectionEnd::Untaken => return,
        ConnectionEnd::Age | ConnectionEnd::Idle => Some(limits.max_connection_age_grace),
        ConnectionEnd::Drain => None,
    };
    connection.connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => log(ended),
        () = stuck(&activity) => {}
        () = after(grace) => {}
    }
}

/// Resolves when a connection that its client keeps is to end.
async fn reason_to_leave(leaving: impl Future<Output = ()>, limits: Limits, activity: &Activity) -> ConnectionEnd {
    tokio::select! {
        () = leaving => ConnectionEnd::Drain,
        end = time_is_up(limits, activity) => end,
    }
}

/// Resolves when one of the times of a connection is up, with one timer for all of them.
async fn time_is_up(limits: Limits, activity: &Activity) -> ConnectionEnd {
    let began = Instant::now();
    // Connections that began together, after a restart, do not all come back together.
    let max_age = limits.max_connection_age.map(jittered);
    let left = |most: Duration, so_far: Duration| most.saturating_sub(so_far);
    loop {
        let age = max_age.map(|most| (left(most, began.elapsed()), ConnectionEnd::Age));
        let idle = limits.idle_timeout.map(|most| (left(most, activity.quiet_for()), ConnectionEnd::Idle));
        let untaken = (left(limits.keepalive_timeout, activity.untaken_for()), ConnectionEnd::Untaken);
        let next =
            [age, idle].into_iter().flatten().fold(untaken, |next, time| if time.0 < next.0 { time } else { next });
        match next {
            (Duration::ZERO, end) => return end,
            (left, _) => sleep(left).await,
        }
    }
}

/// Resolves when the client has answered neither GOAWAY nor anything else, and nothing would be lost.
async fn stuck(activity: &Activity) {
    loop {
        sleep(GOODBYE).await;
        if activity.is_quiet() {
            return;
        }
    }
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "A connection broke");
    }
}

async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => pending().await,
    }
}

/// The service, as the requests of one connection get to it.
struct OfConnection<S> {
    inner: S,
    peer: Peer,
    activity: Arc<Activity>,
}

impl<S> hyper::service::Service<Request<RequestBody>> for OfConnection<S>
where
    S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<Followed<Body>>;
    type Error = Infallible;
    type Future = Followed<Oneshot<S, Request<RequestBody>>>;

    fn call(&self, mut request: Request<RequestBody>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.activity.follow(self.inner.clone().oneshot(request))
    }
}
