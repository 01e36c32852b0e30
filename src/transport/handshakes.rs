//! TLS handshakes under way: when there are too many, the oldest gives way to the newest.
//!
//! The attack: connections that never finish their handshake take all the room there is, for which nobody has to prove anything. An
//! honest handshake is done in milliseconds, so that the oldest are those that will never be.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::admission::Admitted;

/// The part of the room for connections that handshakes may take.
const PART: usize = 4;
/// In a small room, the part would refuse what is harmless.
const LEAST_PART: usize = 16;

/// Those of one listener.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    under_way: Mutex<UnderWay>,
}

/// By number, so that the first is the oldest.
#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// With its place among the connections, which is free at once when it gives way.
    wanted: BTreeMap<u64, (oneshot::Sender<Infallible>, Admitted)>,
}

impl Handshakes {
    pub(super) fn new(max_connections: usize) -> Self {
        Self { most: (max_connections / PART).max(LEAST_PART), under_way: Mutex::default() }
    }

    /// One more. If no connection more can be accepted after it, or too many are under way, the oldest gives way.
    pub(super) fn begin(self: &Arc<Self>, admitted: Admitted) -> UnderWayHandshake {
        let (wanted, unwanted) = oneshot::channel();
        let is_full = admitted.is_last();
        let mut under_way = self.under_way();
        if is_full || under_way.wanted.len() >= self.most {
            drop(under_way.wanted.pop_first());
        }
        let number = under_way.next;
        under_way.next += 1;
        under_way.wanted.insert(number, (wanted, admitted));
        UnderWayHandshake { number, unwanted, handshakes: Arc::clone(self) }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Among those under way until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWayHandshake {
    number: u64,
    unwanted: oneshot::Receiver<Infallible>,
    handshakes: Arc<Handshakes>,
}

impl UnderWayHandshake {
    /// Resolves when it has to give way.
    pub(super) async fn superseded(&mut self) {
        let _ = (&mut self.unwanted).await;
    }

    /// It is done; none = it has given way before.
    pub(super) fn done(self) -> Option<Admitted> {
        self.handshakes.under_way().wanted.remove(&self.number).map(|(_, admitted)| admitted)
    }
}

impl Drop for UnderWayHandshake {
    fn drop(&mut self) {
        self.handshakes.under_way().wanted.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::transport::admission::Admission;

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many_or_no_connection_more_has_room() {
        let admission = Admission::new("grpc", 80, Arc::default());
        let handshakes = Arc::new(Handshakes::new(80));
        let begin = || handshakes.begin(admission.admit().unwrap());
        let mut all: Vec<_> = (0..20).map(|_| begin()).collect();
        assert_eq!(given_way(&mut all), [0_usize; 0]);
        all.push(begin());
        assert_eq!(given_way(&mut all), [0]);
        // What is done makes room among the handshakes, and stays a connection.
        let mut connections = vec![all.remove(1).done().unwrap()];
        all.push(begin());
        assert_eq!(given_way(&mut all), [0]);
        // All the room but one place is taken: the last is never given away for good.
        connections.extend((0..59).map_while(|_| admission.admit()));
        assert_eq!(connections.len(), 60);
        assert!(admission.admit().is_none());
        drop(connections.pop());
        all.push(begin());
        assert_eq!(given_way(&mut all), [0, 1]);
        assert!(all.remove(1).done().is_none());
        assert!(admission.admit().is_some());
    }

    fn given_way(all: &mut [UnderWayHandshake]) -> Vec<usize> {
        let mut given = Vec::new();
        for (index, one) in all.iter_mut().enumerate() {
            if one.unwanted.try_recv() == Err(TryRecvError::Closed) {
                given.push(index);
            }
        }
        given
    }
}
