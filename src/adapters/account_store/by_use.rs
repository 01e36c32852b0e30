//! A map in the order of use. All entries lie in one piece of memory, whose places are used again: a request allocates nothing here, and
//! what lives for hours does not lie between what lives for a request, which would make all other allocations slower.
//!
//! Keys lie with the entries alone, so that the table of places stays small, and near the processor: of a million entries, one look-up
//! waits for memory once.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

/// Where an entry lies, until it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

/// No entry: more of them would not fit into memory.
const NOWHERE: Place = Place(u32::MAX);

/// Within one line of the processor's cache, which one of the account store fills.
#[repr(align(64))]
struct Entry<K, V> {
    key: K,
    value: V,
    /// Of those that are free, the next one.
    older: Place,
    newer: Place,
}

/// Bounded by whoever puts something in.
pub(super) struct ByUse<K, V, S> {
    places: HashTable<Place>,
    entries: Vec<Entry<K, V>>,
    hasher: S,
    oldest: Place,
    newest: Place,
    free: Place,
}

impl<K: Copy + Eq + Hash, V: Copy, S: BuildHasher + Default> ByUse<K, V, S> {
    pub(super) fn new() -> Self {
        let (places, entries, hasher) = (HashTable::new(), Vec::new(), S::default());
        Self { places, entries, hasher, oldest: NOWHERE, newest: NOWHERE, free: NOWHERE }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn find(&self, key: &K) -> Option<Place> {
        let is_it = |place: &Place| self.entries[place.0 as usize].key == *key;
        self.places.find(self.hasher.hash_one(key), is_it).copied()
    }

    pub(super) fn at(&mut self, place: Place) -> &mut V {
        &mut self.entry(place).value
    }

    /// Makes it the newest.
    pub(super) fn used(&mut self, place: Place) {
        if place != self.newest {
            self.take_out(place);
            self.put_in(place);
        }
    }

    /// As the newest. The key is not there yet.
    pub(super) fn insert(&mut self, key: K, value: V) {
        let entry = Entry { key, value, older: NOWHERE, newer: NOWHERE };
        let place = self.free;
        let place = if place == NOWHERE {
            let place = Place(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
            self.entries.push(entry);
            place
        } else {
            self.free = self.entry(place).older;
            *self.entry(place) = entry;
            place
        };
        let Self { places, entries, hasher, .. } = self;
        places.insert_unique(hasher.hash_one(key), place, |place| hasher.hash_one(entries[place.0 as usize].key));
        self.put_in(place);
    }

    pub(super) fn oldest(&self) -> Option<&V> {
        self.entries.get(self.oldest.0 as usize).map(|entry| &entry.value)
    }

    pub(super) fn forget_oldest(&mut self) {
        let place = self.oldest;
        if place != NOWHERE {
            self.take_out(place);
            let key = self.entry(place).key;
            let hash = self.hasher.hash_one(key);
            // Every entry in the order has its place in the table.
            if let Ok(found) = self.places.find_entry(hash, |found| *found == place) {
                found.remove();
            }
            self.entry(place).older = self.free;
            self.free = place;
        }
    }

    fn entry(&mut self, place: Place) -> &mut Entry<K, V> {
        &mut self.entries[place.0 as usize]
    }

    fn take_out(&mut self, place: Place) {
        let &mut Entry { older, newer, .. } = self.entry(place);
        match older {
            NOWHERE => self.oldest = newer,
            older => self.entry(older).newer = newer,
        }
        match newer {
            NOWHERE => self.newest = older,
            newer => self.entry(newer).older = older,
        }
    }

    fn put_in(&mut self, place: Place) {
        let older = self.newest;
        let entry = self.entry(place);
        (entry.older, entry.newer) = (older, NOWHERE);
        match older {
            NOWHERE => self.oldest = place,
            older => self.entry(older).newer = place,
        }
        self.newest = place;
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        /// Judged by a list, the oldest first.
        #[test]
        fn the_order_is_that_of_use(steps in proptest::collection::vec((any::<bool>(), 0_u8..12), 0..200)) {
            let (mut map, mut list) = (ByUse::<u8, usize, RandomState>::new(), Vec::<(u8, usize)>::new());
            for (number, (forgets, key)) in steps.into_iter().enumerate() {
                let known = list.iter().position(|(listed, _)| *listed == key);
                prop_assert_eq!(map.find(&key).map(|place| *map.at(place)), known.map(|index| list[index].1));
                if forgets {
                    map.forget_oldest();
                    list = list.split_off(list.len().min(1));
                } else if let Some(index) = known {
                    map.find(&key).into_iter().for_each(|place| map.used(place));
                    let entry = list.remove(index);
                    list.push(entry);
                } else {
                    map.insert(key, number);
                    list.push((key, number));
                }
                prop_assert_eq!((map.len(), map.oldest()), (list.len(), list.first().map(|(_, number)| number)));
                // Places are used again.
                prop_assert_eq!(map.entries.len() <= 12, true);
            }
        }
    }
}
