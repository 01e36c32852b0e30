//! What cargo-mutants lists.

use std::{error::Error, fs, ops::Range};

use serde::{Deserialize, Serialize};

/// One small change.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Mutant {
    pub name: String,
    pub file: String,
    pub genre: Genre,
    pub replacement: String,
    span: Span,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum Genre {
    /// Another operator.
    BinaryOperator,
    /// A value in place of a function's body.
    FnValue,
    /// One arm less.
    MatchArm,
    /// `true` or `false` in place of a guard.
    MatchArmGuard,
    /// One field less, which the base then gives.
    StructField,
    /// No `!` and no `-`.
    UnaryOperator,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Span {
    start: Position,
    end: Position,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Position {
    line: usize,
    column: usize,
}

impl Mutant {
    /// The list, in its order.
    pub fn load(path: &str) -> Result<Vec<Self>, Box<dyn Error>> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// The bytes that it replaces.
    pub fn range(&self, source: &str) -> Range<usize> {
        self.span.start.offset(source)..self.span.end.offset(source)
    }

    /// The text with the change in it.
    pub fn apply(&self, source: &str) -> String {
        let range = self.range(source);
        format!("{}{}{}", &source[..range.start], self.replacement, &source[range.end..])
    }
}

impl Position {
    fn offset(self, source: &str) -> usize {
        let line: usize = source.split_inclusive('\n').take(self.line - 1).map(str::len).sum();
        let before = source[line..].chars().take(self.column - 1);
        line + before.map(char::len_utf8).sum::<usize>()
    }
}
