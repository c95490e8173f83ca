//! The macros and lists that a condition may name.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::ast::{Expr, Literal};
use crate::error::{Error, shown};
use crate::lexer::{Cursor, is_blank};

mod expand;

/// Named macros and lists, with Falco's rules of visibility: a condition sees all of them, a macro or list sees those whose
/// name was defined before it. A later definition of a name replaces the earlier one, everywhere.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    macros: BTreeMap<String, Definition<Expr>>,
    lists: BTreeMap<String, Definition<Vec<Item>>>,
    defined: usize,
}

#[derive(Debug, Clone)]
struct Definition<T> {
    body: T,
    /// When the name was defined first.
    index: usize,
    /// When it was defined last: it sees the names of smaller index.
    sees: usize,
}

impl<T> Definition<T> {
    fn is_visible_to(&self, sees: usize) -> bool {
        self.index < sees
    }
}

#[derive(Debug, Clone)]
struct Item {
    text: String,
    /// Had quotes of its own, so is no list's name.
    quoted: bool,
}

impl Scope {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add_macro(&mut self, name: impl Into<String>, expr: Expr) {
        define(&mut self.macros, name.into(), expr, &mut self.defined);
    }

    /// Defines a list. An item that is the name of a list seen from here stands for that list's items; an item with quotes
    /// of its own is the text between them. Falco puts items into conditions as text, so one without blanks and quotes is as
    /// many as it has commas, and an empty one is none.
    ///
    /// # Errors
    ///
    /// An item that begins with a quote and is no quoted string. The error's span is within that item.
    pub fn add_list(&mut self, name: impl Into<String>, items: Vec<String>) -> Result<(), Error> {
        let mut read = Vec::with_capacity(items.len());
        for written in items {
            for piece in pieces(&written) {
                read.push(item(piece)?);
            }
        }
        let items = read;
        define(&mut self.lists, name.into(), items, &mut self.defined);
        Ok(())
    }

    /// A macro's condition.
    pub fn macro_expr(&self, name: &str) -> Option<&Expr> {
        self.macros.get(name).map(|definition| &definition.body)
    }

    /// A list's items, those of the lists it names included. Each list counts once, so lists of lists neither explode nor
    /// loop.
    pub fn list(&self, name: &str) -> Option<Vec<&str>> {
        let list = self.lists.get(name)?;
        // The lists that are being read, outermost first, each with what is left of it.
        let mut reading = vec![(list.sees, list.body.iter())];
        let mut seen = HashSet::from([name]);
        let mut texts = Vec::new();
        while let Some((index, items)) = reading.last_mut() {
            let index = *index;
            let Some(item) = items.next() else {
                reading.pop();
                continue;
            };
            let named = self.lists.get(&item.text).filter(|named| !item.quoted && named.is_visible_to(index));
            match named {
                Some(named) if seen.insert(&item.text) => reading.push((named.sees, named.body.iter())),
                Some(_) => {}
                None => texts.push(item.text.as_str()),
            }
        }
        Some(texts)
    }

    /// The names of lists that a condition's values name; those within macros and lists are not.
    pub fn lists_used<'a>(&self, expr: &'a Expr) -> BTreeSet<&'a str> {
        let mut names = BTreeSet::new();
        expr.visit_checks(&mut |check| {
            let bare = check.right.literals().iter().filter(|literal| !literal.quoted);
            names.extend(bare.map(|literal| literal.text.as_str()).filter(|text| self.lists.contains_key(*text)));
        });
        names
    }
}

fn define<T>(all: &mut BTreeMap<String, Definition<T>>, name: String, body: T, defined: &mut usize) {
    *defined += 1;
    let sees = *defined;
    let index = all.get(&name).map_or(sees, |earlier| earlier.index);
    all.insert(name, Definition { body, index, sees });
}

fn pieces(written: &str) -> impl Iterator<Item = &str> {
    let is_whole = written.starts_with(['"', '\'']) || written.contains(is_blank);
    let separator = move |character: char| character == ',' && !is_whole;
    written.split(separator).filter(|piece| !piece.is_empty())
}

fn item(written: &str) -> Result<Item, Error> {
    if !written.starts_with(['"', '\'']) {
        return Ok(Item { text: written.to_owned(), quoted: false });
    }
    let mut cursor = Cursor::new(written);
    match cursor.literal()? {
        Some(Literal { text, .. }) if cursor.rest().is_empty() => Ok(Item { text, quoted: true }),
        _ => Err(cursor.error(format!("the list item {} goes on after its quotes", shown(written)))),
    }
}
