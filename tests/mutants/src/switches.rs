//! All mutants of a file in one text, each behind a switch, so that all of them are compiled once.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use proc_macro2::Span;
use syn::{
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::mutant::{Genre, Mutant};

/// A file with switches.
#[derive(Default)]
pub struct Switched {
    pub text: String,
    /// Which bytes of the text belong to which mutant. What is in none of them stands in the source, too.
    pub places: Vec<(Range<usize>, usize)>,
}

/// What is put around a part of the source. Of two around the same part, the first in the order of `Layer` is outside.
struct Edit {
    range: Range<usize>,
    layer: Layer,
    before: Vec<(usize, String)>,
    between: &'static str,
    after: Vec<(Option<usize>, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Body,
    Arm,
    Guard,
    Expression,
}

struct Finder<'a> {
    source: &'a str,
    mutants: HashMap<(usize, Genre), Vec<(usize, &'a Mutant)>>,
    keep_const: &'a BTreeSet<String>,
    consts: Vec<Range<usize>>,
    edits: Vec<Edit>,
}

/// Puts every mutant behind a switch that has a place for one: a constant has none.
pub fn switch(source: &str, mutants: &[(usize, &Mutant)], keep_const: &BTreeSet<String>) -> syn::Result<Switched> {
    let mut by_place: HashMap<_, Vec<_>> = HashMap::new();
    for (id, mutant) in mutants {
        by_place.entry((mutant.range(source).start, mutant.genre)).or_default().push((*id, *mutant));
    }
    let mut finder = Finder { source, mutants: by_place, keep_const, consts: Vec::new(), edits: Vec::new() };
    finder.visit_file(&syn::parse_file(source)?);
    let mut bytes = source.to_owned();
    for range in &finder.consts {
        bytes.replace_range(range.clone(), &" ".repeat(range.len()));
    }
    Ok(write(&bytes, finder.edits))
}

fn write(source: &str, mut edits: Vec<Edit>) -> Switched {
    edits.sort_by_key(|edit| (edit.range.start, usize::MAX - edit.range.end, edit.layer));
    let mut writer = Writer { source, at: 0, open: Vec::new(), switched: Switched::default() };
    for edit in edits {
        writer.close(edit.range.start);
        writer.copy(edit.range.start);
        for (id, part) in &edit.before {
            writer.put(Some(*id), part);
        }
        writer.put(None, edit.between);
        writer.open.push(edit);
    }
    writer.close(usize::MAX);
    writer.copy(source.len());
    writer.switched
}

struct Writer<'a> {
    source: &'a str,
    at: usize,
    open: Vec<Edit>,
    switched: Switched,
}

impl Writer<'_> {
    fn copy(&mut self, until: usize) {
        self.switched.text.push_str(&self.source[self.at..until]);
        self.at = until;
    }

    fn put(&mut self, id: Option<usize>, part: &str) {
        let start = self.switched.text.len();
        self.switched.text.push_str(part);
        self.switched.places.extend(id.map(|id| (start..self.switched.text.len(), id)));
    }

    /// Ends the edits around what ends at `until` or before.
    fn close(&mut self, until: usize) {
        while let Some(edit) = self.open.pop_if(|edit| edit.range.end <= until) {
            self.copy(edit.range.end);
            for (id, part) in &edit.after {
                self.put(*id, part);
            }
        }
    }
}

impl Finder<'_> {
    fn at(&self, at: usize, genre: Genre) -> Vec<(usize, String)> {
        let found = self.mutants.get(&(at, genre)).into_iter().flatten();
        found.map(|(id, mutant)| (*id, mutant.replacement.clone())).collect()
    }

    /// One of several expressions, or else the one that is there.
    fn choose(&mut self, range: Range<usize>, layer: Layer, choices: Vec<(usize, String)>) {
        if choices.is_empty() {
            return;
        }
        let mut before: Vec<_> =
            choices.into_iter().map(|(id, text)| (id, format!("if {} {{ {text} }} else ", is(id)))).collect();
        before[0].1.insert(0, '(');
        self.edits.push(Edit { range, layer, before, between: "{ ", after: vec![(None, " })".to_owned())] });
    }

    /// The expression with a part of it replaced.
    fn replaced(&self, whole: &Range<usize>, part: &Range<usize>, with: &str) -> String {
        format!("{}{with}{}", &self.source[whole.start..part.start], &self.source[part.end..whole.end])
    }

    /// Operators are replaced in the text, as cargo-mutants does, so that what binds more tightly may change.
    fn binary(&mut self, root: &syn::ExprBinary) {
        let whole = bytes(root.span());
        let mut operators = Vec::new();
        collect_operators(root, &mut operators);
        let mut choices = Vec::new();
        for operator in operators {
            for (id, with) in self.at(operator.start, Genre::BinaryOperator) {
                let text = self.replaced(&whole, &operator, &with);
                if syn::parse_str::<syn::Expr>(&text).is_ok() {
                    choices.push((id, text));
                }
            }
        }
        self.choose(whole, Layer::Expression, choices);
    }

    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let name = signature.ident.to_string();
        if let Some(token) = signature.constness {
            if self.keep_const.contains(&name) {
                return;
            }
            self.consts.push(bytes(token.span()));
        }
        // An opaque type is one type, and the value would be of another.
        let is_opaque = matches!(&signature.output, syn::ReturnType::Type(_, of) if has_impl(of));
        if let (Some(first), Some(last), false) = (body.stmts.first(), body.stmts.last(), is_opaque) {
            let range = bytes(first.span()).start..bytes(last.span()).end;
            let values = self.at(range.start, Genre::FnValue);
            let before =
                values.into_iter().map(|(id, value)| (id, format!("if {} {{ return {value}; }} ", is(id)))).collect();
            self.edits.push(Edit { range, layer: Layer::Body, before, between: "", after: Vec::new() });
        }
        visit::visit_block(self, body);
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body);
        }
    }

    fn visit_expr_binary(&mut self, expression: &'ast syn::ExprBinary) {
        if has_let(expression) {
            visit::visit_expr_binary(self, expression);
        } else {
            self.binary(expression);
            visit_operands(self, expression);
        }
    }

    fn visit_expr_unary(&mut self, expression: &'ast syn::ExprUnary) {
        let (whole, operator) = (bytes(expression.span()), bytes(expression.op.span()));
        let choices = self.at(operator.start, Genre::UnaryOperator);
        let choices = choices.into_iter().map(|(id, with)| (id, self.replaced(&whole, &operator, &with))).collect();
        self.choose(whole, Layer::Expression, choices);
        visit::visit_expr_unary(self, expression);
    }

    fn visit_expr_struct(&mut self, expression: &'ast syn::ExprStruct) {
        let whole = bytes(expression.span());
        let mut choices = Vec::new();
        for field in &expression.fields {
            let start = bytes(field.span()).start;
            let found: Vec<_> = self.mutants.get(&(start, Genre::StructField)).into_iter().flatten().copied().collect();
            for (id, mutant) in found {
                choices.push((id, self.replaced(&whole, &mutant.range(self.source), &mutant.replacement)));
            }
        }
        self.choose(whole, Layer::Expression, choices);
        visit::visit_expr_struct(self, expression);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let deleted = self.at(bytes(arm.span()).start, Genre::MatchArm);
        for (id, _) in deleted {
            let edit = match &arm.guard {
                Some((_, guard)) => Edit {
                    range: bytes(guard.span()),
                    layer: Layer::Arm,
                    before: vec![(id, format!("!{} && (", is(id)))],
                    between: "",
                    after: vec![(None, ")".to_owned())],
                },
                None => Edit {
                    range: bytes(arm.pat.span()),
                    layer: Layer::Arm,
                    before: Vec::new(),
                    between: "",
                    after: vec![(Some(id), format!(" if !{}", is(id)))],
                },
            };
            self.edits.push(edit);
        }
        if let Some((_, guard)) = &arm.guard {
            let range = bytes(guard.span());
            let choices = self.at(range.start, Genre::MatchArmGuard);
            self.choose(range, Layer::Guard, choices);
        }
        visit::visit_arm(self, arm);
    }
}

fn is(id: usize) -> String {
    format!("crate::mutants::is({id})")
}

fn bytes(span: Span) -> Range<usize> {
    span.byte_range()
}

fn collect_operators(expression: &syn::ExprBinary, operators: &mut Vec<Range<usize>>) {
    for operand in [&*expression.left, &*expression.right] {
        if let syn::Expr::Binary(inner) = operand {
            collect_operators(inner, operators);
        }
    }
    operators.push(bytes(expression.op.span()));
}

fn visit_operands(finder: &mut Finder<'_>, expression: &syn::ExprBinary) {
    for operand in [&*expression.left, &*expression.right] {
        match operand {
            syn::Expr::Binary(inner) => visit_operands(finder, inner),
            other => finder.visit_expr(other),
        }
    }
}

/// `let` among the operands cannot stand in an expression of its own.
fn has_let(expression: &syn::ExprBinary) -> bool {
    [&*expression.left, &*expression.right].into_iter().any(|operand| match operand {
        syn::Expr::Binary(inner) => has_let(inner),
        syn::Expr::Let(_) => true,
        _ => false,
    })
}

fn has_impl(of: &syn::Type) -> bool {
    struct Opaque(bool);
    impl Visit<'_> for Opaque {
        fn visit_type_impl_trait(&mut self, _: &syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut opaque = Opaque(false);
    opaque.visit_type(of);
    opaque.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with a switch for what `genre` puts in place of `part`.
    fn switched(source: &str, part: &str, genre: &str, replacement: &str) -> String {
        let start = source.find(part).expect("the part is there") + 1;
        let position = |column: usize| serde_json::json!({ "line": 1, "column": column });
        let mutant = serde_json::json!({
            "name": "", "file": "", "genre": genre, "replacement": replacement,
            "span": { "start": position(start), "end": position(start + part.len()) },
        });
        let mutant: Mutant = serde_json::from_value(mutant).expect("as cargo-mutants lists it");
        let switched = switch(source, &[(7, &mutant)], &BTreeSet::new()).expect("well-formed");
        assert!(switched.places.iter().all(|(range, id)| switched.text[range.clone()].contains("is(7)") && *id == 7));
        switched.text.replace("crate::mutants::is(7)", "ON")
    }

    #[test]
    fn every_kind_of_change_has_its_switch() {
        for (source, part, genre, replacement, expected) in [
            ("fn f() { a(); b }", "a(); b", "FnValue", "0", "fn f() { if ON { return 0; } a(); b }"),
            ("const fn f() { b }", "b", "FnValue", "0", "      fn f() { if ON { return 0; } b }"),
            (
                "fn f() { x(a && b && c) }",
                "&&",
                "BinaryOperator",
                "||",
                "fn f() { x((if ON { a || b && c } else { a && b && c })) }",
            ),
            ("fn f() { !a.b }", "!", "UnaryOperator", "", "fn f() { (if ON { a.b } else { !a.b }) }"),
            (
                "fn f() { S { a: 1, ..b } }",
                "a: 1,",
                "StructField",
                "",
                "fn f() { (if ON { S {  ..b } } else { S { a: 1, ..b } }) }",
            ),
            (
                "fn f() { match a { B => 1, _ => 2 } }",
                "B => 1,",
                "MatchArm",
                "",
                "fn f() { match a { B if !ON => 1, _ => 2 } }",
            ),
            (
                "fn f() { match a { B if c => 1, _ => 2 } }",
                "B if c => 1,",
                "MatchArm",
                "",
                "fn f() { match a { B if !ON && (c) => 1, _ => 2 } }",
            ),
            (
                "fn f() { match a { B if q => 1, _ => 2 } }",
                "q",
                "MatchArmGuard",
                "true",
                "fn f() { match a { B if (if ON { true } else { q }) => 1, _ => 2 } }",
            ),
        ] {
            assert_eq!(switched(source, part, genre, replacement), expected);
        }
    }

    #[test]
    fn what_has_no_place_for_a_switch_has_none() {
        for (source, part, genre, replacement) in [
            ("fn f() -> impl Iterator { b }", "b", "FnValue", "empty()"),
            ("fn f() { if let A = a && b {} }", "&&", "BinaryOperator", "||"),
            ("fn f() { a == b && c < d }", "&&", "BinaryOperator", "=="),
        ] {
            assert_eq!(switched(source, part, genre, replacement), source);
        }
    }
}
