//! A destination's table as it is written, and the files that it names: what tells whether it has changed.

use std::path::{Path, PathBuf};

use toml::Value;

/// Keys whose value is a file that is read when a destination is built: `template = "x.hbs"`, `{ file = "/run/secrets/x" }`.
const FILE_KEYS: [&str; 4] = ["ca", "certificate", "file", "template"];

/// What `[destination.NAME]` says; nothing for a destination that no file mentions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) text: String,
    /// As they are written: a relative path starts at the folder of routing.toml.
    files: Vec<PathBuf>,
}

impl Written {
    pub(super) fn of(table: &toml::Table) -> Self {
        let mut files = Vec::new();
        find(table, &mut files);
        Self { text: table.to_string(), files }
    }

    /// The files that it names, at any depth.
    pub(crate) fn files<'a>(&'a self, base: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
        self.files.iter().map(|file| base.join(file))
    }
}

fn find(table: &toml::Table, files: &mut Vec<PathBuf>) {
    for (key, value) in table {
        match value {
            Value::String(path) if FILE_KEYS.contains(&key.as_str()) => files.push(path.into()),
            Value::Table(inner) => find(inner, files),
            Value::Array(items) => items.iter().filter_map(Value::as_table).for_each(|inner| find(inner, files)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_and_secrets_are_found_at_any_depth() {
        let table = r#"
            template = "a.hbs"
            path = "archive.ndjson"
            url = { file = "/run/url" }
            headers = { Authorization = { file = "token" }, Other = { env = "X" } }
            list = [{ file = "b" }]
        "#;
        let written = Written::of(&table.parse().unwrap());
        let files: Vec<_> = written.files(Path::new("/etc")).collect();
        let mut files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        files.sort_unstable();
        assert_eq!(files, ["/etc/a.hbs", "/etc/b", "/etc/token", "/run/url"]);
    }
}
