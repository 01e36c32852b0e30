//! A request on its way in: how long its message may take to arrive, how many unfinished ones one caller may have, and
//! whether its client has gone.
//!
//! The attack: headers alone take room among the RPCs in flight (see [`super::limits`]), and cost their sender nothing. Honest
//! clients send headers and message together, so that the slow path here is theirs only when the network is slow.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::BoxError;

use super::{notes::Notes, status};
use crate::{application::generation::Generations, config::Limits, domain::caller::CallerName};

/// One caller's part of the room that unfinished requests may take.
const PART: usize = 4;
/// In a small room, the part would refuse what is harmless.
const LEAST_PART: usize = 16;
/// Those of nobody take no room, but 5 to 10 kB of memory each. Among them is what is refused in an overload, whose clients are not to be
/// punished by a reset.
const LEAST_OF_NOBODY: usize = 4096;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// Of the configuration.
    Caller(CallerName),
    /// Nobody proven: probes, and what is refused.
    Nobody,
    /// All proven callers that are not configured, so that nobody gains by being many of them.
    Stranger,
}

/// The unfinished requests of a listener that are being waited for.
#[derive(Debug)]
pub(super) struct Arrivals {
    timeout: Duration,
    most_of_a_caller: usize,
    most_of_nobody: usize,
    generations: Option<Arc<Generations>>,
    waiting: Mutex<HashMap<Who, usize>>,
}

impl Arrivals {
    pub(super) fn new(limits: &Limits, generations: Option<Arc<Generations>>) -> Self {
        let most_of_a_caller = (limits.max_in_flight / PART).max(LEAST_PART);
        let most_of_nobody = limits.max_in_flight.max(LEAST_OF_NOBODY);
        let (timeout, waiting) = (limits.body_timeout, Mutex::default());
        Self { timeout, most_of_a_caller, most_of_nobody, generations, waiting }
    }

    /// None = the caller has too many.
    fn wait_for(self: &Arc<Self>, notes: &Notes) -> Option<Awaited> {
        let who = match (&self.generations, notes.caller()) {
            (Some(generations), Some(caller)) => {
                generations.current().policy().name(caller).map_or(Who::Stranger, |name| Who::Caller(name.clone()))
            }
            (None, _) | (_, None) => Who::Nobody,
        };
        let most = if who == Who::Nobody { self.most_of_nobody } else { self.most_of_a_caller };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(who.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        let place = Place { who, arrivals: Arc::clone(self) };
        Some(Awaited { timeout: Box::pin(sleep(self.timeout)), _place: place })
    }
}

/// A request that is being waited for.
#[derive(Debug)]
struct Awaited {
    timeout: Pin<Box<Sleep>>,
    _place: Place,
}

/// Among the unfinished requests, until it is dropped.
#[derive(Debug)]
struct Place {
    who: Who,
    arrivals: Arc<Arrivals>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.arrivals.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.who);
            }
        }
    }
}

pin_project! {
    /// The body of a request. Its failure is noted: it comes from the client or from the way to it, and tonic makes a status of
    /// it that looks like a fault of ours.
    pub(super) struct Arriving<B> {
        #[pin]
        body: B,
        notes: Arc<Notes>,
        // None = a stream, whose client may take its time.
        arrivals: Option<Arc<Arrivals>>,
        awaited: Option<Awaited>,
    }
}

impl<B> Arriving<B> {
    pub(super) const fn new(body: B, notes: Arc<Notes>, arrivals: Option<Arc<Arrivals>>) -> Self {
        Self { body, notes, arrivals, awaited: None }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for Arriving<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            if let Some(Err(_)) = &frame {
                this.notes.cancel();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(arrivals) = this.arrivals else { return Poll::Pending };
        if this.awaited.is_none() {
            *this.awaited = arrivals.wait_for(this.notes);
        }
        // tonic answers with the status that it finds in a body's error.
        let Some(awaited) = this.awaited else { return Poll::Ready(Some(Err(status::too_many_unfinished().into()))) };
        ready!(awaited.timeout.as_mut().poll(cx));
        Poll::Ready(Some(Err(status::unfinished(arrivals.timeout).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
