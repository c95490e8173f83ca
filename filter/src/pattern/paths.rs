//! Path prefixes: whether one of many paths is a value or a directory above it.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use super::glob::Glob;

/// Components of one path.
const COMPONENTS_MAX: usize = 256;

/// Paths as a tree of components, so that a value is looked at once however many there are. A component with `?`, `*` or
/// `[` is a glob of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    ends: bool,
    names: HashMap<Box<[u8]>, Paths, FxBuildHasher>,
    globs: Vec<(Glob, Paths)>,
}

impl Paths {
    pub(crate) fn push(&mut self, path: &str) -> Result<(), String> {
        if components(path.as_bytes()).nth(COMPONENTS_MAX).is_some() {
            return Err(format!("this path has more than {COMPONENTS_MAX} components"));
        }
        let mut here = self;
        for component in components(path.as_bytes()) {
            here = if component.iter().any(|byte| matches!(byte, b'?' | b'*' | b'[')) {
                here.globs.push((Glob::new(component, false), Self::default()));
                let last = here.globs.len() - 1;
                &mut here.globs[last].1
            } else {
                here.names.entry(component.into()).or_default()
            };
        }
        here.ends = true;
        Ok(())
    }

    pub(crate) fn contain(&self, value: &[u8]) -> bool {
        self.contain_rest(components(value))
    }

    /// What each value below one of the paths begins with, where it is written as the paths are: one slash before each
    /// component. A component that is a glob counts as far as it is literal.
    pub(crate) fn beginnings(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        self.collect_beginnings(&mut Vec::new(), &mut found);
        found
    }

    fn collect_beginnings(&self, above: &mut Vec<u8>, found: &mut Vec<Vec<u8>>) {
        if self.ends {
            return found.push(above.clone());
        }
        let length = above.len();
        for (name, below) in &self.names {
            above.push(b'/');
            above.extend_from_slice(name);
            below.collect_beginnings(above, found);
            above.truncate(length);
        }
        for (glob, _) in &self.globs {
            let head = glob.literals().next().filter(|_| glob.begins_literally()).unwrap_or_default();
            found.push([above, &b"/"[..], &head].concat());
        }
    }

    fn contain_rest<'v>(&self, mut rest: impl Iterator<Item = &'v [u8]> + Clone) -> bool {
        let mut here = self;
        loop {
            if here.ends {
                return true;
            }
            let Some(component) = rest.next() else { return false };
            if here.globs.iter().any(|(glob, below)| glob.matches(component) && below.contain_rest(rest.clone())) {
                return true;
            }
            let Some(next) = here.names.get(component) else { return false };
            here = next;
        }
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    path.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_ends_at_a_slash() {
        for (paths, value, expected) in [
            (&["/etc"][..], "/etc/shadow", true),
            (&["/etc/"], "/etc", true),
            (&["/et"], "/etc", false),
            (&["/tmp/*/a.txt"], "/tmp/x/a.txt", true),
            (&["/tmp/*/a.txt", "/tmp/x/b"], "/tmp/x/b/c", true),
            (&["/tmp/x/y/z", "/tmp/?/b"], "/tmp/x/b", true),
            (&["/a/b/c", "/a/b"], "/a/b/d", true),
            (&["/"], "/anything", true),
            (&[], "/anything", false),
        ] {
            let mut tree = Paths::default();
            for path in paths {
                tree.push(path).unwrap();
            }
            assert_eq!(tree.contain(value.as_bytes()), expected, "{paths:?} {value}");
        }
    }
}
