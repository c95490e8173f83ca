//! Rule "Search Private Keys or Passwords": find and grep look for keys.
//! Near misses: they look for something public; another program has the same words.

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Search Private Keys or Passwords";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("find-ssh-keys", RULE, |stage| stage.become_program("find", &["/", "-name", "id_ed25519"])),
    Technique::fires("grep-private-keys", RULE, |stage| {
        stage.become_program("grep", &["-r", "begin rsa PRIVATE key", "/"])
    })
    .within(Layout::PodContainerdColon),
    Technique::near_miss("find-known-hosts", RULE, |stage| {
        stage.become_program("find", &["/", "-name", "known_hosts"])
    }),
    Technique::near_miss("grep-public-keys", RULE, |stage| {
        stage.become_program("grep", &["-r", "BEGIN PUBLIC KEY", "/"])
    }),
    Technique::near_miss("list-ssh-key", RULE, |stage| stage.become_program("ls", &["id_ed25519"])),
];
