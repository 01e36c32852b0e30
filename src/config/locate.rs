//! Turns a position in the text of the configuration file into its line and the path of its key.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Location;

/// The text of a configuration file, for finding positions in it.
pub(super) struct Locator<'a> {
    text: &'a str,
    table: Option<Spanned<DeTable<'a>>>,
}

impl<'a> Locator<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        // A text that is not TOML still has lines.
        Self { text, table: DeTable::parse(text).ok() }
    }

    pub(super) fn locate(&self, span: &Range<usize>) -> Location {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let mut best = None;
        if let Some(table) = &self.table {
            search_table(table.get_ref(), "", span, &mut best);
        }
        Location { line, key: best.map(|(_, key)| key).unwrap_or_default() }
    }
}

/// The smallest key or value around the position, and its path.
type Best = Option<(usize, String)>;

fn search_table(table: &DeTable<'_>, path: &str, span: &Range<usize>, best: &mut Best) {
    for (key, value) in table {
        let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
        consider(&key.span(), &path, span, best);
        search_value(value, &path, span, best);
    }
}

fn search_value(value: &Spanned<DeValue<'_>>, path: &str, span: &Range<usize>, best: &mut Best) {
    consider(&value.span(), path, span, best);
    // The parts of a table may stand outside its own span, below its header: look into all of them.
    match value.get_ref() {
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                search_value(value, &format!("{path}[{index}]"), span, best);
            }
        }
        DeValue::Table(table) => search_table(table, path, span, best),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn consider(own: &Range<usize>, path: &str, span: &Range<usize>, best: &mut Best) {
    let contains = own.start <= span.start && span.end <= own.end;
    let is_smaller = best.as_ref().is_none_or(|(len, _)| own.len() <= *len);
    if contains && is_smaller {
        *best = Some((own.len(), path.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_found_by_line_and_key() {
        let text = "[server]\nlisten = \"x\"\n\n[[instances]]\nname = \"a\"\n[[instances]]\nname = \"b\"\nclaims = { email = \"m\" }\n";
        let locate = |part: &str| {
            let start = text.find(part).unwrap();
            let Location { line, key } = Locator::new(text).locate(&(start..start + part.len()));
            (line, key)
        };
        assert_eq!(locate("\"x\""), (2, "server.listen".to_owned()));
        assert_eq!(locate("\"a\""), (5, "instances[0].name".to_owned()));
        assert_eq!(locate("\"b\""), (7, "instances[1].name".to_owned()));
        assert_eq!(locate("\"m\""), (8, "instances[1].claims.email".to_owned()));
        assert_eq!(Locator::new("= broken").locate(&(0..1)), Location { line: 1, key: String::new() });
    }
}
