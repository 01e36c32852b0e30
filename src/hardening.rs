//! A leaf: takes from this process what it does not need, so that the secrets it holds leave it neither by a core dump, a
//! debugger or swap, nor by code that somebody smuggles in. Every measure tells whether it holds, and why not.

mod folders;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod memory;
mod plan;
#[cfg(target_os = "linux")]
mod privileges;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(not(target_os = "linux"))]
mod unsupported;

use std::fmt;

pub use self::plan::{Confinement, Plan};
#[cfg(not(target_os = "linux"))]
use self::unsupported::{landlock, memory, privileges, seccomp};

/// What became of one measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// As it is called in logs and in the documentation.
    pub name: &'static str,
    /// Whether it holds.
    pub outcome: Outcome,
}

/// Whether a measure holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does.
    Applied,
    /// It does not, or not wholly.
    Degraded {
        /// Why.
        reason: String,
        /// What would make it hold.
        way_out: String,
    },
}

impl Measure {
    fn applied(name: &'static str) -> Self {
        Self { name, outcome: Outcome::Applied }
    }

    fn degraded(name: &'static str, reason: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Degraded { reason: reason.into(), way_out: way_out.into() } }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Applied => write!(f, "{}: applied", self.name),
            Outcome::Degraded { reason, way_out } => write!(f, "{}: {reason}; {way_out}", self.name),
        }
    }
}

/// Every measure, in the order in which they were taken.
#[derive(Clone, Debug)]
pub struct Report {
    /// One entry each.
    pub measures: Vec<Measure>,
    /// What can still be reached.
    pub confinement: Confinement,
}

impl Report {
    /// The measures that do not hold.
    pub fn degraded(&self) -> impl Iterator<Item = &Measure> {
        self.measures.iter().filter(|measure| measure.outcome != Outcome::Applied)
    }

    /// One line for all that holds, one for each that does not.
    pub fn log(&self, is_dev: bool) {
        let applied = self.measures.iter().filter(|measure| measure.outcome == Outcome::Applied);
        let names: Vec<&str> = applied.map(|measure| measure.name).collect();
        tracing::info!(applied = names.join(","), "Hardened");
        for measure in self.degraded() {
            if is_dev {
                tracing::info!(measure = measure.name, "Not hardened: {measure}");
            } else {
                tracing::warn!(measure = measure.name, "Not hardened: {measure}");
            }
        }
    }
}

/// The measures that need no configuration, taken before any secret is read.
#[derive(Debug)]
pub struct Begun(Vec<Measure>);

/// Takes the measures that need no configuration: no core dumps, no debugger, no new privileges.
#[must_use]
pub fn begin() -> Begun {
    Begun(vec![privileges::core_dumps(), privileges::dumpable(), privileges::new_privileges()])
}

impl Begun {
    /// Takes the others. Landlock and seccomp hold for the calling thread and those that it starts from now on, so this comes
    /// before the runtime and the log writer.
    #[must_use]
    pub fn finish(self, plan: &Plan) -> Report {
        let Self(mut measures) = self;
        measures.push(memory::lock());
        measures.push(plan.environment());
        let (files, network, scope) = (landlock::files(plan), landlock::network(plan), landlock::scope());
        let holds = |measure: &Measure| measure.outcome == Outcome::Applied;
        let confinement = plan.confinement(holds(&files), holds(&network));
        // Last, because it forbids what the others need.
        measures.extend([files, network, scope, seccomp::apply()]);
        Report { measures, confinement }
    }
}

/// Takes all measures. Core dumps, the debugger and memory concern the process; the others only the calling thread and those that it
/// starts, so that a thread of its own can find out what would hold.
#[must_use]
pub fn apply(plan: &Plan) -> Report {
    begin().finish(plan)
}
