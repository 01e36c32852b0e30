//! What touches the machine and the network: files of configuration and secrets, the clock, the audit log, the account store, and
//! Metabase over HTTP.

pub mod account_store;
pub mod audit_log;
pub mod clock;
pub mod environment;
pub mod file_stamps;
pub mod load_generation;
pub mod metabase_http;
pub mod secret_sources;
