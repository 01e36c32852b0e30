//! Maps that many threads use at once, each bounded, in the order of use.

use std::{
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::by_use::ByUse;

/// A power of two, far above the number of processors, so that two threads rarely want the same.
pub(super) const SHARDS: usize = 64;

/// One map in the order of use.
pub(super) type Shard<K, V> = ByUse<K, V, BuildHasherDefault<AsItIs>>;

/// Many maps, of which each key has one. A lock is held for a look-up and never while something is waited for.
pub(super) struct Sharded<K, V>(Box<[Mutex<Shard<K, V>>]>);

impl<K: Copy + Hash + Eq, V: Copy> Sharded<K, V> {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::new(ByUse::new())).collect())
    }

    /// The map of the keys whose hash ends with `byte`.
    pub(super) fn lock(&self, byte: u8) -> MutexGuard<'_, Shard<K, V>> {
        // Whoever panicked in the midst of a look-up left the map as it was.
        self.0[usize::from(byte) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For keys that are hashes already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}
