//! `user.*` and `group.*`: on whose behalf.

use tercel_filter::Value;

use super::definition::Type::{Int64, Text as Chars, Uint32};
use super::definition::{Definition, number, row, text};

/// What Falco's `user.loginuid` is where nobody logged in.
const LOGINUID_UNSET: i64 = -1;

pub(super) const FIELDS: &[Definition] = &[
    row("user.uid", Uint32, "The effective user.").get(|event, _| number(event.record.header.euid)),
    row("user.name", Chars, "Its name in the host's `/etc/passwd`; `<NA>` where it has none there.")
        .get(|event, _| Some(text(event.state.users.user(event.record.header.euid)))),
    row("user.homedir", Chars, "Its home directory there; `<NA>` where it has none.")
        .get(|event, _| Some(text(event.state.users.home(event.record.header.euid)))),
    row("user.shell", Chars, "Its login shell there; `<NA>` where it has none.")
        .get(|event, _| Some(text(event.state.users.shell(event.record.header.euid)))),
    row("user.loginuid", Int64, "The user who logged in; -1 where nobody did.").get(|event, _| {
        let loginuid = event.record.header.loginuid;
        Some(Value::Number(if loginuid == u32::MAX { LOGINUID_UNSET } else { loginuid.into() }))
    }),
    row("user.loginname", Chars, "Its name; `<NA>` where nobody logged in.")
        .get(|event, _| Some(text(event.state.users.user(event.record.header.loginuid)))),
    row("group.gid", Uint32, "The group.").get(|event, _| number(event.record.header.egid)),
    row("group.name", Chars, "Its name in the host's `/etc/group`; `<NA>` where it has none there.")
        .get(|event, _| Some(text(event.state.users.group(event.record.header.egid)))),
];
