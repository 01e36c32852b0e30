//! The one service that holds Metabase's JWT shared secret and issues sign-in tokens with it.
//!
//! The code map, from the outside in; a module knows those below it, never those above:
//!
//! - [`cli`]: the command line
//! - [`app`], [`lifecycle`], [`reload`]: builds every part, runs, takes changed files into force, drains
//! - [`transport`]: gRPC and the metrics port; [`adapters`]: clock, environment, secret files
//! - [`application`]: the use cases: issue a token, judge one
//! - [`config`]: the configuration file, parsed into domain types
//! - [`domain`]: the rules, without I/O
//! - [`hardening`]: a leaf: takes from the process what it does not need
//! - [`telemetry`]: a leaf: logs and metrics; `http_client` and `regular_file`: leaves:
//!   what reads configured URLs and files

pub mod adapters;
pub mod app;
pub mod application;
pub mod cli;
pub mod config;
pub mod domain;
pub mod hardening;
mod http_client;
pub mod lifecycle;
mod regular_file;
pub mod reload;
mod report_metabase;
pub mod telemetry;
pub mod transport;
