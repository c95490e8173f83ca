//! MITRE ATT&CK: where the tags of rules are explained.

/// Tags of tactics, as Falco's rules write them, and the tactics' ids.
const TACTICS: [(&str, &str); 14] = [
    ("reconnaissance", "TA0043"),
    ("resource_development", "TA0042"),
    ("initial_access", "TA0001"),
    ("execution", "TA0002"),
    ("persistence", "TA0003"),
    ("privilege_escalation", "TA0004"),
    ("defense_evasion", "TA0005"),
    ("credential_access", "TA0006"),
    ("discovery", "TA0007"),
    ("lateral_movement", "TA0008"),
    ("collection", "TA0009"),
    ("exfiltration", "TA0010"),
    ("command_and_control", "TA0011"),
    ("impact", "TA0040"),
];

/// The page of the technique, sub-technique or tactic that a tag names: `T1059.004`, `TA0002`, `mitre_execution`.
/// `None`: it names none. Nothing of the tag but its digits gets into the address.
pub(crate) fn page(tag: &str) -> Option<String> {
    let tactic = tag.strip_prefix("mitre_").unwrap_or_default();
    if let Some((_, id)) = TACTICS.iter().find(|(name, id)| *name == tactic || *id == tag) {
        return Some(format!("https://attack.mitre.org/tactics/{id}/"));
    }
    let (technique, sub) =
        tag.strip_prefix('T')?.split_once('.').map_or_else(|| (&tag[1..], None), |(t, s)| (t, Some(s)));
    match (is_number(technique, 4), sub) {
        (true, None) => Some(format!("https://attack.mitre.org/techniques/T{technique}/")),
        (true, Some(sub)) if is_number(sub, 3) => {
            Some(format!("https://attack.mitre.org/techniques/T{technique}/{sub}/"))
        }
        _ => None,
    }
}

fn is_number(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_leads_to_the_page_that_explains_it() {
        for (tag, expected) in [
            ("T1059", Some("techniques/T1059/")),
            ("T1059.004", Some("techniques/T1059/004/")),
            ("TA0002", Some("tactics/TA0002/")),
            ("mitre_execution", Some("tactics/TA0002/")),
            ("mitre_", None),
            ("T1059.4", None),
            ("T10590", None),
            ("T1059.004/../x", None),
            ("Tétu", None),
            ("T", None),
            ("container", None),
            ("", None),
        ] {
            let expected = expected.map(|path| format!("https://attack.mitre.org/{path}"));
            assert_eq!(page(tag), expected, "{tag}");
        }
    }
}
