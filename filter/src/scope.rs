//! The macros and lists that a condition may name.

use std::collections::{BTreeMap, HashSet};

use crate::ast::{Expr, Literal};
use crate::error::Error;
use crate::lexer::Cursor;

/// Items of one list, spliced ones included: what keeps lists of lists from exploding.
const LIST_ITEMS_MAX: usize = 50_000;

/// Named macros and lists. A later definition of a name replaces the earlier one, everywhere.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    macros: BTreeMap<String, Macro>,
    lists: BTreeMap<String, Vec<String>>,
    defined: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Macro {
    pub(crate) expr: Expr,
    /// A macro sees only the macros of smaller numbers, so there are no loops.
    pub(crate) order: usize,
}

impl Scope {
    pub fn new() -> Self {
        Self::default()
    }

    /// Defines a macro. Its condition may name the macros that were defined before; a condition that is compiled may name
    /// all.
    pub fn add_macro(&mut self, name: impl Into<String>, expr: Expr) {
        self.defined += 1;
        self.macros.insert(name.into(), Macro { expr, order: self.defined });
    }

    /// Defines a list. An item that is the name of a list defined before stands for that list's items; an item with quotes
    /// of its own is the text between them.
    ///
    /// # Errors
    ///
    /// More than 50,000 items, or an item that begins with a quote and is no quoted string. The error's span is empty.
    pub fn add_list(&mut self, name: impl Into<String>, items: Vec<String>) -> Result<(), Error> {
        let name = name.into();
        let mut spliced = Vec::with_capacity(items.len());
        let mut seen = HashSet::new();
        for item in items {
            let texts = match self.lists.get(&item) {
                Some(list) if item != name => list.clone(),
                _ => vec![unquote(item)?],
            };
            spliced.extend(texts.into_iter().filter(|text| seen.insert(text.clone())));
            if spliced.len() > LIST_ITEMS_MAX {
                return Err(Error::new(0..0, format!("the list has more than {LIST_ITEMS_MAX} items")));
            }
        }
        self.lists.insert(name, spliced);
        Ok(())
    }

    /// A macro's condition.
    pub fn macro_expr(&self, name: &str) -> Option<&Expr> {
        self.macros.get(name).map(|definition| &definition.expr)
    }

    /// A list's items, spliced and unquoted.
    pub fn list(&self, name: &str) -> Option<&[String]> {
        self.lists.get(name).map(Vec::as_slice)
    }

    pub(crate) fn definition(&self, name: &str) -> Option<&Macro> {
        self.macros.get(name)
    }

    pub(crate) fn macro_names(&self) -> impl Iterator<Item = &str> {
        self.macros.keys().map(String::as_str)
    }
}

fn unquote(item: String) -> Result<String, Error> {
    if !item.starts_with(['"', '\'']) {
        return Ok(item);
    }
    let mut cursor = Cursor::new(&item);
    match cursor.literal()? {
        Some(Literal { text, .. }) if cursor.rest().is_empty() => Ok(text),
        _ => Err(Error::new(0..0, format!("the list item {} goes on after its quotes", crate::error::shown(&item)))),
    }
}
