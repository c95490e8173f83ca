//! Names of labels, as Prometheus, Alertmanager and Loki have them.

use super::Problem;

/// A field's name with `_` for whatever a label's name cannot hold.
pub(super) fn name_of(field: &str) -> String {
    let allowed = |character: char| if is_within(character) { character } else { '_' };
    let name: String = field.chars().map(allowed).collect();
    if name.starts_with(is_start) { name } else { format!("_{name}") }
}

/// # Errors
/// One of these names of the setting `labels` is none.
pub(super) fn check<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), Problem> {
    match names.into_iter().find(|name| !(name.starts_with(is_start) && name.chars().all(is_within))) {
        Some(name) => Err(Problem::new(format!(
            "`labels`: `{}` is no name of a label: letters, digits and `_`, no digit first",
            name.escape_debug()
        ))),
        None => Ok(()),
    }
}

fn is_start(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn is_within(character: char) -> bool {
    is_start(character) || character.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_field_has_a_label() {
        for (field, expected) in
            [("k8s.ns.name", "k8s_ns_name"), ("rule", "rule"), ("7zip.x", "_7zip_x"), ("é\n\"", "___"), ("", "_")]
        {
            assert_eq!(name_of(field), expected);
        }
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        assert!(check(&["job".to_owned(), "_a1".to_owned()]).is_ok());
        for name in ["", "1a", "a-b", "a b", "é"] {
            assert!(check(&[name.to_owned()]).unwrap_err().message.contains("no name of a label"), "{name}");
        }
    }
}
