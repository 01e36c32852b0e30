//! The one service that holds Metabase's JWT shared secret and issues sign-in tokens with it.
//!
//! The code map, from the outside in; a module knows those below it, never those above:
//!
//! - [`cli`]: the command line
//! - [`app`], [`lifecycle`], [`reload`]: builds every part, runs, takes changed files into force, drains
//! - [`transport`]: gRPC and the metrics port; [`adapters`]: files, clock, audit log, account store, Metabase
//! - [`application`]: the use cases: issue a token, judge one
//! - [`config`]: the configuration file, parsed into domain types
//! - [`domain`]: the rules, without I/O
//! - [`hardening`]: a leaf: takes from the process what it does not need
//! - [`client`]: a leaf, and all there is without the feature `server`: what backends in Rust, and the command line, ask the service with
//! - [`telemetry`]: a leaf: logs and metrics; `http_client` and `regular_file`: leaves:
//!   what reads configured URLs and files

#[cfg(feature = "server")]
pub mod adapters;
#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod application;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod domain;
#[cfg(feature = "server")]
pub mod hardening;
#[cfg(feature = "server")]
mod http_client;
#[cfg(feature = "server")]
pub mod lifecycle;
#[cfg(feature = "client")]
pub mod proto;
#[cfg(feature = "server")]
mod regular_file;
#[cfg(feature = "server")]
pub mod reload;
#[cfg(feature = "server")]
mod report_metabase;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod transport;
