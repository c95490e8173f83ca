//! Sets of texts, told by what they begin with.

use crate::eval::Affixes;

/// The texts that begin with one of some beginnings, none of which begins with another.
#[derive(Debug, Clone, Default)]
pub struct Beginnings(Affixes);

impl Beginnings {
    /// No text.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every text.
    pub fn all() -> Self {
        Self::from_iter([Box::default()])
    }

    pub fn is_none(&self) -> bool {
        self.0.texts().is_empty()
    }

    pub fn is_all(&self) -> bool {
        self.0.texts().first().is_some_and(|text| text.is_empty())
    }

    /// Whether the text begins with one of them.
    pub fn contain(&self, text: &[u8]) -> bool {
        self.0.begin(text)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.texts().iter().map(|text| &**text)
    }

    /// The texts that are in either.
    #[must_use]
    pub fn union(self, other: &Self) -> Self {
        if self.is_all() || other.is_none() {
            return self;
        }
        if self.is_none() || other.is_all() {
            return other.clone();
        }
        self.iter().chain(other.iter()).map(Box::from).collect()
    }

    /// The texts that are in both: of two beginnings of which one begins with the other, the longer one.
    #[must_use]
    pub fn intersection(self, other: &Self) -> Self {
        if self.is_none() || other.is_all() {
            return self;
        }
        if self.is_all() || other.is_none() {
            return other.clone();
        }
        let in_other = self.iter().filter(|text| other.contain(text));
        let in_self = other.iter().filter(|text| self.contain(text));
        in_other.chain(in_self).map(Box::from).collect()
    }
}

impl FromIterator<Box<[u8]>> for Beginnings {
    fn from_iter<T: IntoIterator<Item = Box<[u8]>>>(texts: T) -> Self {
        Self(Affixes::new(texts.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Beginnings {
        texts.iter().map(|text| text.as_bytes().into()).collect()
    }

    fn list(beginnings: &Beginnings) -> Vec<String> {
        beginnings.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn a_beginning_of_another_stands_for_both() {
        assert_eq!(list(&of(&["/etc/shadow", "/usr", "/etc"])), ["/etc", "/usr"]);
        assert_eq!(list(&of(&["/etc"]).union(&of(&["/etc/x", "/a"]))), ["/a", "/etc"]);
        assert!(of(&["/etc"]).union(&Beginnings::all()).is_all());
    }

    #[test]
    fn what_two_sets_share_begins_with_the_longer_beginning() {
        let table: [(&[&str], &[&str], &[&str]); 5] = [
            (&["/etc", "/usr/bin/x"], &["/etc/shadow", "/usr/bin"], &["/etc/shadow", "/usr/bin/x"]),
            (&["/etc"], &["/usr"], &[]),
            (&[""], &["/usr"], &["/usr"]),
            (&[], &["/usr"], &[]),
            (&["/a", "/b"], &["/a", "/b"], &["/a", "/b"]),
        ];
        for (left, right, expected) in table {
            assert_eq!(list(&of(left).intersection(&of(right))), expected, "{left:?} {right:?}");
            assert_eq!(list(&of(right).intersection(&of(left))), expected, "{right:?} {left:?}");
        }
    }
}
