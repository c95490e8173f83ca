//! One comparison: the field's type, the operator and the literals → [`Test`].

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use memchr::memmem;

use crate::ast::{Check, Operator};
use crate::catalog::{Catalog, Field, FieldId, Kind};
use crate::enum_set::EnumSet;
use crate::error::{Error, shown, suggestion};
use crate::eval::{DynamicSet, DynamicTest, Number, NumberTest, Order, Test, TextTest};
use crate::pattern::{Paths, glob, regex};
use crate::scope::Scope;

/// A literal, or a list's item with the span of the list's name.
pub(super) struct Item<'a> {
    text: &'a str,
    span: Range<usize>,
}

/// The literals with the names of lists replaced by their items.
pub(super) fn resolve<'a>(check: &'a Check, scope: &'a Scope) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(check.literals.len());
    for literal in &check.literals {
        let item = |text: &'a str| Item { text, span: literal.span.clone() };
        match scope.list(&literal.text).filter(|_| check.operator.takes_list() && !literal.quoted) {
            Some(list) => items.extend(list.into_iter().map(item)),
            None => items.push(item(&literal.text)),
        }
    }
    items
}

/// The test that a value of the field must pass.
pub(super) fn test(catalog: &dyn Catalog, field: &Field, check: &Check, items: &[Item<'_>]) -> Result<Test, Error> {
    if check.operator == Operator::Exists {
        return Ok(Test::Exists);
    }
    match field.kind {
        Kind::Text | Kind::Bytes => text(check, items).map(Test::Text),
        Kind::Number | Kind::Port | Kind::Float => number(check, items).map(Test::Number),
        Kind::Bool => boolean(check, items).map(Test::Bool),
        Kind::Ip | Kind::Net => address(check, items),
        Kind::Enum { what, names, ordered } => {
            enumeration(check, items, &Enumeration { catalog, field: field.id, what, names, ordered }).map(Test::Enum)
        }
        Kind::Dynamic => dynamic(check, items).map(|test| Test::Dynamic(Box::new(test))),
    }
}

/// An operator that the field's type does not take.
fn wrong_operator<T>(check: &Check, kind: &str) -> Result<T, Error> {
    let name = shown(&check.field.name);
    let message = format!("`{}` does not apply to {name}, which is {kind}", check.operator.name());
    Err(Error::new(check.operator_span.clone(), message))
}

fn expected<T>(item: &Item<'_>, what: &str) -> Result<T, Error> {
    Err(Error::new(item.span.clone(), format!("expected {what}, found {}", shown(item.text))))
}

/// The literal of an operator that takes one; the parser made sure of it.
fn single<'i, 'a>(check: &Check, items: &'i [Item<'a>]) -> Result<&'i Item<'a>, Error> {
    items.first().ok_or_else(|| {
        Error::new(check.operator_span.clone(), format!("expected a value after `{}`", check.operator.name()))
    })
}

fn order(operator: Operator) -> Option<Order> {
    match operator {
        Operator::Less => Some(Order::Less),
        Operator::LessOrEqual => Some(Order::LessOrEqual),
        Operator::Greater => Some(Order::Greater),
        Operator::GreaterOrEqual => Some(Order::GreaterOrEqual),
        _ => None,
    }
}

fn text(check: &Check, items: &[Item<'_>]) -> Result<TextTest, Error> {
    if matches!(check.operator, Operator::In | Operator::Intersects) {
        return Ok(TextTest::In(items.iter().map(|item| bytes(item.text)).collect()));
    }
    if check.operator == Operator::PathMatch {
        return paths(items).map(TextTest::Paths);
    }
    let item = single(check, items)?;
    let broken = |message: String| Error::new(item.span.clone(), message);
    Ok(match check.operator {
        Operator::Equal => TextTest::Equal(bytes(item.text)),
        Operator::NotEqual => TextTest::NotEqual(bytes(item.text)),
        Operator::Contains => TextTest::Contains(Box::new(memmem::Finder::new(item.text.as_bytes()).into_owned())),
        Operator::IContains => TextTest::IContains(bytes(&item.text.to_ascii_lowercase())),
        Operator::StartsWith => TextTest::StartsWith(bytes(item.text)),
        Operator::EndsWith => TextTest::EndsWith(bytes(item.text)),
        Operator::Glob => TextTest::Glob(glob(item.text, false).map_err(broken)?),
        Operator::IGlob => TextTest::Glob(glob(item.text, true).map_err(broken)?),
        Operator::Regex => TextTest::Regex(regex(item.text).map_err(broken)?),
        _ => return wrong_operator(check, "text, and only numbers have an order"),
    })
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

fn paths(items: &[Item<'_>]) -> Result<Paths, Error> {
    let mut paths = Paths::new();
    for item in items {
        paths.push(item.text).map_err(|message| Error::new(item.span.clone(), message))?;
    }
    Ok(paths)
}

fn number(check: &Check, items: &[Item<'_>]) -> Result<NumberTest, Error> {
    let read = |item: &Item<'_>| match whole(item.text) {
        Some(number) => Ok(number),
        None => expected(item, "a whole number"),
    };
    if let Some(order) = order(check.operator) {
        return Ok(NumberTest::Order(order, read(single(check, items)?)?));
    }
    match check.operator {
        Operator::Equal | Operator::In | Operator::Intersects => {
            Ok(NumberTest::In(items.iter().map(read).collect::<Result<_, _>>()?))
        }
        Operator::NotEqual => Ok(NumberTest::NotEqual(read(single(check, items)?)?)),
        _ => wrong_operator(check, "a number"),
    }
}

/// A decimal or, after `0x`, hexadecimal number of 64 bits.
fn whole(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => i64::from_str_radix(digits, 16).ok().filter(|number| *number >= 0),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

fn boolean(check: &Check, items: &[Item<'_>]) -> Result<[bool; 2], Error> {
    let mut accepted = [false; 2];
    for item in items {
        match item.text.parse::<bool>() {
            Ok(value) => accepted[usize::from(value)] = true,
            Err(_) => return expected(item, "`true` or `false`"),
        }
    }
    match check.operator {
        Operator::Equal | Operator::In | Operator::Intersects => Ok(accepted),
        Operator::NotEqual => Ok(accepted.map(|accepted| !accepted)),
        _ => wrong_operator(check, "true or false"),
    }
}

fn address(check: &Check, items: &[Item<'_>]) -> Result<Test, Error> {
    let negated = match check.operator {
        Operator::Equal | Operator::In | Operator::Intersects => false,
        Operator::NotEqual => true,
        _ => return wrong_operator(check, "an address"),
    };
    let read = |item: &Item<'_>| match item.text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => expected(item, "an IPv4 or IPv6 address"),
    };
    Ok(Test::Ip { accepted: items.iter().map(read).collect::<Result<_, _>>()?, negated })
}

/// An enum field's names.
struct Enumeration<'a> {
    catalog: &'a dyn Catalog,
    field: FieldId,
    what: &'static str,
    names: &'static [&'static str],
    ordered: bool,
}

impl Enumeration<'_> {
    fn index(&self, item: &Item<'_>) -> Result<u16, Error> {
        let same = |name: &&str| if self.ordered { name.eq_ignore_ascii_case(item.text) } else { *name == item.text };
        let listed = self.names.iter().position(same).and_then(|index| u16::try_from(index).ok());
        listed.or_else(|| self.catalog.enum_alias(self.field, item.text)).ok_or_else(|| {
            let near = suggestion(item.text, self.names.iter().copied());
            Error::new(item.span.clone(), format!("unknown {} {}{near}", self.what, shown(item.text)))
        })
    }
}

/// All operators come down to a set of names.
fn enumeration(check: &Check, items: &[Item<'_>], known: &Enumeration<'_>) -> Result<EnumSet, Error> {
    if let Some(order) = order(check.operator).filter(|_| known.ordered) {
        let limit = known.index(single(check, items)?)?;
        return Ok((0..=u16::MAX).take(known.names.len()).filter(|index| order.accepts(index.cmp(&limit))).collect());
    }
    if !matches!(check.operator, Operator::Equal | Operator::NotEqual | Operator::In | Operator::Intersects) {
        return wrong_operator(check, &format!("an {} by name", known.what));
    }
    let listed: EnumSet = items.iter().map(|item| known.index(item)).collect::<Result<_, _>>()?;
    Ok(if check.operator == Operator::NotEqual { listed.complement() } else { listed })
}

fn dynamic(check: &Check, items: &[Item<'_>]) -> Result<DynamicTest, Error> {
    if let Some(order) = order(check.operator) {
        let item = single(check, items)?;
        return match any_number(item.text) {
            Some(number) => Ok(DynamicTest::Order(order, number)),
            None => expected(item, "a number"),
        };
    }
    match check.operator {
        Operator::Equal | Operator::In | Operator::Intersects => Ok(DynamicTest::In(dynamic_set(items))),
        Operator::NotEqual => Ok(DynamicTest::NotIn(dynamic_set(items))),
        _ => text(check, items).map(DynamicTest::Text),
    }
}

fn dynamic_set(items: &[Item<'_>]) -> DynamicSet {
    let texts = || items.iter().map(|item| item.text);
    DynamicSet {
        texts: texts().map(bytes).collect(),
        numbers: texts().filter_map(any_number).collect(),
        bools: texts().filter_map(|text| text.parse().ok()).collect(),
        addresses: texts().filter_map(|text| text.parse().ok()).collect(),
    }
}

fn any_number(text: &str) -> Option<Number> {
    let number = match whole(text) {
        // Through text, since every i64 has a decimal form and the nearest float is what is meant.
        Some(whole) => Number { whole: Some(whole), float: whole.to_string().parse().ok()? },
        None => Number { whole: None, float: text.parse().ok()? },
    };
    number.float.is_finite().then_some(number)
}
