//! A rule's exceptions: what they say, how later items add to them, and the condition that they make.
//!
//! Falco expands them as text, before the condition is parsed, so that a value may be quoted or name a list. So do we; the
//! text knows where each value was written.

mod expand;

use tercel_filter::{Catalog, Extractor};

use super::keys::{Keys, Reported, shape};
use super::problem::{Code, Context, Problems, quoted};
use super::text::Scalar;
use super::yaml::Node;
pub(super) use expand::expand;

/// Exceptions of one rule.
const EXCEPTIONS_MAX: usize = 1_000;

/// The operators that compare with one value.
const VALUE_OPERATORS: [&str; 16] = [
    "=",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "glob",
    "iglob",
    "contains",
    "icontains",
    "bcontains",
    "startswith",
    "bstartswith",
    "endswith",
    "regex",
];

/// The operators that compare with a list.
const LIST_OPERATORS: [&str; 3] = ["in", "intersects", "pmatch"];

/// What makes an operator on texts compare with a list.
const MODIFIERS: [&str; 3] = ["oneof", "anyof", "allof"];

/// Combinations of values for which a rule holds its alert back.
#[derive(Debug, Clone)]
pub(super) struct Exception {
    pub(super) name: String,
    context: Context,
    comparisons: Comparisons,
    values: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Comparisons {
    /// One field, all values in one list.
    One(Comparison),
    /// Several fields, each row of values has one for each.
    Row(Vec<Comparison>),
}

#[derive(Debug, Clone)]
struct Comparison {
    field: Scalar,
    /// Absent: `=` in a row, else `in`.
    operator: Option<Scalar>,
}

impl Comparison {
    fn operator<'a>(&'a self, absent: &'a str) -> &'a str {
        self.operator.as_deref().unwrap_or(absent)
    }
}

/// An exception as an item says it; where it adds to an earlier one, most is absent.
#[derive(Debug)]
pub(super) struct Written {
    name: Scalar,
    context: Context,
    fields: Option<Terms>,
    comps: Option<Terms>,
    values: Vec<Node>,
}

#[derive(Debug)]
enum Terms {
    One(Scalar),
    Row(Vec<Scalar>),
}

/// Whether an item adds to what is there or stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Define,
    Append,
}

impl Exception {
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.comparisons.all().map(|comparison| &*comparison.field)
    }

    pub(super) fn operators(&self) -> impl Iterator<Item = &str> {
        let absent = self.comparisons.absent_operator();
        self.comparisons.all().map(move |comparison| comparison.operator(absent))
    }

    pub(super) fn has_values(&self) -> bool {
        !self.values.is_empty()
    }
}

impl Comparisons {
    fn all(&self) -> impl Iterator<Item = &Comparison> {
        match self {
            Self::One(comparison) => std::slice::from_ref(comparison).iter(),
            Self::Row(comparisons) => comparisons.iter(),
        }
    }

    fn absent_operator(&self) -> &'static str {
        match self {
            Self::One(_) => "in",
            Self::Row(_) => "=",
        }
    }
}

/// What an item has under `exceptions`.
pub(super) fn read(item: &Keys, mode: Mode, problems: &mut Problems) -> Result<Vec<Written>, Reported> {
    let elements = match item.get("exceptions") {
        Some(Node::Sequence(elements, _)) => elements,
        Some(other) if !other.is_null() => {
            let message = format!("expected a sequence after `exceptions`, found {}", shape(other));
            return Err(item.invalid_value("exceptions", other, message, problems));
        }
        _ => return Ok(Vec::new()),
    };
    if elements.len() > EXCEPTIONS_MAX {
        let message = format!("{} exceptions, at most {EXCEPTIONS_MAX} are read", elements.len());
        problems.report(Code::Validate, &item.context, message);
        return Err(Reported);
    }
    let mut written: Vec<Written> = Vec::with_capacity(elements.len());
    let mut result = Ok(());
    for element in elements {
        match read_one(item, element, mode, problems) {
            Ok(exception) => {
                if written.iter().any(|earlier| *earlier.name == *exception.name) {
                    let message = format!("a second exception of this rule has the name {}", quoted(&exception.name));
                    problems.report(Code::ExceptionNameNotUnique, &exception.context, message);
                }
                written.push(exception);
            }
            Err(reported) => result = Err(reported),
        }
    }
    result.map(|()| written)
}

fn read_one(item: &Keys, element: &Node, mode: Mode, problems: &mut Problems) -> Result<Written, Reported> {
    let unnamed = item.context.within("exception", "", element.mark());
    let Node::Mapping(pairs, mark) = element else {
        problems.report(
            Code::YamlValidate,
            &unnamed,
            format!("expected an exception with keys (`- name: …`), found {}", shape(element)),
        );
        return Err(Reported);
    };
    let mut keys = Keys::new(pairs.clone(), unnamed);
    let name = keys.text("name", problems)?.clone();
    keys.context = item.context.within("exception", &name, mark);
    keys.check(&["name", "fields", "comps", "values"], problems);
    let fields = terms(&keys, "fields", problems);
    let comps = terms(&keys, "comps", problems);
    let values = values(&keys, mode, problems);
    Ok(Written { name, fields: fields?, comps: comps?, values: values?, context: keys.context })
}

fn terms(keys: &Keys, key: &str, problems: &mut Problems) -> Result<Option<Terms>, Reported> {
    match keys.get(key) {
        None => Ok(None),
        Some(Node::Sequence(..)) => Ok(Some(Terms::Row(keys.texts(key, problems)?.into_iter().cloned().collect()))),
        Some(_) => Ok(keys.optional_text(key, problems)?.cloned().map(Terms::One)),
    }
}

fn values(keys: &Keys, mode: Mode, problems: &mut Problems) -> Result<Vec<Node>, Reported> {
    match keys.get("values") {
        Some(Node::Sequence(elements, _)) => Ok(elements.clone()),
        Some(other) => {
            let message = format!("expected a sequence after `values`, found {}", shape(other));
            Err(keys.invalid_value("values", other, message, problems))
        }
        None => {
            if mode == Mode::Append {
                let message = "the exception is appended to and brings no `values`";
                problems.report(Code::AppendNoValues, &keys.context, message);
            }
            Ok(Vec::new())
        }
    }
}

impl Written {
    /// An exception that stands alone. `catalog`: absent for rules of sources that are not known.
    pub(super) fn define(self, catalog: Option<&dyn Catalog>, problems: &mut Problems) -> Result<Exception, Reported> {
        let Self { name, context, fields, comps, values } = self;
        let mut refuse = |message: String| {
            problems.report(Code::Validate, &context, message);
            Reported
        };
        let comparisons = match (fields, comps) {
            (None, _) => {
                let message = "the key `fields` is missing, which names the fields to compare".to_owned();
                problems.report(Code::YamlValidate, &context, message);
                return Err(Reported);
            }
            (Some(Terms::Row(fields)), _) if fields.is_empty() => {
                return Err(refuse("`fields` is empty, at least one field is needed".to_owned()));
            }
            (Some(Terms::Row(fields)), comps) => Comparisons::Row(row(fields, comps).map_err(&mut refuse)?),
            (Some(Terms::One(field)), comps) => Comparisons::One(one(field, comps).map_err(&mut refuse)?),
        };
        if let Some(catalog) = catalog {
            check_fields(&comparisons, catalog).map_err(&mut refuse)?;
        }
        Ok(Exception { name: name.to_string(), context, comparisons, values })
    }

    /// Adds to the exceptions of an earlier definition: rows where one of this name is there, else a new one.
    pub(super) fn append_to(
        self,
        exceptions: &mut Vec<Exception>,
        catalog: Option<&dyn Catalog>,
        problems: &mut Problems,
    ) -> Result<(), Reported> {
        let count = exceptions.len();
        let earlier = exceptions.iter_mut().find(|exception| *exception.name == *self.name);
        let message = match &earlier {
            None if self.fields.is_none() => "there is no earlier exception of this name, and a new one needs `fields`",
            None if count == EXCEPTIONS_MAX => "the rule has as many exceptions as are read",
            None if self.values.is_empty() => {
                "there is no earlier exception of this name, and a new one needs `values`"
            }
            Some(_) if self.fields.is_some() || self.comps.is_some() => {
                "only `values` can be appended to an exception, not `fields` or `comps`"
            }
            _ => {
                match earlier {
                    Some(earlier) => earlier.values.extend(self.values),
                    None => exceptions.push(self.define(catalog, problems)?),
                }
                return Ok(());
            }
        };
        problems.report(Code::Validate, &self.context, message);
        Err(Reported)
    }
}

fn row(fields: Vec<Scalar>, comps: Option<Terms>) -> Result<Vec<Comparison>, String> {
    let operators: Vec<Option<Scalar>> = match comps {
        None => vec![None; fields.len()],
        Some(Terms::Row(comps)) => comps.into_iter().map(Some).collect(),
        Some(Terms::One(_)) => {
            return Err("`comps` is one operator for a list of `fields`; write a list of them".to_owned());
        }
    };
    if operators.len() != fields.len() {
        let (fields, comps) = (fields.len(), operators.len());
        return Err(format!("`fields` has {fields} elements and `comps` {comps}; each field needs an operator"));
    }
    if let Some(unknown) = operators.iter().flatten().find(|operator| !is_operator(operator)) {
        return Err(unknown_operator(unknown, &[&VALUE_OPERATORS[..], &LIST_OPERATORS[..]].concat()));
    }
    Ok(fields.into_iter().zip(operators).map(|(field, operator)| Comparison { field, operator }).collect())
}

fn one(field: Scalar, comps: Option<Terms>) -> Result<Comparison, String> {
    let operator = match comps {
        None => None,
        Some(Terms::One(operator)) if takes_list(&operator) => Some(operator),
        Some(Terms::One(operator)) => return Err(unknown_operator(&operator, &LIST_OPERATORS)),
        Some(Terms::Row(_)) => {
            return Err("`comps` is a list for one field; write one operator, or `fields` as a list".to_owned());
        }
    };
    Ok(Comparison { field, operator })
}

fn unknown_operator(operator: &str, known: &[&str]) -> String {
    format!("{} is no operator that `comps` can have here, expected one of {}", quoted(operator), known.join(", "))
}

fn is_operator(operator: &str) -> bool {
    VALUE_OPERATORS.contains(&operator) || takes_list(operator)
}

/// Whether values after the operator stand in parentheses.
fn takes_list(operator: &str) -> bool {
    let words: Vec<_> = operator.split_whitespace().collect();
    match words.as_slice() {
        [word] => LIST_OPERATORS.contains(word),
        [word, modifier] => VALUE_OPERATORS.contains(word) && MODIFIERS.contains(modifier),
        _ => false,
    }
}

fn check_fields(comparisons: &Comparisons, catalog: &dyn Catalog) -> Result<(), String> {
    for comparison in comparisons.all() {
        let field = &*comparison.field;
        let (_, length) = Extractor::parse_prefix(field, catalog)
            .map_err(|error| format!("{} is no field: {error}", quoted(field)))?;
        // More than a field would become a part of the condition.
        if length < field.len() {
            return Err(format!("{} is no field: {} follows one", quoted(field), quoted(&field[length..])));
        }
    }
    Ok(())
}
