//! Folders below `target` that hold what a step made.

use std::path::Path;

use anyhow::{Context, Result};

/// Written last: what is in the folder is all that this recipe makes.
const RECIPE: &str = "recipe";

/// A folder with nothing in it.
///
/// # Errors
/// If it cannot be made, or what was in it cannot be removed.
pub(crate) fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Has `make` fill the folder, which is empty then, unless it did so by this recipe before.
///
/// # Errors
/// Those of `make`.
pub(crate) fn once(folder: &Path, recipe: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = folder.join(RECIPE);
    if std::fs::read_to_string(&done).is_ok_and(|found| found == recipe) {
        return Ok(());
    }
    empty(folder)?;
    make()?;
    std::fs::write(&done, recipe).with_context(|| format!("cannot write {}", done.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_filled_once_for_a_recipe_and_anew_after_a_failure() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let fill = |recipe: &str, is_good: bool| {
            let mut filled = false;
            let result = once(&folder, recipe, || {
                filled = true;
                assert!(std::fs::read_dir(&folder).unwrap().next().is_none(), "it is empty");
                std::fs::write(folder.join("it"), recipe).unwrap();
                if is_good { Ok(()) } else { anyhow::bail!("no network") }
            });
            (filled, result.is_ok())
        };
        assert_eq!(fill("1", false), (true, false));
        assert_eq!(fill("1", true), (true, true));
        assert_eq!(fill("1", true), (false, true));
        assert_eq!(fill("2", true), (true, true));
        assert_eq!(std::fs::read_to_string(folder.join("it")).unwrap(), "2");
    }
}
