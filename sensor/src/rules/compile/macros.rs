//! Which macros name what is not there, or themselves by way of others.

use std::collections::HashSet;

use tercel_filter::{Expr, Node};

use crate::rules::collect::MacroDefinition;
use crate::rules::problem::{Code, Problems, quoted};
use crate::rules::table::Table;

/// The macros that can be put in the place of their names.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Positions in the table, each behind those that it names.
    pub(super) sound: Vec<usize>,
    /// The names of the others. What is wrong with them is reported.
    pub(super) broken: HashSet<String>,
}

/// Looks every name of a macro up, also in macros that no rule uses: as Falco does. A macro sees those that were defined
/// before it, rules see all.
pub(super) fn check(
    macros: &Table<MacroDefinition>,
    parsed: &[Option<Expr>],
    malformed: &HashSet<(&'static str, String)>,
    problems: &mut Problems,
) -> Order {
    let mut named: Vec<Vec<usize>> = Vec::with_capacity(parsed.len());
    let mut broken = vec![false; parsed.len()];
    for (index, (entry, expr)) in macros.iter().zip(parsed).enumerate() {
        let mut positions = Vec::new();
        broken[index] = expr.is_none();
        for (name, span) in expr.iter().flat_map(references) {
            let found = macros.position(name).filter(|(_, named)| named.first < entry.last);
            if let Some((position, _)) = found {
                positions.push(position);
                continue;
            }
            broken[index] = true;
            if malformed.contains(&("macro", name.to_owned())) {
                continue;
            }
            let message = match macros.get(name) {
                Some(_) => format!("macro {} must be defined before the macro that uses it", quoted(name)),
                None => format!("undefined macro {}", quoted(name)),
            };
            let place = ("macro condition", &entry.body.condition, span);
            problems.report_within(Code::Validate, &entry.body.context, place, message);
        }
        named.push(positions);
    }
    let (sound, looping) = sort(&named);
    for index in &looping {
        broken[*index] = true;
    }
    report_loops(macros, parsed, &named, &looping, problems);
    let broken = macros.iter().zip(broken).filter(|(_, broken)| *broken).map(|(entry, _)| entry.name.clone());
    Order { sound, broken: broken.collect() }
}

/// The names of macros in a condition, with their bytes.
fn references(expr: &Expr) -> Vec<(&str, std::ops::Range<usize>)> {
    let mut names = Vec::new();
    expr.visit(&mut |part| {
        if let Node::Macro(name) = &part.node {
            names.push((name.as_str(), part.span.clone()));
        }
    });
    names
}

/// Those that can be reached without a loop, in an order in which each stands behind what it names; and the rest.
fn sort(named: &[Vec<usize>]) -> (Vec<usize>, HashSet<usize>) {
    let mut waiting: Vec<usize> = named.iter().map(Vec::len).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); named.len()];
    for (user, names) in named.iter().enumerate() {
        for name in names {
            users[*name].push(user);
        }
    }
    let mut sorted: Vec<usize> = (0..named.len()).filter(|index| waiting[*index] == 0).collect();
    let mut next = 0;
    while let Some(done) = sorted.get(next).copied() {
        next += 1;
        for user in &users[done] {
            waiting[*user] -= 1;
            if waiting[*user] == 0 {
                sorted.push(*user);
            }
        }
    }
    let rest = (0..named.len()).filter(|index| waiting[*index] > 0).collect();
    (sorted, rest)
}

/// One error for each loop, at the first macro in it.
fn report_loops(
    macros: &Table<MacroDefinition>,
    parsed: &[Option<Expr>],
    named: &[Vec<usize>],
    looping: &HashSet<usize>,
    problems: &mut Problems,
) {
    let entries: Vec<_> = macros.iter().collect();
    let mut seen = HashSet::new();
    for start in 0..named.len() {
        // From any macro of the rest, the first names that belong to the rest lead into a loop.
        let mut path = Vec::new();
        let mut at = looping.contains(&start).then_some(start);
        while let Some(index) = at.filter(|index| seen.insert(*index)) {
            path.push(index);
            at = named[index].iter().copied().find(|next| looping.contains(next));
        }
        let Some(first) = at.and_then(|index| path.iter().position(|earlier| *earlier == index)) else {
            continue;
        };
        let loop_names: Vec<_> =
            path[first..].iter().chain(&path[first..=first]).map(|index| &*entries[*index].name).collect();
        let (entry, next) = (entries[path[first]], loop_names[1]);
        let message = format!("macro {} names itself in a loop: {}", quoted(loop_names[0]), shown(&loop_names));
        let span = parsed[path[first]].iter().flat_map(references).find(|(name, _)| *name == next);
        let span = span.map_or(0..0, |(_, span)| span);
        problems.report_within(
            Code::Validate,
            &entry.body.context,
            ("macro condition", &entry.body.condition, span),
            message,
        );
    }
}

/// `a → b → a`, a long way cut in the middle.
fn shown(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 8;
    let quoted: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    if quoted.len() <= SHOWN_MAX {
        return quoted.join(" → ");
    }
    format!("{} → … → {}", quoted[..SHOWN_MAX - 1].join(" → "), quoted[quoted.len() - 1])
}
