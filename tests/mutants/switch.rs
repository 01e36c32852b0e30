//! Which mutant is switched on. Stands in the package under test as `crate::mutants`.

use std::{env, sync::LazyLock};

/// Whether it is this one.
pub fn is(id: usize) -> bool {
    static ON: LazyLock<Option<usize>> = LazyLock::new(|| env::var("MUTANT").ok()?.parse().ok());
    *ON == Some(id)
}
