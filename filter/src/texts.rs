//! The texts that a condition compares a field with, for whoever must know them beforehand.

use std::collections::BTreeSet;

use crate::catalog::FieldId;
use crate::eval::{Filter, Node, Source, Test, TextTest};

impl Filter {
    /// The texts that it compares this field with by `=`, `!=` or `in`.
    pub fn texts_of(&self, field: FieldId) -> BTreeSet<&[u8]> {
        let mut texts = BTreeSet::new();
        self.root.collect_texts(field, &mut texts);
        texts
    }
}

impl Node {
    fn collect_texts<'f>(&'f self, field: FieldId, texts: &mut BTreeSet<&'f [u8]>) {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.collect_texts(field, texts)),
            Self::Not(node) | Self::Once(_, node) => node.collect_texts(field, texts),
            Self::Check(check) => match (&check.source, &check.test) {
                (Source::Field(compared), Test::Text(test)) if compared.id == field => test.collect_equal(texts),
                _ => {}
            },
        }
    }
}

impl TextTest {
    fn collect_equal<'f>(&'f self, texts: &mut BTreeSet<&'f [u8]>) {
        match self {
            Self::Equal(text) | Self::NotEqual(text) => _ = texts.insert(text),
            Self::In(all) | Self::NotIn(all) => texts.extend(all.iter().map(|text| &**text)),
            Self::AnyOf(alternatives) => {
                texts.extend(alternatives.equal.iter().map(|text| &**text));
                alternatives.others.iter().for_each(|test| test.collect_equal(texts));
            }
            _ => {}
        }
    }
}
