//! Systems other than Linux: no measure holds there, and all of them say so.

use super::Measure;

fn unsupported(name: &'static str) -> Measure {
    Measure::degraded(name, "not supported on this system", "run the service on Linux")
}

pub(super) mod privileges {
    use super::{Measure, unsupported};

    pub(crate) fn core_dumps() -> Measure {
        unsupported("core_dumps")
    }

    pub(crate) fn dumpable() -> Measure {
        unsupported("dumpable")
    }

    pub(crate) fn new_privileges() -> Measure {
        unsupported("new_privileges")
    }
}

pub(super) mod memory {
    use super::{Measure, unsupported};

    pub(crate) fn lock() -> Measure {
        unsupported("memory")
    }
}

pub(super) mod landlock {
    use super::{super::Plan, Measure, unsupported};

    pub(crate) fn files(_: &Plan) -> Measure {
        unsupported("files")
    }

    pub(crate) fn network(_: &Plan) -> Measure {
        unsupported("network")
    }

    pub(crate) fn scope() -> Measure {
        unsupported("scope")
    }
}

pub(super) mod seccomp {
    use super::{Measure, unsupported};

    pub(crate) fn apply() -> Measure {
        unsupported("system_calls")
    }
}
