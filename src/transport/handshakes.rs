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
    wanted: BTreeMap<u64, oneshot::Sender<Infallible>>,
}

impl Handshakes {
    pub(super) fn new(max_connections: usize) -> Self {
        Self { most: (max_connections / PART).max(LEAST_PART), under_way: Mutex::default() }
    }

    /// One more. `is_full` = no connection more can be accepted, unless one gives way.
    pub(super) fn begin(self: &Arc<Self>, is_full: bool) -> UnderWayHandshake {
        let (wanted, unwanted) = oneshot::channel();
        let mut under_way = self.under_way();
        if is_full || under_way.wanted.len() >= self.most {
            drop(under_way.wanted.pop_first());
        }
        let number = under_way.next;
        under_way.next += 1;
        under_way.wanted.insert(number, wanted);
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
}

impl Drop for UnderWayHandshake {
    fn drop(&mut self) {
        self.handshakes.under_way().wanted.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_oldest_gives_way_when_there_are_too_many_or_no_connection_more_has_room() {
        let handshakes = Arc::new(Handshakes::new(80));
        let mut all: Vec<_> = (0..20).map(|_| handshakes.begin(false)).collect();
        assert_eq!(given_way(&mut all), [0_usize; 0]);
        all.push(handshakes.begin(false));
        assert_eq!(given_way(&mut all), [0]);
        // What is done makes room.
        all.remove(1);
        all.push(handshakes.begin(false));
        assert_eq!(given_way(&mut all), [0]);
        all.push(handshakes.begin(true));
        assert_eq!(given_way(&mut all), [0, 1]);
    }

    fn given_way(all: &mut [UnderWayHandshake]) -> Vec<usize> {
        let all = all.iter_mut().enumerate();
        all.filter_map(|(index, one)| (&mut one.unwanted).now_or_never().map(|_| index)).collect()
    }
}
