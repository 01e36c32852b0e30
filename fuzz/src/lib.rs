//! What the fuzz targets check, and the second implementations that they compare the service with. Those are written from the
//! specifications and from `docs/`, not from the service's code, and share nothing with it.

pub mod audit;
mod base64url;
mod buddy;
pub mod config;
pub mod identity;
mod jackson;
pub mod judge;
mod jvm_number;
pub mod request;
pub mod return_to;
mod service;
pub mod xfcc;
