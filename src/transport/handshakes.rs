//! TLS handshakes under way: when there are too many, one gives way to the newest.
//!
//! The attack: connections that never finish their handshake take all the room there is, for which nobody has to prove anything. The
//! oldest of those that have not even said hello goes first: honest clients say it at once. Each has a moment before it goes, and newcomers
//! wait meanwhile: after an outage all clients come back together, and it is this service's own work that keeps them waiting.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout},
};

use super::admission::Admitted;

/// The part of the room for connections that handshakes may take.
const PART: usize = 4;
/// In a small room, the part would refuse what is harmless.
const LEAST_PART: usize = 16;
/// What a client has at least: before it has said hello, which takes a round trip, and after it. With longer ones, fewer connections would
/// do to hold up the others.
const GRACE: Grace = Grace { silent: Duration::from_millis(100), greeted: Duration::from_millis(250) };

/// Those of one listener.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    grace: Grace,
    under_way: Mutex<UnderWay>,
    /// Told when one has ended.
    ended: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Grace {
    silent: Duration,
    greeted: Duration,
}

/// By number, so that the first is the oldest.
#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// That have not said hello.
    silent: BTreeMap<u64, Place>,
    greeted: BTreeMap<u64, Place>,
}

#[derive(Debug)]
struct Place {
    /// When it was accepted, or said hello.
    since: Instant,
    _wanted: oneshot::Sender<Infallible>,
    /// Free at once when the handshake gives way.
    admitted: Admitted,
}

impl Handshakes {
    pub(super) fn new(max_connections: usize) -> Self {
        let most = (max_connections / PART).max(LEAST_PART);
        Self { most, grace: GRACE, under_way: Mutex::default(), ended: Notify::new() }
    }

    /// One more, and what resolves when it has to give way. If no connection more can be accepted after it, or too many are under way,
    /// another gives way, now or in a moment.
    pub(super) async fn begin(
        self: &Arc<Self>,
        admitted: Admitted,
    ) -> (UnderWayHandshake, oneshot::Receiver<Infallible>) {
        while let Err(moment) = self.make_room(&admitted) {
            let _ = timeout(moment, self.ended.notified()).await;
        }
        let (wanted, unwanted) = oneshot::channel();
        let mut under_way = self.under_way();
        let number = under_way.next;
        under_way.next += 1;
        under_way.silent.insert(number, Place { since: Instant::now(), _wanted: wanted, admitted });
        (UnderWayHandshake { number, handshakes: Arc::clone(self) }, unwanted)
    }

    /// The error is the time after which somebody gives way.
    fn make_room(&self, admitted: &Admitted) -> Result<(), Duration> {
        let mut under_way = self.under_way();
        let is_full = admitted.is_last() || under_way.silent.len() + under_way.greeted.len() >= self.most;
        if !is_full {
            return Ok(());
        }
        let UnderWay { silent, greeted, .. } = &mut *under_way;
        let (oldest, grace) = match (silent.first_entry(), greeted.first_entry()) {
            (Some(oldest), _) => (oldest, self.grace.silent),
            (None, Some(oldest)) => (oldest, self.grace.greeted),
            (None, None) => return Ok(()),
        };
        match grace.checked_sub(oldest.get().since.elapsed()) {
            None | Some(Duration::ZERO) => {
                oldest.remove();
                Ok(())
            }
            Some(moment) => Err(moment),
        }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Among those under way until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWayHandshake {
    number: u64,
    handshakes: Arc<Handshakes>,
}

impl UnderWayHandshake {
    /// The client has said hello (`ClientHello`, RFC 8446, section 4.1.2).
    pub(super) fn greeted(&self) {
        let mut under_way = self.handshakes.under_way();
        if let Some(place) = under_way.silent.remove(&self.number) {
            under_way.greeted.insert(self.number, Place { since: Instant::now(), ..place });
        }
    }

    /// It is done; none = it has given way before.
    pub(super) fn done(self) -> Option<Admitted> {
        self.end().map(|place| place.admitted)
    }

    fn end(&self) -> Option<Place> {
        let mut under_way = self.handshakes.under_way();
        let silent = under_way.silent.remove(&self.number);
        silent.or_else(|| under_way.greeted.remove(&self.number))
    }
}

impl Drop for UnderWayHandshake {
    fn drop(&mut self) {
        drop(self.end());
        self.handshakes.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::transport::admission::Admission;

    const NEVER: Duration = Duration::from_hours(1);

    fn handshakes(max_connections: usize, silent: Duration, greeted: Duration) -> Arc<Handshakes> {
        Arc::new(Handshakes { grace: Grace { silent, greeted }, ..Handshakes::new(max_connections) })
    }

    #[tokio::test]
    async fn the_oldest_gives_way_when_there_are_too_many_or_no_connection_more_has_room() {
        let admission = Admission::new("grpc", 80, Arc::default());
        let handshakes = handshakes(80, Duration::ZERO, NEVER);
        let next = async || handshakes.begin(admission.admit().unwrap()).await;
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(next().await);
        }
        assert_eq!(given_way(&mut all), [0_usize; 0]);
        all.push(next().await);
        assert_eq!(given_way(&mut all), [0]);
        // What is done makes room among the handshakes, and stays a connection.
        let mut connections = vec![all.remove(1).0.done().unwrap()];
        all.push(next().await);
        assert_eq!(given_way(&mut all), [0]);
        // All the room but one place is taken: the last is never given away for good.
        connections.extend((0..59).map_while(|_| admission.admit()));
        assert_eq!(connections.len(), 60);
        assert!(admission.admit().is_none());
        drop(connections.pop());
        all.push(next().await);
        assert_eq!(given_way(&mut all), [0, 1]);
        assert!(all.remove(1).0.done().is_none());
        assert!(admission.admit().is_some());
    }

    #[tokio::test]
    async fn who_has_said_hello_has_a_moment_and_who_has_not_goes_first() {
        for (grace, gone) in [(NEVER, vec![5]), (Duration::from_millis(1), vec![0, 5])] {
            let admission = Admission::new("grpc", 64, Arc::default());
            let handshakes = handshakes(64, Duration::from_millis(1), grace);
            let next = async || handshakes.begin(admission.admit().unwrap()).await;
            let mut all = Vec::new();
            for _ in 0..16 {
                all.push(next().await);
            }
            all.iter().filter(|(one, _)| one.number != 5).for_each(|(one, _)| one.greeted());
            all.push(next().await);
            assert_eq!(given_way(&mut all), [5]);
            all[16].0.greeted();
            // All have said hello: one that ends makes room, and otherwise the oldest goes when it has had its moment.
            let mut newest = pin!(next());
            if grace == NEVER {
                assert!(newest.as_mut().now_or_never().is_none());
                assert!(all.pop().unwrap().0.done().is_some());
            }
            let _newest = newest.await;
            assert_eq!(given_way(&mut all), gone);
        }
    }

    #[tokio::test]
    async fn who_was_accepted_a_moment_ago_is_waited_for() {
        let admission = Admission::new("grpc", 64, Arc::default());
        let handshakes = handshakes(64, NEVER, Duration::ZERO);
        let next = async || handshakes.begin(admission.admit().unwrap()).await;
        let mut all = Vec::new();
        for _ in 0..16 {
            all.push(next().await);
        }
        // Even where others have said hello long ago.
        all[3].0.greeted();
        let mut newest = pin!(next());
        assert!(newest.as_mut().now_or_never().is_none());
        drop(all.remove(7));
        let _newest = newest.await;
        assert_eq!(given_way(&mut all), [0_usize; 0]);
    }

    fn given_way(all: &mut [(UnderWayHandshake, oneshot::Receiver<Infallible>)]) -> Vec<usize> {
        let mut given = Vec::new();
        for (index, (_, superseded)) in all.iter_mut().enumerate() {
            if superseded.try_recv() == Err(TryRecvError::Closed) {
                given.push(index);
            }
        }
        given
    }
}
