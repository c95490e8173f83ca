//! One technique: what is done, by which program, where, and which rule it is for.

use crate::container::Layout;
use crate::stage::Stage;

/// What the acting process does. It may become another program; then it does not return.
pub(crate) type Action = fn(&Stage) -> anyhow::Result<()>;

#[derive(Clone, Copy)]
pub(crate) struct Technique {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    /// The rule must not fire.
    pub(crate) is_near_miss: bool,
    /// The name of the acting program.
    pub(crate) program: &'static str,
    pub(crate) arguments: &'static [&'static str],
    /// In a container with such a cgroup; else on the host.
    pub(crate) layout: Option<Layout>,
    pub(crate) action: Action,
    /// What the alert must say, as (field, value).
    pub(crate) fields: &'static [(&'static str, &'static str)],
}

impl Technique {
    pub(crate) const fn fires(name: &'static str, rule: &'static str, action: Action) -> Self {
        Self {
            name,
            rule,
            is_near_miss: false,
            program: "actor",
            arguments: &[],
            layout: None,
            action,
            fields: &[("user.name", "root")],
        }
    }

    /// A similar action that the rule must leave alone.
    pub(crate) const fn near_miss(name: &'static str, rule: &'static str, action: Action) -> Self {
        Self { is_near_miss: true, ..Self::fires(name, rule, action) }
    }

    pub(crate) const fn by(self, program: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { program, arguments, ..self }
    }

    pub(crate) const fn within(self, layout: Layout) -> Self {
        Self { layout: Some(layout), ..self }
    }

    pub(crate) const fn says(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
    }
}
