//! Which rules are in force: what the settings say, beyond what the files say.

use serde::Deserialize;
use tercel_alert::Priority;

use super::{Rule, RuleSet};

/// Switches rules on or off, whatever their file says. Later ones win.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    Enable(Selector),
    Disable(Selector),
}

/// Rules by name, or by tag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// The name; `*` stands for any characters.
    Rule(String),
    /// One of its tags.
    Tag(String),
}

impl Selector {
    fn selects(&self, rule: &Rule) -> bool {
        match self {
            Self::Rule(pattern) => is_match(pattern, &rule.name),
            Self::Tag(tag) => rule.tags.contains(tag),
        }
    }
}

impl Selection {
    pub fn selector(&self) -> &Selector {
        match self {
            Self::Enable(selector) | Self::Disable(selector) => selector,
        }
    }
}

impl RuleSet {
    /// Switches rules on and off, one selection after the other. Returns those that select no rule at all.
    pub fn select<'a>(&mut self, selections: &'a [Selection]) -> Vec<&'a Selection> {
        let mut idle = Vec::new();
        for selection in selections {
            let enabled = matches!(selection, Selection::Enable(_));
            let mut selected = 0;
            for rule in self.rules.iter_mut().filter(|rule| selection.selector().selects(rule)) {
                rule.enabled = enabled;
                selected += 1;
            }
            if selected == 0 {
                idle.push(selection);
            }
        }
        idle
    }

    /// Switches all rules off that are less urgent.
    pub fn require_priority(&mut self, least: Priority) {
        for rule in self.rules.iter_mut().filter(|rule| rule.priority < least) {
            rule.enabled = false;
        }
    }
}

/// Whether a name is what a pattern with `*` says.
fn is_match(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}
