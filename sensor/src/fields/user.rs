//! `user.*` and `group.*`: on whose behalf.

use tercel_filter::Value;

use super::definition::Flag::Racy;
use super::definition::Type::{Int64, Text as Chars, Uint32};
use super::definition::{Definition, number, row, text};
use crate::enrich::user::Question;
use crate::event::{Event, Text};

/// What Falco's `user.loginuid` is where nobody logged in.
const LOGINUID_UNSET: i64 = -1;

pub(super) const FIELDS: &[Definition] = &[
    row("user.uid", Uint32, "The effective user.").get(|event, _| number(event.record.header.euid)),
    row(
        "user.name",
        Chars,
        "Its name in the host's `/etc/passwd`, in a container in the container's own; `<NA>` where it has none there.",
    )
    .flags(&[Racy])
    .get(|event, _| user(event, Text::User, Question::User)),
    row("user.homedir", Chars, "Its home directory there; `<NA>` where it has none.")
        .flags(&[Racy])
        .get(|event, _| user(event, Text::Home, Question::Home)),
    row("user.shell", Chars, "Its login shell there; `<NA>` where it has none.")
        .flags(&[Racy])
        .get(|event, _| user(event, Text::Shell, Question::Shell)),
    row("user.loginuid", Int64, "The user who logged in; -1 where nobody did.").get(|event, _| {
        let loginuid = event.record.header.loginuid;
        Some(Value::Number(if loginuid == u32::MAX { LOGINUID_UNSET } else { loginuid.into() }))
    }),
    row("user.loginname", Chars, "Its name on the host; `<NA>` where nobody logged in.")
        .get(|event, _| Some(text(event.state.users.of_host(Question::User, event.record.header.loginuid)))),
    row("group.gid", Uint32, "The group.").get(|event, _| number(event.record.header.egid)),
    row(
        "group.name",
        Chars,
        "Its name in the host's `/etc/group`, in a container in the container's own; `<NA>` where it has none there.",
    )
    .flags(&[Racy])
    .get(|event, _| about(event, Text::Group, Question::Group, event.record.header.egid)),
];

fn user<'e>(event: &'e Event<'_>, text: Text, question: Question) -> Option<Value<'e>> {
    about(event, text, question, event.record.header.euid)
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn about<'e>(event: &'e Event<'_>, text: Text, question: Question, id: u32) -> Option<Value<'e>> {
    if event.process.container.is_none() {
        return Some(Value::Text(event.state.users.of_host(question, id).as_bytes()));
    }
    Some(Value::Text(event.text(text, |buffer| event.write_user(question, id, buffer))))
}
