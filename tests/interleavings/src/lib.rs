//! Every order in which threads can run and see each other's writes, for what the service shares without a lock. The files are the
//! service's own; only the atomics are loom's, which remember what else could have been read. Run it with
//! `cargo test --locked --manifest-path tests/interleavings/Cargo.toml`.

#![cfg(test)]

use loom::{
    sync::{Arc, atomic},
    thread,
};

#[path = "../../../src/transport/activity/in_flight.rs"]
mod in_flight;

use in_flight::InFlight;

/// The attack is none, but the outage is real: a connection that seems to have been quiet since long ago is closed under its client.
#[test]
fn whoever_sees_nothing_in_flight_sees_when_the_last_rpc_ended() {
    loom::model(|| {
        let in_flight = Arc::new(InFlight::new());
        in_flight.begin();
        let rpc = thread::spawn({
            let in_flight = Arc::clone(&in_flight);
            move || in_flight.end(5)
        });
        assert!(matches!(in_flight.quiet_since(), None | Some(5)));
        rpc.join().unwrap();
        assert_eq!(in_flight.quiet_since(), Some(5));
    });
}

#[test]
fn of_two_rpcs_the_later_end_counts_in_whatever_order_they_tell() {
    loom::model(|| {
        let in_flight = Arc::new(InFlight::new());
        let ends = [5, 7].map(|now| {
            in_flight.begin();
            let in_flight = Arc::clone(&in_flight);
            thread::spawn(move || in_flight.end(now))
        });
        assert!(matches!(in_flight.quiet_since(), None | Some(7)));
        for end in ends {
            end.join().unwrap();
        }
        assert_eq!(in_flight.quiet_since(), Some(7));
    });
}

#[test]
fn an_rpc_that_begins_meanwhile_is_seen_by_whoever_began_it() {
    loom::model(|| {
        let in_flight = Arc::new(InFlight::new());
        in_flight.begin();
        let other = thread::spawn({
            let in_flight = Arc::clone(&in_flight);
            move || {
                in_flight.begin();
                assert_eq!(in_flight.quiet_since(), None);
                in_flight.end(9);
            }
        });
        in_flight.end(3);
        assert!(matches!(in_flight.quiet_since(), None | Some(3 | 9)));
        other.join().unwrap();
        assert_eq!(in_flight.quiet_since(), Some(9));
    });
}
