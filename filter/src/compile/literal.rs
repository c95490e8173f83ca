//! One comparison with values: the operand's type, the operator and the literals → [`Test`].

use std::net::IpAddr;

use ipnet::IpNet;
use memchr::memmem;

use super::operand::Typed;
use super::service;
use crate::ast::{Check, Literal, Operator, Quantifier, Right};
use crate::catalog::{Catalog, Field, Kind, Values};
use crate::enum_set::EnumSet;
use crate::error::{Error, ErrorKind, shown, suggestion};
use crate::eval::{DynamicSet, DynamicTest, FloatTest, Number, NumberTest, Order, Test, TextTest};
use crate::pattern::glob::Glob;
use crate::pattern::paths::Paths;
use crate::pattern::regex;

/// The test that a value must pass, and whether it must not: of two ends `!=` asks that neither is equal (`either`).
pub(super) fn test(catalog: &dyn Catalog, left: &Typed, check: &Check, either: bool) -> Result<(Test, bool), Error> {
    check_operator(check, left)?;
    if let Right::Quantified(quantifier, literals) = &check.right {
        if matches!(left.values, Values::Aliases | Values::Distance) {
            let message = format!("{} takes no `oneof`, `anyof` or `allof`, only values", shown(&left.name));
            return Err(Error::mismatch(check.operator_span.clone(), message));
        }
        let one = |literal: &Literal| plain(catalog, left, check, check.operator, std::slice::from_ref(literal));
        let tests = literals.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        if let Kind::Enum { names, .. } = left.kind {
            return Ok((Test::Enum(quantified_names(*quantifier, &tests, names.len())), false));
        }
        return Ok((Test::Quantified(*quantifier, tests.into()), false));
    }
    let negated = either && check.operator == Operator::NotEqual;
    let operator = if negated { Operator::Equal } else { check.operator };
    plain(catalog, left, check, operator, check.right.literals()).map(|test| (test, negated))
}

fn plain(
    catalog: &dyn Catalog,
    left: &Typed,
    check: &Check,
    operator: Operator,
    items: &[Literal],
) -> Result<Test, Error> {
    if operator == Operator::Exists {
        return Ok(Test::Exists);
    }
    let side = Side { left, check, operator, items };
    if left.values == Values::List {
        let accepted = items.iter().map(|item| item.bytes().into()).collect();
        return Ok(Test::List { accepted, all: operator == Operator::In });
    }
    match left.kind {
        Kind::Text | Kind::Bytes => side.text().map(Test::Text),
        Kind::Number | Kind::Port => side.number().map(Test::Number),
        Kind::Float => side.float().map(Test::Float),
        Kind::Bool => side.boolean().map(Test::Bool),
        Kind::Ip | Kind::Net => side.address(),
        Kind::Enum { what, names, ordered } => {
            side.enumeration(&Enumeration { catalog, field: left.field, what, names, ordered })
        }
        Kind::Dynamic => side.dynamic().map(|test| Test::Dynamic(Box::new(test))),
    }
}

/// An operator that the type does not take.
pub(super) fn check_operator(check: &Check, left: &Typed) -> Result<(), Error> {
    use Operator::{BContains, BStartsWith, Contains, EndsWith, Equal, Exists, In, Intersects, NotEqual, StartsWith};
    let operator = check.operator;
    let takes = match left.kind {
        _ if operator == Exists => true,
        _ if left.values == Values::List => matches!(operator, In | Intersects),
        _ if left.values == Values::Aliases => matches!(operator, Equal | NotEqual | In),
        _ if left.values == Values::Distance => operator == Equal,
        Kind::Text | Kind::Dynamic | Kind::Enum { ordered: false, .. } => !matches!(operator, BContains | BStartsWith),
        Kind::Bytes => matches!(
            operator,
            Equal | NotEqual | Contains | StartsWith | EndsWith | BContains | BStartsWith | In | Intersects
        ),
        Kind::Number | Kind::Port | Kind::Float | Kind::Enum { ordered: true, .. } => {
            matches!(operator, Equal | NotEqual | In | Intersects) || operator.is_order()
        }
        Kind::Bool | Kind::Ip | Kind::Net => matches!(operator, Equal | NotEqual | In | Intersects),
    };
    if takes {
        return Ok(());
    }
    let list = if left.values == Values::List { "a list of " } else { "" };
    let message =
        format!("`{}` does not apply to {}, which is {list}{}", operator.name(), shown(&left.name), left.type_name);
    Err(Error::mismatch(check.operator_span.clone(), message))
}

fn expected<T>(item: &Literal, what: &str) -> Result<T, Error> {
    Err(Error::mismatch(item.span.clone(), format!("expected {what}, found {}", shown(&item.text))))
}

/// A comparison's sides.
struct Side<'a> {
    left: &'a Typed,
    check: &'a Check,
    operator: Operator,
    items: &'a [Literal],
}

impl Side<'_> {
    /// The value of an operator that takes one; the parser made sure of it.
    fn single(&self) -> Result<&Literal, Error> {
        self.items.first().ok_or_else(|| {
            let message = format!("expected a value after `{}`", self.operator.name());
            Error::new(self.check.operator_span.clone(), message)
        })
    }

    fn text(&self) -> Result<TextTest, Error> {
        if matches!(self.operator, Operator::In | Operator::Intersects) {
            return Ok(TextTest::In(self.items.iter().map(|item| item.bytes().into()).collect()));
        }
        if self.operator == Operator::PathMatch {
            return self.paths().map(TextTest::Paths);
        }
        let item = self.single()?;
        let text = item.text.as_str();
        if let Some(order) = Order::of(self.operator) {
            // Texts have an order, but only numbers can be written behind these operators.
            any_number(text).map_or_else(|| expected(item, "a number"), Ok)?;
            return Ok(TextTest::Order(order, bytes(text)));
        }
        let bytes: Box<[u8]> = item.bytes().into();
        Ok(match self.operator {
            Operator::NotEqual => TextTest::NotEqual(bytes),
            Operator::Contains => contains(&bytes),
            Operator::BContains => contains(&hexadecimal(item)?),
            Operator::IContains => TextTest::IContains(bytes.to_ascii_lowercase().into()),
            Operator::StartsWith => TextTest::StartsWith(bytes),
            Operator::BStartsWith => TextTest::StartsWith(hexadecimal(item)?),
            Operator::EndsWith => TextTest::EndsWith(bytes),
            Operator::Glob => TextTest::Glob(Glob::new(&bytes, false)),
            Operator::IGlob => TextTest::Glob(Glob::new(&bytes, true)),
            Operator::Regex => TextTest::Regex(regex::compile(text).map_err(|refused| {
                let message = format!("the regular expression {}: {}", shown(text), refused.reason);
                let kind = if refused.is_too_large { ErrorKind::TooLarge } else { ErrorKind::Type };
                Error::of(kind, item.span.clone(), message)
            })?),
            _ => TextTest::Equal(bytes),
        })
    }

    fn paths(&self) -> Result<Paths, Error> {
        let mut paths = Paths::default();
        for item in self.items {
            paths.push(&item.text).map_err(|message| Error::mismatch(item.span.clone(), message))?;
        }
        Ok(paths)
    }

    fn number(&self) -> Result<NumberTest, Error> {
        let read = |item: &Literal| {
            let named = self.left.kind == Kind::Port && !self.operator.is_order();
            let port = || service::port(&item.text).map(i64::from).filter(|_| named);
            let what = if self.left.kind == Kind::Port { "a port's number or service" } else { "a whole number" };
            let (least, most) = bounds(self.left.type_name);
            // A negative number of an unsigned type is what C makes of it: `user.uid = -1` is the largest uid.
            let wrapped =
                |number: i128| if number < 0 && wraps(self.left.type_name) { number + most + 1 } else { number };
            let number = wide(&item.text).map(wrapped).filter(|number| (least..=most).contains(number)).map(clamp);
            number.or_else(port).map_or_else(|| expected(item, what), Ok)
        };
        if let Some(order) = Order::of(self.operator) {
            return Ok(NumberTest::Order(order, read(self.single()?)?));
        }
        match self.operator {
            Operator::Equal if self.left.values == Values::Distance => {
                Ok(NumberTest::Order(Order::LessOrEqual, read(self.single()?)?))
            }
            Operator::Equal => Ok(NumberTest::Equal(read(self.single()?)?)),
            Operator::NotEqual => Ok(NumberTest::NotEqual(read(self.single()?)?)),
            _ => Ok(NumberTest::In(self.items.iter().map(read).collect::<Result<_, _>>()?)),
        }
    }

    fn float(&self) -> Result<FloatTest, Error> {
        let read = |item: &Literal| any_number(&item.text).map_or_else(|| expected(item, "a number"), |n| Ok(n.float));
        if let Some(order) = Order::of(self.operator) {
            return Ok(FloatTest::Order(order, read(self.single()?)?));
        }
        match self.operator {
            Operator::NotEqual => Ok(FloatTest::NotEqual(read(self.single()?)?)),
            _ => Ok(FloatTest::In(self.items.iter().map(read).collect::<Result<_, _>>()?)),
        }
    }

    fn boolean(&self) -> Result<[bool; 2], Error> {
        let mut accepted = [false; 2];
        for item in self.items {
            match item.text.parse::<bool>() {
                Ok(value) => accepted[usize::from(value)] = true,
                Err(_) => return expected(item, "`true` or `false`"),
            }
        }
        Ok(if self.operator == Operator::NotEqual { accepted.map(|accepted| !accepted) } else { accepted })
    }

    fn address(&self) -> Result<Test, Error> {
        let read = |item: &Literal| match self.left.kind {
            Kind::Net => match item.text.parse::<IpNet>() {
                Ok(net) => Ok(net),
                Err(_) => expected(item, "a network in CIDR notation, such as 10.0.0.0/8"),
            },
            _ => match item.text.parse::<IpAddr>() {
                Ok(address) => Ok(IpNet::from(address)),
                Err(_) => expected(item, "an IPv4 or IPv6 address"),
            },
        };
        let accepted = self.items.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Test::Ip { accepted, negated: self.operator == Operator::NotEqual })
    }

    /// All operators come down to a set of names.
    fn enumeration(&self, known: &Enumeration<'_>) -> Result<Test, Error> {
        let all = || (0..=u16::MAX).take(known.names.len());
        if let Some(order) = Order::of(self.operator).filter(|_| known.ordered) {
            let limit = known.index(self.single()?)?;
            return Ok(Test::Enum(all().filter(|index| order.accepts(index.cmp(&limit))).collect()));
        }
        let listed: EnumSet = self.items.iter().map(|item| known.index(item)).collect::<Result<_, _>>()?;
        match self.operator {
            Operator::Equal | Operator::In | Operator::Intersects => return Ok(Test::Enum(listed)),
            Operator::NotEqual => return Ok(Test::Enum(listed.complement())),
            _ => {}
        }
        // A text operator: which of the names would pass it.
        let test = self.text()?;
        let mut scratch = crate::scratch::Scratch::new();
        let passes = |index: &u16| test.accepts(known.names[usize::from(*index)].as_bytes(), &mut scratch);
        Ok(Test::Enum(all().filter(passes).collect()))
    }

    fn dynamic(&self) -> Result<DynamicTest, Error> {
        if let Some(order) = Order::of(self.operator) {
            let item = self.single()?;
            return match any_number(&item.text) {
                Some(number) => Ok(DynamicTest::Order(order, number)),
                None => expected(item, "a number"),
            };
        }
        match self.operator {
            Operator::Equal | Operator::In | Operator::Intersects => Ok(DynamicTest::In(dynamic_set(self.items))),
            Operator::NotEqual => Ok(DynamicTest::NotIn(dynamic_set(self.items))),
            _ => self.text().map(DynamicTest::Text),
        }
    }
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

fn contains(needle: &[u8]) -> TextTest {
    TextTest::Contains(Box::new(memmem::Finder::new(needle).into_owned()))
}

/// The bytes that pairs of hexadecimal digits stand for.
fn hexadecimal(item: &Literal) -> Result<Box<[u8]>, Error> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = item.text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    match bytes.collect::<Option<Box<[u8]>>>() {
        Some(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => expected(item, "pairs of hexadecimal digits, such as cafe01"),
    }
}

/// The names of which as many sets hold as the quantifier asks.
fn quantified_names(quantifier: Quantifier, tests: &[Test], names: usize) -> EnumSet {
    let holds = |index: u16| tests.iter().filter(|test| matches!(test, Test::Enum(set) if set.contains(index))).count();
    let is_member = |index: &u16| match quantifier {
        Quantifier::OneOf => holds(*index) == 1,
        Quantifier::AnyOf => holds(*index) > 0,
        Quantifier::AllOf => !tests.is_empty() && holds(*index) == tests.len(),
    };
    (0..=u16::MAX).take(names).filter(is_member).collect()
}

/// A decimal or, after `0x`, hexadecimal number.
fn wide(text: &str) -> Option<i128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => i128::from_str_radix(digits, 16).ok().filter(|number| *number >= 0),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

fn whole(text: &str) -> Option<i64> {
    wide(text).and_then(|number| number.try_into().ok())
}

/// What is larger than any value is the largest.
fn clamp(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether Falco reads a negative number of this type.
fn wraps(type_name: &str) -> bool {
    matches!(type_name, "UINT32" | "UINT64")
}

/// The least and the greatest number of a type, by its name.
fn bounds(type_name: &str) -> (i128, i128) {
    match type_name {
        "INT8" => (i8::MIN.into(), i8::MAX.into()),
        "INT16" => (i16::MIN.into(), i16::MAX.into()),
        "INT32" => (i32::MIN.into(), i32::MAX.into()),
        "UINT8" => (0, u8::MAX.into()),
        "PORT" | "UINT16" => (0, u16::MAX.into()),
        "UINT32" => (0, u32::MAX.into()),
        "UINT64" | "RELTIME" | "ABSTIME" => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

/// An enum field's names.
struct Enumeration<'a> {
    catalog: &'a dyn Catalog,
    field: Option<Field>,
    what: &'static str,
    names: &'static [&'static str],
    ordered: bool,
}

impl Enumeration<'_> {
    fn index(&self, item: &Literal) -> Result<u16, Error> {
        let text = item.text.as_str();
        let same = |name: &&str| if self.ordered { name.eq_ignore_ascii_case(text) } else { *name == text };
        let listed = self.names.iter().position(same).and_then(|index| u16::try_from(index).ok());
        let alias = || self.field.and_then(|field| self.catalog.enum_alias(field.id, text));
        listed.or_else(alias).ok_or_else(|| {
            let near = suggestion(text, self.names.iter().copied());
            let message = format!("unknown {} {}{near}", self.what, shown(text));
            Error::of(ErrorKind::UnknownName, item.span.clone(), message)
        })
    }
}

fn dynamic_set(items: &[Literal]) -> DynamicSet {
    let texts = || items.iter().map(|item| item.text.as_str());
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
