//! Falco's own rules, where the reference is at hand.

use std::path::PathBuf;

use super::*;
use crate::fields::SensorCatalog;

/// `None`, and a line that says so, where there is no reference.
fn upstream() -> Option<PathBuf> {
    let path =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/reference/falco-rules/falco_rules.yaml"));
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn upstream_s_file_loads_as_in_falco() {
    let Some(path) = upstream() else { return };
    let report = check(&[path], &SensorCatalog);
    assert!(report.is_valid() && !report.has_warnings(), "{report}");
    assert_eq!(report.counts, Counts { rules: 25, macros: 87, lists: 49 });
}

#[test]
fn a_local_file_changes_upstream_s_rules() {
    let Some(path) = upstream() else { return };
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("local.yaml");
    let name = "Read sensitive file untrusted";
    let text = format!(
        "
- list: user_known_reads
  items: [scanner]
- rule: {name}
  condition: and not proc.name in (user_known_reads)
  output: (changed)
  enabled: false
  exceptions:
  - name: backups
    fields: [proc.name, fd.name]
    comps: [=, startswith]
    values: [[borg, /etc/shadow]]
  override:
    condition: append
    output: append
    enabled: replace
    exceptions: append
"
    );
    std::fs::write(&local, text).unwrap();
    let set = load(&[path, local], &SensorCatalog).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let rule = set.rules.iter().find(|rule| rule.name == name).unwrap();
    assert!(!rule.enabled && rule.output.ends_with(" (changed)"));
    let compiled = set.scope.expand(&rule.expr).unwrap().to_string();
    let end = "not proc.name in (scanner)) and not (proc.name = borg and fd.name startswith /etc/shadow))";
    assert!(compiled.ends_with(end), "{compiled}");
    assert!(set.warnings.is_empty(), "{}", set.warnings[0]);
}
