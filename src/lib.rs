//! x
#![expect(missing_docs)]
pub mod domain;
