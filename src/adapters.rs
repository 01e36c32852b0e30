//! What touches the machine: the clock and the places that secrets are read from.

pub mod account_store;
pub mod audit_log;
pub mod clock;
pub mod environment;
pub mod file_stamps;
pub mod load_generation;
pub mod metabase_http;
pub mod secret_sources;
