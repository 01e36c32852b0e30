//! Builds the tests, and says which mutants the compiler refuses.

use std::{
    error::Error,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

/// What `cargo test --no-run` came to.
pub enum Built {
    Test(PathBuf),
    Refused(Vec<Refusal>),
}

/// One error of the compiler.
#[derive(Deserialize)]
pub struct Refusal {
    level: String,
    message: String,
    pub rendered: Option<String>,
    spans: Vec<Place>,
}

/// Where an error is, or what it is about.
#[derive(Deserialize)]
pub struct Place {
    pub file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Line {
    CompilerMessage {
        message: Refusal,
    },
    CompilerArtifact {
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

pub fn build(package: &Path, arguments: &[&str]) -> Result<Built, Box<dyn Error>> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(package).args(["test", "--no-run", "--quiet", "--message-format=json"]).args(arguments);
    let output = cargo.stderr(Stdio::null()).output()?;
    let (mut refusals, mut test) = (Vec::new(), None);
    for line in String::from_utf8(output.stdout)?.lines() {
        match serde_json::from_str(line)? {
            Line::CompilerMessage { message } if message.level == "error" => refusals.push(message),
            Line::CompilerArtifact { executable: Some(path) } => test = Some(path),
            Line::CompilerMessage { .. } | Line::CompilerArtifact { .. } | Line::Other => {}
        }
    }
    match test {
        Some(test) if output.status.success() => Ok(Built::Test(test)),
        _ if refusals.is_empty() => Err("cargo built nothing and named no error".into()),
        _ => Ok(Built::Refused(refusals)),
    }
}

impl Refusal {
    /// The places, the important ones first.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let primary = self.spans.iter().filter(|place| place.is_primary);
        primary.chain(self.spans.iter().filter(|place| !place.is_primary))
    }

    /// The function that would have to be `const`.
    pub fn not_const(&self) -> Option<&str> {
        let rest = self.message.strip_prefix("cannot call non-const ")?;
        let path = rest.split('`').nth(1)?;
        path.rsplit("::").next()
    }
}

impl Place {
    pub fn overlaps(&self, other: &Range<usize>) -> bool {
        self.byte_start < other.end && other.start < self.byte_end
    }
}
