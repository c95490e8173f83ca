//! Sets of enum values, closed under complement without knowing how many names the enum has.

const BITS: usize = 64;

/// A set of indexes into the names of a [`crate::Kind::Enum`].
#[derive(Debug, Clone)]
pub struct EnumSet {
    words: Vec<u64>,
    /// Whether the indexes beyond `words` are members.
    rest: bool,
}

impl EnumSet {
    pub fn all() -> Self {
        Self { words: Vec::new(), rest: true }
    }

    pub fn none() -> Self {
        Self { words: Vec::new(), rest: false }
    }

    pub fn contains(&self, index: u16) -> bool {
        let index = usize::from(index);
        self.words.get(index / BITS).map_or(self.rest, |word| word >> (index % BITS) & 1 == 1)
    }

    /// Whether no index at all is missing.
    pub fn is_all(&self) -> bool {
        self.rest && self.words.iter().all(|word| *word == u64::MAX)
    }

    /// Whether no index at all is a member.
    pub fn is_none(&self) -> bool {
        !self.rest && self.words.iter().all(|word| *word == 0)
    }

    /// The members below `names`, the enum's number of names.
    pub fn members(&self, names: usize) -> impl Iterator<Item = u16> + '_ {
        (0..=u16::MAX).take(names).filter(|index| self.contains(*index))
    }

    #[must_use]
    pub fn complement(mut self) -> Self {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.rest = !self.rest;
        self
    }

    #[must_use]
    pub fn union(self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    #[must_use]
    pub fn intersection(self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    fn combine(mut self, other: &Self, operation: fn(u64, u64) -> u64) -> Self {
        let length = self.words.len().max(other.words.len());
        self.words.resize(length, fill(self.rest));
        for (index, word) in self.words.iter_mut().enumerate() {
            *word = operation(*word, other.words.get(index).copied().unwrap_or(fill(other.rest)));
        }
        self.rest = operation(fill(self.rest), fill(other.rest)) != 0;
        self
    }
}

impl FromIterator<u16> for EnumSet {
    fn from_iter<T: IntoIterator<Item = u16>>(indexes: T) -> Self {
        let mut set = Self::none();
        for index in indexes.into_iter().map(usize::from) {
            if set.words.len() <= index / BITS {
                set.words.resize(index / BITS + 1, 0);
            }
            set.words[index / BITS] |= 1 << (index % BITS);
        }
        set
    }
}

fn fill(member: bool) -> u64 {
    if member { u64::MAX } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(indexes: &[u16]) -> EnumSet {
        indexes.iter().copied().collect()
    }

    #[test]
    fn a_complement_reaches_beyond_the_stored_words() {
        let others = set(&[1, 70]).complement();
        assert!(!others.contains(1) && !others.contains(70) && others.contains(0) && others.contains(60_000));
        assert_eq!(others.members(4).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn union_and_intersection_work_across_lengths() {
        let both = set(&[1]).union(&set(&[500]));
        assert!(both.contains(1) && both.contains(500) && !both.contains(2));
        assert!(set(&[1, 500]).intersection(&set(&[1])).members(600).eq([1]));
        assert!(set(&[3]).complement().union(&set(&[3])).is_all());
        assert!(set(&[3]).intersection(&EnumSet::none()).is_none());
    }
}
