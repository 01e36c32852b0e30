//! docs/configuration.md says what the parser takes: every key, every named value, every default. The parser itself is asked,
//! so that nothing has to be listed here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use metabase_token_service::config::Config;
use toml::{Table, Value};

use crate::harness::sources;

const DOCUMENT: &str = include_str!("../../docs/configuration.md");

/// One of each table that has defaults, with nothing but what is required, or has a default that depends on something else.
const MINIMAL: &str = r#"
[tracing]
otlp_endpoint = "http://127.0.0.1:4317"
[audit]
sink = "stdout"
subject = "hash"
subject_key = { env = "SUBJECTS" }
[accounts.redis]
urls = ["rediss://redis.example.com"]
hash_key = { env = "ACCOUNTS" }
on_store_failure = "deny"
[[instances]]
name = "main"
shared_secret = { env = "MAIN" }
[[callers]]
name = "shop"
user_directory = "people"
[[callers.grants]]
instance = "main"
"#;

/// What the parser takes as the value of a key.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    /// Whatever it is, only to refuse it.
    Anything,
    /// A table that may have one of these keys, among other forms.
    Forms(BTreeSet<String>),
    /// A table or an array of tables, whose own keys follow.
    Table,
    /// A value of a type.
    Typed,
    /// One of these strings.
    Words(Vec<String>),
}

/// All keys that the parser takes, with the path of their table.
fn accepted() -> BTreeMap<String, Shape> {
    let mut found = BTreeMap::new();
    for key in expected(&refusal("unknown_key = 1")) {
        probe(&key, &format!("{key} = "), "", &mut found);
    }
    found
}

/// Finds the shape of the value between `open` and `close`, and all keys in it, by an unknown key that is put there.
fn probe(path: &str, open: &str, close: &str, found: &mut BTreeMap<String, Shape>) {
    let words = refusal(&format!("{open}\"unknown_key\"{close}"));
    if words.starts_with("unknown variant") {
        found.insert(path.to_owned(), Shape::Words(expected(&words)));
        return;
    }
    let mut shape = Shape::Anything;
    for (array_open, array_close) in [("", ""), ("[", "]")] {
        let rule = refusal(&format!("{open}{array_open}{{ unknown_key = 1 }}{array_close}{close}"));
        // A key of a map may be the variant of an enum.
        if rule.starts_with("unknown field") || rule.starts_with("unknown variant") {
            found.insert(path.to_owned(), Shape::Table);
            for key in expected(&rule) {
                let (open, close) = (format!("{open}{array_open}{{ {key} = "), format!(" }}{array_close}{close}"));
                probe(&format!("{path}.{key}"), &open, &close, found);
            }
            return;
        }
        if rule.contains("{ ") {
            shape = Shape::Forms(forms(&rule));
            break;
        }
        if rule.starts_with("invalid ") {
            shape = Shape::Typed;
        }
    }
    found.insert(path.to_owned(), shape);
}

/// The first rule that a configuration breaks.
fn refusal(text: &str) -> String {
    Config::parse(text, "probe.toml").unwrap_err().0.remove(0).rule
}

/// The names after "expected" in an error of serde.
fn expected(rule: &str) -> Vec<String> {
    let (_, names) = rule.split_once("expected ").unwrap_or_else(|| panic!("no names in: {rule}"));
    code(names).map(str::to_owned).collect()
}

/// The keys of the tables in a text such as `{ file = "…" } or { env = "…" }`.
fn forms(text: &str) -> BTreeSet<String> {
    text.split("{ ").skip(1).filter_map(|form| form.split_once(" =")).map(|(key, _)| key.to_owned()).collect()
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A row of a table of the document.
#[derive(Debug)]
struct Row {
    /// The heading above, without brackets.
    section: &'static str,
    /// What the first column of the table is about.
    about: &'static str,
    cells: Vec<&'static str>,
}

impl Row {
    /// With the path of their table; `.b` after `a.x` is `a.b`.
    fn keys(&self) -> Vec<String> {
        let mut table = "";
        let path = |key: &'static str| {
            let (own_table, name) = key.rsplit_once('.').unwrap_or(("", key));
            if !own_table.is_empty() || !key.starts_with('.') {
                table = own_table;
            }
            [self.section, table, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
        };
        code(self.cells[0]).map(path).collect()
    }

    /// The default of each key, as it is written; none where the cell begins with words.
    fn defaults(&self) -> Vec<Option<&'static str>> {
        let values: Vec<&str> = code(self.cells[2]).collect();
        let is_stated = self.cells[2].starts_with('`');
        let count = self.keys().len();
        assert!(!is_stated || count == 1 || count == values.len(), "not one default for each key: {self:?}");
        (0..count).map(|index| values.get(index).copied().filter(|_| is_stated)).collect()
    }
}

fn rows(about: &str) -> Vec<Row> {
    let (mut rows, mut section, mut head) = (Vec::new(), "", None);
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches(['#', ' ']);
            section = heading.trim_matches(['`', '[', ']']);
        }
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else {
            head = None;
            continue;
        };
        let cells: Vec<&str> = row.split(" | ").collect();
        match head {
            None => head = Some(cells[0]),
            Some(_) if cells[0] == "---" => {}
            Some(about) => rows.push(Row { section, about, cells }),
        }
    }
    rows.retain(|row| row.about == about);
    rows
}

#[test]
fn every_key_is_documented_once_and_every_documented_key_is_one() {
    let accepted = accepted();
    let keys =
        accepted.iter().filter(|(_, shape)| !matches!(shape, Shape::Anything | Shape::Table)).map(|(key, _)| key);
    let documented: Vec<String> = rows("key").iter().flat_map(Row::keys).collect();
    let once: BTreeSet<&String> = documented.iter().collect();
    assert_eq!(once.len(), documented.len(), "docs/configuration.md documents a key twice");
    let undocumented: Vec<&String> = keys.filter(|key| !once.contains(key)).collect();
    assert!(undocumented.is_empty(), "docs/configuration.md does not document {undocumented:?}");
    let unknown: Vec<_> = once.into_iter().filter(|key| !accepted.contains_key(*key)).collect();
    assert!(unknown.is_empty(), "docs/configuration.md documents {unknown:?}, which the parser does not take");
}

#[test]
fn every_named_value_and_every_form_of_a_value_is_documented() {
    let documented = rows("key");
    let mut accepted_forms = BTreeSet::new();
    for (key, shape) in accepted() {
        match shape {
            Shape::Words(words) => {
                let row = documented.iter().find(|row| row.keys().contains(&key)).unwrap();
                for word in words {
                    let is_named = row.cells[3].contains(&format!("`\"{word}\"`"));
                    assert!(is_named, "docs/configuration.md does not name \"{word}\" at `{key}`");
                }
            }
            Shape::Forms(forms) => accepted_forms.extend(forms),
            Shape::Anything | Shape::Table | Shape::Typed => {}
        }
    }
    let documented_forms = rows("form").into_iter().chain(rows("rule")).flat_map(|row| forms(row.cells[0]));
    assert_eq!(documented_forms.collect::<BTreeSet<_>>(), accepted_forms);
}

#[test]
fn every_documented_default_is_the_real_one() {
    let given: Table = MINIMAL.parse().unwrap();
    let effective: Table = Config::parse(MINIMAL, "minimal.toml").unwrap().effective().parse().unwrap();
    for row in rows("key") {
        for (key, default) in row.keys().iter().zip(row.defaults()) {
            // What is given has no default to be seen, or the one that is given.
            if find(&given, key).is_some() {
                continue;
            }
            let documented = default.map(|text| value(text, key));
            let real = find(&effective, key).cloned().map(comparable);
            assert_eq!(documented, real, "default of `{key}`: docs/configuration.md, and what it is");
        }
    }
}

/// The value at a path; of an array, in its first table.
fn find<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let Some((key, rest)) = path.split_once('.') else { return table.get(path) };
    let value = table.get(key)?;
    let value = value.as_array().map_or(Some(value), |array| array.first())?;
    find(value.as_table()?, rest)
}

fn value(text: &str, key: &str) -> Value {
    let table: Table = format!("default = {text}").parse().unwrap_or_else(|error| panic!("`{key}`: {error}"));
    comparable(table["default"].clone())
}

/// A duration in seconds, however it is written.
fn comparable(value: Value) -> Value {
    let seconds = |text| humantime::parse_duration(text).ok().as_ref().map(Duration::as_secs);
    let seconds = value.as_str().and_then(seconds).and_then(|seconds| i64::try_from(seconds).ok());
    seconds.map_or(value, Value::Integer)
}

#[test]
fn every_alert_has_its_line_in_the_operations_document() {
    let rules = include_str!("../../deploy/helm/metabase-token-service/files/rules.yaml");
    let alerts: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let document = include_str!("../../docs/operations.md");
    let lines = document.lines().filter(|line| line.starts_with("| `MetabaseTokenService"));
    let documented: BTreeSet<&str> = lines.flat_map(|line| code(line.split(" | ").next().unwrap())).collect();
    assert_eq!(documented, alerts);
}

#[test]
fn every_metric_is_documented() {
    let live = metabase_token_service::telemetry::Metrics::default().encode();
    let name = |line: &'static str| line.split_whitespace().nth(2).unwrap().to_owned();
    let text: &'static str = live.leak();
    let families: BTreeSet<String> = text.lines().filter(|line| line.starts_with("# TYPE")).map(name).collect();
    let rows = rows("metric");
    let documented: BTreeSet<String> = rows
        .iter()
        .flat_map(|row| code(row.cells[0]))
        .map(|metric| metric.strip_suffix("_total").or(metric.strip_suffix("_info")).unwrap_or(metric).to_owned())
        .collect();
    // Those with labels come with their first event, and are not here.
    assert!(families.len() > 10 && families.is_subset(&documented), "{families:?}");
}

/// Each row names what shows it, or says why there is nothing to show.
#[test]
fn what_the_security_checklist_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = include_str!("../../docs/security-checklist.md");
    let tests: BTreeSet<String> = sources("tests/it")
        .iter()
        .flat_map(|(name, source)| {
            let module = name.trim_start_matches("tests/it/").trim_end_matches(".rs");
            let names = source.split("fn ").skip(1).filter_map(|rest| rest.split_once('(').map(|(name, _)| name));
            names.map(|name| format!("{module}::{name}")).collect::<Vec<_>>()
        })
        .collect();
    let (mut rows, mut named) = (0, 0);
    for line in document.lines() {
        let links = line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
        let files: Vec<&str> = links.filter(|target| !target.starts_with('#')).collect();
        for file in &files {
            assert!(root.join("docs").join(file).exists(), "{file}: {line}");
        }
        let spans: Vec<&str> = code(line).filter(|span| span.contains("::") && *span != "module::test").collect();
        for span in &spans {
            assert!(tests.contains(*span), "no test is called {span}");
        }
        if line.starts_with("| ") && !line.starts_with("| ---") {
            rows += 1;
            named += files.len() + spans.len();
            let explains = ["**gap**", "*does not apply*", "| shown by |", "| where |"];
            let says = !files.is_empty() || !spans.is_empty() || explains.iter().any(|word| line.contains(word));
            assert!(says, "neither shown nor explained: {line}");
        }
    }
    assert!(rows > 80 && named > 100, "{rows} rows with {named} names");
}
