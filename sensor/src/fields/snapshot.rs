//! An event's values as they were, for rules that are asked about it later.

use std::collections::HashMap;

use tercel_filter::{FieldId, Fields, Value, Values};

use super::definition::Get;
use super::{Place, definition};
use crate::event::Event;
use crate::field_map::Held;

/// The values of some fields. What tells of the container is not among them: see [`Snapshot::at`].
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Missing ones are left out.
    values: HashMap<FieldId, Vec<ByArgument>>,
    /// All values of fields that have several.
    several: HashMap<FieldId, Vec<Held>>,
    pub(crate) bytes: usize,
}

/// A field's value with one argument, or without.
type ByArgument = (Option<Box<str>>, Held);

impl Snapshot {
    /// Everything that these fields hold now.
    pub(crate) fn of<'r>(event: &Event<'_>, reads: impl Iterator<Item = (FieldId, Option<&'r str>)>) -> Self {
        let mut snapshot = Self::default();
        for (field, argument) in reads {
            snapshot.take(event, field, argument);
        }
        snapshot
    }

    fn take(&mut self, event: &Event<'_>, id: FieldId, argument: Option<&str>) {
        let Some(field) = definition(id).filter(|field| !matches!(field.get, Get::Place(_) | Get::Told(_))) else {
            return;
        };
        if self.find(id, argument).is_none()
            && let Some(value) = event.value(id, argument)
        {
            let held = Held::from(value);
            self.bytes += held.bytes();
            self.values.entry(id).or_default().push((argument.map(Into::into), held));
        }
        let has_several = matches!(field.values, Values::AnyOf | Values::EitherOf | Values::Aliases);
        if has_several && argument.is_none() && !self.several.contains_key(&id) {
            let mut all = Vec::new();
            event.any(id, &mut |value| {
                all.push(Held::from(value));
                false
            });
            self.bytes += all.iter().map(Held::bytes).sum::<usize>();
            self.several.insert(id, all);
        }
    }

    fn find(&self, field: FieldId, argument: Option<&str>) -> Option<&Held> {
        let known = self.values.get(&field)?;
        known.iter().find(|(other, _)| other.as_deref() == argument).map(|(_, held)| held)
    }

    /// The event as it was, at a place of which more is known by now.
    pub(crate) fn at<'s>(&'s self, place: Place<'s>) -> Past<'s> {
        Past { snapshot: self, place }
    }
}

/// See [`Snapshot::at`].
pub(crate) struct Past<'s> {
    snapshot: &'s Snapshot,
    place: Place<'s>,
}

impl Fields for Past<'_> {
    fn value(&self, field: FieldId, argument: Option<&str>) -> Option<Value<'_>> {
        match &definition(field)?.get {
            Get::Place(get) | Get::Told(get) => get(self.place, argument),
            _ => self.snapshot.find(field, argument)?.value(),
        }
    }

    fn any(&self, field: FieldId, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        match self.snapshot.several.get(&field) {
            Some(values) => values.iter().filter_map(Held::value).any(test),
            None => self.value(field, None).is_some_and(test),
        }
    }
}
