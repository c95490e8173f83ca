//! An image's name in its parts.

use serde::{Deserialize, Serialize};

/// What an image is called that is named without a tag and without a digest.
const DEFAULT_TAG: &str = "latest";

/// Digits of an image's id, and what stands in front of them.
const ID_DIGITS: usize = 64;
const ID_ALGORITHM: &str = "sha256:";

/// Digits of the id as fields show it.
const SHORT_ID_DIGITS: usize = 12;

/// The image that a container was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// As whoever started the container named it: `registry/name:tag`.
    pub reference: Option<String>,
    /// The first 12 digits.
    pub id: Option<String>,
    /// The name without tag and digest.
    pub repository: Option<String>,
    pub tag: Option<String>,
    /// `sha256:…`: of what the registry gave, so it is missing for images made here.
    pub digest: Option<String>,
}

impl Image {
    /// `tags` and `digests`: the names under which the runtime has the image, `name:tag` and `name@sha256:…`. They help out
    /// where the container was started by the image's id, and tell the digest.
    pub(super) fn new(reference: &str, id: &str, tags: &[String], digests: &[String]) -> Self {
        let digits = id.strip_prefix(ID_ALGORITHM).unwrap_or(id);
        let named = if is_id(reference, digits) { tags.first().map_or("", String::as_str) } else { reference };
        let Parts { repository, tag, digest } = parts(named);
        let of_repository = digests.iter().map(|name| parts(name)).find(|found| found.repository == repository);
        let any = || digests.first().map(|name| parts(name));
        let digest = digest.or_else(|| of_repository.or_else(any)?.digest);
        let shown = if reference.is_empty() { named } else { reference };
        Self {
            reference: text(shown),
            id: text(digits.get(..SHORT_ID_DIGITS).unwrap_or(digits)),
            repository: text(repository),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        }
    }
}

#[derive(Default)]
struct Parts<'a> {
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// `[registry[:port]/]name[:tag][@digest]`
fn parts(reference: &str) -> Parts<'_> {
    if reference.is_empty() {
        return Parts::default();
    }
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    match name.rsplit_once(':') {
        // A port's number has a slash behind it.
        Some((repository, tag)) if !tag.contains('/') => Parts { repository, tag: Some(tag), digest },
        _ => Parts { repository: name, tag: digest.is_none().then_some(DEFAULT_TAG), digest },
    }
}

/// Whether the text is the image's id or a beginning of it, not a name.
fn is_id(text: &str, id: &str) -> bool {
    let digits = text.strip_prefix(ID_ALGORITHM).unwrap_or(text);
    let is_whole = digits.len() == ID_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_whole || (digits.len() >= SHORT_ID_DIGITS && id.starts_with(digits))
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:05455a08881ea9cf0e752bc48e61bbd71a34c029bb13df01e40e3e70e0d007bd";
    const DIGEST: &str = "sha256:4b7ce07002c69e8f3d704a9c5d6fd3053be500b7f1c69fc0d80990c2ad8dd412";

    #[track_caller]
    fn check(reference: &str, tags: &[&str], digests: &[&str], expected: (&str, &str, &str)) {
        let owned = |names: &[&str]| names.iter().map(|name| name.replace("DIGEST", DIGEST)).collect::<Vec<_>>();
        let image = Image::new(&reference.replace("DIGEST", DIGEST), ID, &owned(tags), &owned(digests));
        let found = [&image.repository, &image.tag, &image.digest].map(|part| part.as_deref().unwrap_or("-"));
        let digest = if expected.2 == "DIGEST" { DIGEST } else { expected.2 };
        assert_eq!(found, [expected.0, expected.1, digest], "{reference}");
        assert_eq!(image.id.as_deref(), Some("05455a08881e"));
    }

    #[test]
    fn names_fall_into_repository_tag_and_digest() {
        check("alpine", &[], &[], ("alpine", "latest", "-"));
        check("docker.io/library/alpine:3.20", &[], &[], ("docker.io/library/alpine", "3.20", "-"));
        check("registry:5000/team/app", &[], &[], ("registry:5000/team/app", "latest", "-"));
        check("registry:5000/team/app:v1", &[], &[], ("registry:5000/team/app", "v1", "-"));
        check("quay.io/app@DIGEST", &[], &[], ("quay.io/app", "-", "DIGEST"));
        check("quay.io/app:v1@DIGEST", &[], &[], ("quay.io/app", "v1", "DIGEST"));
    }

    #[test]
    fn the_runtime_s_own_names_tell_the_digest_and_what_an_id_stands_for() {
        check("quay.io/app:v1", &[], &["other@sha256:1", "quay.io/app@DIGEST"], ("quay.io/app", "v1", "DIGEST"));
        check("app:v1", &[], &["docker.io/library/app@DIGEST"], ("app", "v1", "DIGEST"));
        for id in [ID, &ID[7..], &ID[7..19]] {
            check(id, &["quay.io/app:v2"], &["quay.io/app@DIGEST"], ("quay.io/app", "v2", "DIGEST"));
            check(id, &[], &[], ("-", "-", "-"));
        }
        check("deadbeefcafe", &[], &[], ("deadbeefcafe", "latest", "-"));
    }
}
