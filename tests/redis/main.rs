//! The account store against a real Redis, which every test starts for itself; `tests/redis/run` installs it. Two replicas are two
//! processes of the real program.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should; figures are to be seen"
)]

mod cluster;
mod gathered;
mod histories;
#[path = "../../src/domain/account/model.rs"]
mod model;
mod outages;
mod race;
mod redis_process;
mod repeats;
mod replica;
mod sign_in;
mod store;
