//! The fields of events: one table, from which the condition language's catalog, the values and `docs/fields.md` are made.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use tercel_filter::{Catalog, Field, FieldId, Fields, Value, Values};

use crate::enrich::process::Process;
use crate::event::Event;

mod container;
mod definition;
mod evt;
mod fd;
mod k8s;
mod parameters;
mod proc;
mod reference;
mod snapshot;
mod thread;
pub(crate) mod time;
mod user;

pub(crate) use definition::Place;
pub use definition::{Definition, Flag, Shape, Type};
pub use reference::{json, markdown};
pub(crate) use snapshot::Snapshot;

use definition::{Get, number, row, text};

/// What stands for everything that is in no container.
const HOST: &str = "host";

/// Those of a class of their own.
const OTHERS: &[Definition] =
    &[row("util.cnt", Type::Uint64, "Counts how often it was asked for, by all rules together.")
        .get(|event, _| number(event.state.next_number()))];

const CLASSES: [&[Definition]; 8] =
    [evt::FIELDS, fd::FIELDS, proc::FIELDS, thread::FIELDS, user::FIELDS, container::FIELDS, k8s::FIELDS, OTHERS];

const FIELDS: usize = {
    let (mut count, mut class) = (0, 0);
    while class < CLASSES.len() {
        count += CLASSES[class].len();
        class += 1;
    }
    count
};

/// Every field; its place is its number.
pub static TABLE: [Definition; FIELDS] = {
    let mut table = [OTHERS[0]; FIELDS];
    let (mut count, mut class) = (0, 0);
    while class < CLASSES.len() {
        let mut index = 0;
        while index < CLASSES[class].len() {
            table[count] = CLASSES[class][index];
            count += 1;
            index += 1;
        }
        class += 1;
    }
    table
};

/// The fields that rules may name.
#[derive(Debug, Clone, Copy, Default)]
pub struct SensorCatalog;

/// The field that says what happened; rules are sorted by it.
pub fn event_type_field() -> FieldId {
    static ID: LazyLock<FieldId> = LazyLock::new(|| find("evt.type").map_or(FieldId(0), |(id, _)| id));
    *ID
}

/// The fields that are the names of a host.
pub(crate) fn host_name_fields() -> impl Iterator<Item = FieldId> {
    (0..).map(FieldId).zip(&TABLE).filter(|(_, field)| field.values == Values::Aliases).map(|(id, _)| id)
}

/// A field's number and definition.
pub fn find(name: &str) -> Option<(FieldId, &'static Definition)> {
    static BY_NAME: LazyLock<HashMap<&str, (FieldId, &Definition)>> = LazyLock::new(|| {
        (0..).map(FieldId).zip(&TABLE).map(|(id, definition)| (definition.name, (id, definition))).collect()
    });
    BY_NAME.get(name).copied()
}

/// The definition of a field that this catalog gave out.
pub fn definition(id: FieldId) -> Option<&'static Definition> {
    TABLE.get(usize::from(id.0))
}

/// Whether the field is missing until a container's runtime tells it.
pub(crate) fn is_told(id: FieldId) -> bool {
    definition(id).is_some_and(Definition::is_told)
}

impl Catalog for SensorCatalog {
    fn field(&self, name: &str) -> Option<Field> {
        let (id, definition) = find(name)?;
        Some(definition.to_field(id))
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(TABLE.iter().map(|definition| definition.name))
    }

    fn check_argument(&self, field: FieldId, argument: &str) -> Result<(), String> {
        definition(field).and_then(|definition| definition.shape).map_or(Ok(()), |shape| shape.check(argument))
    }
}

impl Fields for Event<'_> {
    fn value(&self, field: FieldId, argument: Option<&str>) -> Option<Value<'_>> {
        match &definition(field)?.get {
            Get::Nothing => None,
            Get::Event(get) => get(self, argument),
            Get::Place(get) | Get::Told(get) => get(self.place(), argument),
            Get::Ancestor(get) => get(self.ancestor(argument.map_or(Some(0), |place| place.parse().ok())?)?),
            Get::Ends(get) => self.connection()?.ends().next().map(get),
            Get::Hosts(get) => self.state.hosts.of(get(self)?.ip).next().map(text),
        }
    }

    fn any(&self, field: FieldId, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        match definition(field).map(|definition| &definition.get) {
            Some(Get::Ancestor(get)) => self.state.processes.ancestors(self.process).filter_map(get).any(test),
            Some(Get::Ends(get)) => self.connection().is_some_and(|connection| connection.ends().map(get).any(test)),
            Some(Get::Hosts(get)) => get(self).is_some_and(|end| self.any_name(end.ip, test)),
            Some(Get::Event(get)) => get(self, None).is_some_and(test),
            Some(Get::Place(get) | Get::Told(get)) => get(self.place(), None).is_some_and(test),
            Some(Get::Nothing) | None => false,
        }
    }
}

impl Event<'_> {
    pub(crate) fn place(&self) -> Place<'_> {
        let container = self.process.container.as_deref();
        let metadata = container.and_then(|container| self.state.inventory.of(&container.full_id));
        Place { container, metadata, time_ns: self.time_ns }
    }

    /// Asks about the names of an address, and about itself as it is written: no name is `!=` to nothing.
    fn any_name(&self, address: IpAddr, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        self.state.hosts.of(address).any(|name| test(text(name))) || test(text(&address.to_string()))
    }

    /// 0: the process itself, 1: its parent, and so on.
    fn ancestor(&self, distance: usize) -> Option<&Process> {
        match distance.checked_sub(1) {
            None => Some(self.process),
            Some(above_parent) => self.state.processes.ancestors(self.process).nth(above_parent),
        }
    }
}

#[cfg(test)]
mod tests;
