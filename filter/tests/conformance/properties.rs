//! What is true of every condition.

use proptest::prelude::*;
use proptest::sample::select;
use tercel_filter::{Catalog, Error, Expr, FieldName, Filter, Input, Node, Operand, Right, Scope, Scratch, parse};

use crate::event::Event;
use crate::falco::{EVENT_TYPES, Falco};
use crate::generate::{conditions, conditions_of_types, fragments, large, mutated};

fn scope() -> Scope {
    let mut scope = Scope::new();
    scope.add_list("pets", vec!["cat".to_owned(), "'two words'".to_owned()]).unwrap();
    scope.add_macro("opens", parse("evt.type in (open, openat)").unwrap());
    scope.add_macro("is_cat", parse("proc.name in (pets) or not opens").unwrap());
    scope
}

fn compile(condition: &str) -> Result<Filter, Error> {
    Filter::parse(condition, &scope(), &Falco)
}

fn holds(condition: &str) -> bool {
    let filter = compile(condition).unwrap_or_else(|error| panic!("{}", error.render("condition", condition)));
    filter.matches(&Event::shadow(), &mut Scratch::new())
}

/// Compiles and evaluates whatever it is, and checks where the error is.
fn survives(text: &str) -> Result<(), TestCaseError> {
    match compile(text) {
        Ok(filter) => drop(filter.matches(&Event::shadow(), &mut Scratch::new())),
        Err(error) => {
            prop_assert!(error.macro_name().is_some() || text.get(error.span()).is_some(), "{error}");
            prop_assert!(!error.message().is_empty());
            prop_assert!(error.render("place", text).lines().count() <= 3, "{}", error.render("place", text));
        }
    }
    Ok(())
}

/// The tree without the places in the text.
fn shape(expr: &Expr) -> String {
    let all = |exprs: &[Expr]| exprs.iter().map(shape).collect::<Vec<_>>();
    match &expr.node {
        Node::And(operands) => format!("and{:?}", all(operands)),
        Node::Or(operands) => format!("or{:?}", all(operands)),
        Node::Not(operand) => format!("not[{}]", shape(operand)),
        Node::Macro(name) => name.clone(),
        Node::Check(check) => {
            let texts: Vec<_> = check.right.literals().iter().map(tercel_filter::Literal::bytes).collect();
            let right = match &check.right {
                Right::Nothing => String::new(),
                Right::Value(_) => format!("value{texts:?}"),
                Right::List(_) => format!("list{texts:?}"),
                Right::Quantified(quantifier, _) => format!("{quantifier:?}{texts:?}"),
                Right::Operand(operand) => operand_shape(operand),
            };
            format!("{} {:?} {right}", operand_shape(&check.left), check.operator)
        }
    }
}

fn operand_shape(operand: &Operand) -> String {
    match operand {
        Operand::Field(FieldName { name, argument, .. }) => format!("{name}{argument:?}"),
        Operand::Transformer(transformer) => {
            let inputs: Vec<_> = transformer.arguments.iter().map(input_shape).collect();
            format!("{:?}{inputs:?}{:?}", transformer.function, transformer.index)
        }
    }
}

fn input_shape(input: &Input) -> String {
    match input {
        Input::Operand(operand) => operand_shape(operand),
        Input::Literal(literal) => format!("{:?}", literal.bytes()),
        Input::List(inputs, _) => format!("{:?}", inputs.iter().map(input_shape).collect::<Vec<_>>()),
    }
}

/// Comparisons of which the answer is known, missing values among them.
const KNOWN: &[(&str, bool)] = &[
    ("proc.name = cat", true),
    ("proc.name != cat", false),
    ("proc.name in (dog, cow)", false),
    ("fd.num > 2", true),
    ("container.name = x", false),
    ("container.name != x", false),
    ("container.name exists", false),
    ("proc.aname != bash", true),
    ("evt.type = openat", true),
    ("evt.type = open", false),
    ("fd.name startswith /etc", true),
    ("fd.name startswith /var", false),
    ("fd.name startswith /etc/s", true),
    ("fd.name = /etc/passwd", false),
    ("fd.name = /etc/shadow", true),
    ("tolower(container.name) = x", false),
    ("is_cat", true),
];

/// A condition with the answer that follows from its comparisons.
fn answered() -> impl Strategy<Value = (String, bool)> {
    let leaf = select(KNOWN).prop_map(|(text, answer)| (text.to_owned(), answer));
    leaf.prop_recursive(6, 64, 5, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..6);
        let text = |parts: &[(String, bool)], word: &str| {
            format!("({})", parts.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(word))
        };
        prop_oneof![
            inner.prop_map(|(text, answer)| (format!("not {text}"), !answer)),
            several.clone().prop_map(move |parts| (text(&parts, " and "), parts.iter().all(|(_, answer)| *answer))),
            several.prop_map(move |parts| (text(&parts, " or "), parts.iter().any(|(_, answer)| *answer))),
        ]
    })
}

/// fnmatch by trying everything; patterns of `*`, `?` and letters.
fn glob_holds(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| glob_holds(rest, &text[skipped..])),
        Some((sign, rest)) => {
            text.split_first().is_some_and(|(first, text)| (*sign == b'?' || sign == first) && glob_holds(rest, text))
        }
    }
}

/// pmatch by comparing component with component.
fn is_below(path: &str, text: &str) -> bool {
    let components =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (path, text) = (components(path), components(text));
    path.len() <= text.len()
        && path.iter().zip(&text).all(|(pattern, part)| glob_holds(pattern.as_bytes(), part.as_bytes()))
}

/// A word for each value: what the operator says of it, by the operator's definition.
fn by_definition(operator: &str, value: &str, text: &str) -> bool {
    match operator {
        "=" => text == value,
        "!=" => text != value,
        "startswith" => text.starts_with(value),
        "endswith" => text.ends_with(value),
        "contains" => text.contains(value),
        "icontains" => text.to_ascii_lowercase().contains(&value.to_ascii_lowercase()),
        "glob" => glob_holds(value.as_bytes(), text.as_bytes()),
        "iglob" => glob_holds(value.to_ascii_lowercase().as_bytes(), text.to_ascii_lowercase().as_bytes()),
        _ => unreachable!(),
    }
}

const TEXT_OPERATORS: &[&str] = &["=", "!=", "startswith", "endswith", "contains", "icontains", "glob", "iglob"];

fn named(text: &str) -> Event {
    let mut event = Event::empty();
    event.set_text("fd.name", text.into());
    event
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(text in ".{0,200}") {
        survives(&text)?;
    }

    #[test]
    fn no_pieces_of_the_language_do(text in fragments(60)) {
        survives(&text)?;
    }

    #[test]
    fn nor_conditions_with_a_mistake(text in mutated()) {
        survives(&text)?;
    }

    #[test]
    fn a_printed_condition_parses_to_the_same_and_prints_the_same(condition in conditions()) {
        let parsed = parse(&condition).unwrap();
        let printed = parsed.to_string();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{condition} prints as\n{}", error.render("printed", &printed)));
        prop_assert_eq!(shape(&parsed), shape(&again), "{} prints as {}", condition, printed);
        prop_assert_eq!(&again.to_string(), &printed);
    }

    #[test]
    fn whatever_parses_prints_and_parses_again(text in prop_oneof![fragments(20), mutated()]) {
        if let Ok(parsed) = parse(&text) {
            let printed = parsed.to_string();
            let again = parse(&printed).unwrap_or_else(|error| panic!("{text:?} prints as\n{}", error.render("printed", &printed)));
            prop_assert_eq!(shape(&parsed), shape(&again), "{} prints as {}", text, printed);
        }
    }

    #[test]
    fn a_printed_condition_means_the_same(condition in conditions()) {
        let printed = parse(&condition).unwrap().to_string();
        prop_assert_eq!(holds(&condition), holds(&printed), "{} prints as {}", condition, printed);
    }

    #[test]
    fn macros_in_their_places_mean_the_same(condition in conditions()) {
        let expanded = scope().expand(&parse(&condition).unwrap()).unwrap().to_string();
        let alone = Filter::parse(&expanded, &Scope::new(), &Falco).unwrap_or_else(|error| panic!("{condition} expands to\n{}", error.render("expanded", &expanded)));
        prop_assert_eq!(holds(&condition), alone.matches(&Event::shadow(), &mut Scratch::new()), "{} expands to {}", condition, expanded);
    }

    #[test]
    fn connectives_connect_the_answers((condition, answer) in answered()) {
        prop_assert_eq!(holds(&condition), answer, "{}", condition);
    }

    #[test]
    fn two_negations_change_nothing_and_de_morgan_holds(a in conditions(), b in conditions()) {
        prop_assert_eq!(holds(&a), holds(&format!("not not ({a})")));
        prop_assert_eq!(holds(&format!("not (({a}) and ({b}))")), holds(&format!("not ({a}) or not ({b})")));
        prop_assert_eq!(holds(&format!("not (({a}) or ({b}))")), holds(&format!("not ({a}) and not ({b})")));
    }

    #[test]
    fn an_event_type_for_which_a_condition_holds_is_among_the_possible(condition in conditions_of_types()) {
        let filter = compile(&condition).unwrap();
        let possible = filter.possible_enum_values(Falco.field("evt.type").unwrap().id);
        for (index, name) in EVENT_TYPES.iter().enumerate() {
            let mut event = Event::shadow();
            event.set(&format!("evt.type: {name}"));
            let holds = filter.matches(&event, &mut Scratch::new());
            prop_assert!(!holds || possible.contains(u16::try_from(index).unwrap()), "{}: {}", condition, name);
        }
    }

    #[test]
    fn an_operator_is_its_definition(operator in select(TEXT_OPERATORS), value in "[abA/]{0,4}[ab*?]{0,3}", text in "[abA/]{0,6}") {
        let condition = format!("fd.name {operator} \"{value}\"");
        let answer = compile(&condition).unwrap().matches(&named(&text), &mut Scratch::new());
        prop_assert_eq!(answer, by_definition(operator, &value, &text), "{}: {:?}", condition, text);
    }

    #[test]
    fn alternatives_are_each_tried(
        parts in prop::collection::vec((select(TEXT_OPERATORS), "[ab/]{0,3}"), 1..12),
        text in "[ab/]{0,6}",
    ) {
        let any = parts.iter().any(|(operator, value)| by_definition(operator, value, &text));
        let all = parts.iter().all(|(operator, value)| by_definition(operator, value, &text));
        for (word, answer) in [(" or ", any), (" and ", all)] {
            let condition = parts.iter().map(|(operator, value)| format!("fd.name {operator} '{value}'")).collect::<Vec<_>>().join(word);
            let found = compile(&condition).unwrap().matches(&named(&text), &mut Scratch::new());
            prop_assert_eq!(found, answer, "{}: {:?}", condition, text);
        }
    }

    #[test]
    fn modifiers_count(operator in select(TEXT_OPERATORS), values in prop::collection::vec("[ab]{0,2}", 1..5), text in "[ab]{0,3}") {
        let count = values.iter().filter(|value| by_definition(operator, value, &text)).count();
        let list = values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ");
        for (modifier, answer) in [("oneof", count == 1), ("anyof", count > 0), ("allof", count == values.len())] {
            let condition = format!("fd.name {operator} {modifier} ({list})");
            let found = compile(&condition).unwrap().matches(&named(&text), &mut Scratch::new());
            prop_assert_eq!(found, answer, "{}: {:?}", condition, text);
        }
    }

    #[test]
    fn lists_of_paths_match_what_is_below_one(paths in prop::collection::vec("(/[ab*?]{1,2}){1,3}", 1..6), text in "(/[ab]{1,2}){0,4}") {
        let list = paths.iter().map(|path| format!("\"{path}\"")).collect::<Vec<_>>().join(", ");
        let found = compile(&format!("fd.name pmatch ({list})")).unwrap().matches(&named(&text), &mut Scratch::new());
        prop_assert_eq!(found, paths.iter().any(|path| is_below(path, &text)), "{}: {:?}", list, text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn large_conditions_do_not_make_the_compiler_panic(text in large()) {
        survives(&text)?;
    }
}
