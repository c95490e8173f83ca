//! What a template refers to, read from its syntax: a name that no alert will ever bring is found before one comes, also in
//! a branch that no sample takes.

use handlebars::Template;
use handlebars::template::{BlockParam, HelperTemplate, Parameter, TemplateElement};

/// What a template sees, for messages.
pub(super) const NAMES: [&str; 15] = [
    "kind",
    "id",
    "route",
    "dedup_key",
    "title",
    "text",
    "headline",
    "time",
    "count",
    "repeats",
    "alert",
    "fields",
    "summary",
    "digest",
    "resolve",
];

/// Helpers that Handlebars brings.
const BUILT_IN_HELPERS: [&str; 16] =
    ["if", "unless", "each", "with", "lookup", "raw", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len"];

/// What reads an output field by its name.
const FIELD_HELPER: &str = "field";

/// Fields that the sensor knows, as its reference lists them: rows that begin with the name in backticks.
const REFERENCE: &str = include_str!("../../../docs/fields.md");

/// What may stand in a template.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// Names at the top level.
    pub(super) names: &'a [&'a str],
    /// Helpers beside those of Handlebars.
    pub(super) helpers: &'a [&'a str],
    /// Whether a value may be written without escaping.
    pub(super) allows_raw: bool,
}

/// What is wrong, and where; line and column from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

/// An output field that a template reads by its name; line and column from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldUse {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The output fields that it reads.
///
/// # Errors
/// The first name or helper that does not exist, or value that is written without escaping.
pub(super) fn vet(template: &Template, terms: Terms<'_>) -> Result<Vec<FieldUse>, Fault> {
    let mut visit = Visit { terms, scopes: Vec::new(), place: (1, 1), fields: Vec::new() };
    visit.template(template)?;
    Ok(visit.fields)
}

/// Whether the sensor knows the field; an argument in brackets is not looked at.
pub(super) fn is_known_field(name: &str) -> bool {
    let base = |name: &str| name.split('[').next().unwrap_or_default().to_owned();
    let documented = REFERENCE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    documented.map(base).any(|documented| documented == base(name))
}

struct Visit<'a> {
    terms: Terms<'a>,
    /// What the blocks around name: their own names, and whether they put another value in the place of the top level.
    scopes: Vec<Scope>,
    place: (usize, usize),
    fields: Vec<FieldUse>,
}

struct Scope {
    names: Vec<String>,
    moves: bool,
}

impl Visit<'_> {
    fn template(&mut self, template: &Template) -> Result<(), Fault> {
        for (index, element) in template.elements.iter().enumerate() {
            if let Some(mapping) = template.mapping.get(index) {
                self.place = (mapping.0, mapping.1);
            }
            self.element(element)?;
        }
        Ok(())
    }

    fn element(&mut self, element: &TemplateElement) -> Result<(), Fault> {
        match element {
            TemplateElement::HtmlExpression(_) if !self.terms.allows_raw => Err(self.fault(
                "the value is written without escaping; write it as {{…}}, or {{json …}}, or set `raw = true`"
                    .to_owned(),
            )),
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => self.call(call),
            TemplateElement::HelperBlock(block) => self.block(block),
            TemplateElement::DecoratorExpression(part)
            | TemplateElement::DecoratorBlock(part)
            | TemplateElement::PartialExpression(part)
            | TemplateElement::PartialBlock(part) => {
                part.params.iter().chain(part.hash.values()).try_for_each(|value| self.value(value))?;
                // What a partial sees is known where it is used.
                part.template.as_ref().map_or(Ok(()), |inner| self.within(Vec::new(), true, inner))
            }
            // Texts and comments. Handlebars may grow others: rendering the samples still tells.
            _ => Ok(()),
        }
    }

    /// `{{name}}` or `{{helper …}}`.
    fn call(&mut self, call: &HelperTemplate) -> Result<(), Fault> {
        if call.params.is_empty() && call.hash.is_empty() {
            return self.value(&call.name);
        }
        self.helper(call)
    }

    fn helper(&mut self, call: &HelperTemplate) -> Result<(), Fault> {
        let name = call.name.as_name().unwrap_or_default();
        if !BUILT_IN_HELPERS.contains(&name) && !self.terms.helpers.contains(&name) {
            let known = self.terms.helpers.join(", ");
            return Err(self.fault(format!("there is no helper `{name}`; known beside those of Handlebars: {known}")));
        }
        if let (FIELD_HELPER, Some(Parameter::Literal(field))) = (name, call.params.first()) {
            let (line, column) = self.place;
            self.fields.extend(field.as_str().map(|name| FieldUse { name: name.to_owned(), line, column }));
        }
        call.params.iter().chain(call.hash.values()).try_for_each(|value| self.value(value))
    }

    fn block(&mut self, block: &HelperTemplate) -> Result<(), Fault> {
        self.helper(block)?;
        let moves = matches!(block.name.as_name(), Some("each" | "with"));
        if let Some(inner) = &block.template {
            self.within(block_names(block), moves, inner)?;
        }
        block.inverse.as_ref().map_or(Ok(()), |inverse| self.template(inverse))
    }

    fn within(&mut self, names: Vec<String>, moves: bool, inner: &Template) -> Result<(), Fault> {
        self.scopes.push(Scope { names, moves });
        let result = self.template(inner);
        self.scopes.pop();
        result
    }

    fn value(&mut self, value: &Parameter) -> Result<(), Fault> {
        match value {
            Parameter::Name(_) | Parameter::Path(_) => self.path(value.as_name().unwrap_or_default()),
            Parameter::Subexpression(call) => self.element(call.as_element()),
            _ => Ok(()),
        }
    }

    fn path(&mut self, path: &str) -> Result<(), Fault> {
        let Some(name) = self.top_level_name(path) else { return Ok(()) };
        if self.terms.names.contains(&name) {
            return Ok(());
        }
        let names = self.terms.names.join(", ");
        Err(self.fault(format!("there is nothing called `{name}`; a template sees {names}")))
    }

    /// The name at the top level that a path begins with; `None`: it begins elsewhere.
    fn top_level_name<'p>(&self, path: &'p str) -> Option<&'p str> {
        let first = |path: &'p str| path.split(['.', '/']).next().map(|name| name.trim_matches(['[', ']']));
        if let Some(rest) = path.strip_prefix("@root/").or_else(|| path.strip_prefix("@root.")) {
            return first(rest);
        }
        let mut rest = path.strip_prefix("./").or_else(|| path.strip_prefix("this.")).unwrap_or(path);
        rest = rest.strip_prefix("this/").unwrap_or(rest);
        let mut depth = self.scopes.iter().filter(|scope| scope.moves).count();
        while let Some(up) = rest.strip_prefix("../") {
            (rest, depth) = (up, depth.saturating_sub(1));
        }
        let name = first(rest)?;
        let is_local = |scope: &Scope| scope.names.iter().any(|own| own == name);
        let is_elsewhere = depth > 0 || matches!(name, "" | "this") || rest.starts_with('@');
        (!is_elsewhere && !self.scopes.iter().any(is_local)).then_some(name)
    }

    fn fault(&self, message: String) -> Fault {
        let (line, column) = self.place;
        Fault { line, column, message }
    }
}

/// `item` and `index` of `{{#each list as |item index|}}`.
fn block_names(block: &HelperTemplate) -> Vec<String> {
    let params = match &block.block_param {
        Some(BlockParam::Single(one)) => vec![one],
        Some(BlockParam::Pair((one, other))) => vec![one, other],
        _ => Vec::new(),
    };
    params.into_iter().filter_map(|param| param.as_name().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, allows_raw: bool) -> Result<Vec<String>, String> {
        let terms = Terms { names: &NAMES, helpers: &["json", "field", "default"], allows_raw };
        let fields = vet(&Template::compile(text).unwrap(), terms).map_err(|fault| fault.message)?;
        Ok(fields.into_iter().map(|field| field.name).collect())
    }

    #[test]
    fn a_name_that_does_not_exist_is_found_wherever_it_stands() {
        for text in [
            "{{titel}}",
            "{{json titel}}",
            "{{#if digest}}{{#unless summary}}{{titel}}{{/unless}}{{/if}}",
            "{{#if titel}}{{/if}}",
            "{{#if digest}}{{else if titel}}{{/if}}",
            "{{default (json titel.x) 1}}",
            "{{#each fields}}{{../titel}}{{/each}}",
            "{{#each fields}}{{@root.titel}}{{/each}}",
            "{{#each fields}}{{else}}{{titel}}{{/each}}",
            "{{this.titel}}",
        ] {
            let message = checked(text, false).unwrap_err();
            assert!(message.starts_with("there is nothing called `titel`; a template sees kind, id,"), "{message}");
        }
    }

    #[test]
    fn what_blocks_bring_is_no_name_of_the_top_level() {
        for text in [
            "{{#each fields}}{{name}} {{@index}} {{../title}} {{this.value}}{{/each}}",
            "{{#each fields as |field n|}}{{field.name}}{{n}}{{title}}{{/each}}",
            "{{#with alert}}{{rule}}{{/with}}",
            "{{json this}}{{alert.[rule]}}{{alert/rule}}",
        ] {
            // Within `each`, a name is that of the item: what it has is seen when the samples are rendered.
            assert_eq!(checked(text, false), Ok(Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_helper_that_does_not_exist_is_named() {
        for text in ["{{trunc title 3}}", "{{#if digest}}{{json (trunc title 3)}}{{/if}}", "{{#trunc title}}{{/trunc}}"]
        {
            assert!(checked(text, false).unwrap_err().starts_with("there is no helper `trunc`"), "{text}");
        }
    }

    #[test]
    fn a_value_without_escaping_needs_the_setting() {
        for text in ["{{{title}}}", "{{&title}}", "{{#if digest}}{{{title}}}{{/if}}"] {
            assert!(checked(text, false).unwrap_err().contains("raw = true"), "{text}");
            assert_eq!(checked(text, true), Ok(Vec::new()), "{text}");
        }
    }

    #[test]
    fn fields_are_found_by_their_names() {
        let text = "{{field \"proc.name\"}}{{#if (field \"a.b\" default=\"-\")}}{{json (field title)}}{{/if}}";
        assert_eq!(checked(text, false), Ok(vec!["proc.name".to_owned(), "a.b".to_owned()]));
    }

    #[test]
    fn the_reference_of_fields_says_which_ones_the_sensor_knows() {
        for (name, is_known) in [
            ("proc.name", true),
            ("proc.aname[2]", true),
            ("container.label[app]", true),
            ("k8s.ns.name", true),
            ("proc.nam", false),
            ("Field", false),
            ("", false),
        ] {
            assert_eq!(is_known_field(name), is_known, "{name}");
        }
    }
}
