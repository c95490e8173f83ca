//! All entries of an outbox, in lists that are links between slots: moving an entry from one list to another moves none
//! of its bytes.

use super::Entry;

/// A slab that was larger than this many entries gives its memory back when it is empty.
pub(super) const SLAB_KEPT: usize = 1_024;

/// The end of a list.
const NONE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    free: List,
    len: usize,
    bytes: u64,
}

struct Slot {
    entry: Option<Entry>,
    next: u32,
}

/// A list of slots.
#[derive(Clone, Copy)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl List {
    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }

    pub(super) fn first(self) -> u32 {
        self.first
    }
}

impl Slab {
    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Their size in the store.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every entry, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(slot as usize)?.entry.as_ref()
    }

    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        self.len += 1;
        self.bytes += u64::from(entry.bytes);
        let mut free = self.free;
        if let Some(slot) = self.pop(&mut free) {
            self.free = free;
            self.slots[slot as usize].entry = Some(entry);
            return slot;
        }
        self.slots.push(Slot { entry: Some(entry), next: NONE });
        u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.slots.get_mut(slot as usize)?.entry.take()?;
        self.len -= 1;
        self.bytes -= u64::from(entry.bytes);
        let mut free = self.free;
        self.prepend(&mut free, slot);
        self.free = free;
        Some(entry)
    }

    pub(super) fn pop(&mut self, list: &mut List) -> Option<u32> {
        let slot = list.first;
        list.first = self.slots.get(slot as usize)?.next;
        if list.first == NONE {
            list.last = NONE;
        }
        Some(slot)
    }

    pub(super) fn append(&mut self, list: &mut List, slot: u32) {
        self.slots[slot as usize].next = NONE;
        match list.last {
            NONE => list.first = slot,
            end => self.slots[end as usize].next = slot,
        }
        list.last = slot;
    }

    pub(super) fn prepend(&mut self, list: &mut List, slot: u32) {
        self.slots[slot as usize].next = list.first;
        if list.first == NONE {
            list.last = slot;
        }
        list.first = slot;
    }

    /// Moves the slots that `wanted` says yes to from the list to the end of `found`; the others keep their order.
    pub(super) fn split_off(&mut self, list: &mut List, wanted: impl Fn(&Entry) -> bool, found: &mut Vec<u32>) {
        let mut kept = List::default();
        while let Some(slot) = self.pop(list) {
            if self.get(slot).is_some_and(&wanted) {
                found.push(slot);
            } else {
                self.append(&mut kept, slot);
            }
        }
        *list = kept;
    }

    /// Frees the memory of a large slab that is empty.
    pub(super) fn give_back(&mut self) {
        if self.slots.len() > SLAB_KEPT {
            *self = Self::default();
        }
    }
}
