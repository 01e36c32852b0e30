//! What the production configuration costs: mutual TLS, a policy, an audit log of durability "written" and metrics, against the
//! bare `serve --dev`: `cargo bench --locked --bench production`. Both are kept busy in turn, by the same client, on one CPU each. It asks
//! for one of many people after the other: a single one would have so many tokens that every answer and every record is a warning of a
//! shared account. Prints the throughput of both and their ratio, and fails when it is below 0.75.

#[path = "busy/mod.rs"]
mod busy;

use std::{process::ExitCode, sync::atomic::AtomicUsize};

use prost::Message as _;

use crate::busy::{
    Places, Server,
    production::{Production, of_many, request},
};

/// Fewer than the service remembers.
const PEOPLE: usize = 90_000;
const LEAST: f64 = 0.75;

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> ExitCode {
    let places = Places::take();
    let production = Production::prepare();
    let (config, message) = (production.config("production", "report", ""), request(1815).encode_to_vec());
    let (next_dev, next_production) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let dev = ["--dev", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let mut subjects = [
        (Server::start(&places, &dev, None, &message), of_many(PEOPLE, &next_dev)),
        (
            Server::start(&places, &["--config", &config], Some(&production.tls), &message),
            of_many(PEOPLE, &next_production),
        ),
    ];
    let all = busy::compare(&mut subjects);
    println!("serve --dev {}", all[0]);
    println!("production  {}", all[1]);
    let ratio = all[1].ratio(&all[0]);
    println!("ratio of throughput: {ratio:.2}; at least {LEAST} is asked for");
    if ratio >= LEAST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
