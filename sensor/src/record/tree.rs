//! The processes that belong to one command.

use std::collections::HashSet;

use tercel_sensor_abi::RecordKind;
use tercel_sensor_abi::process::ForkArguments;

use crate::ring::Record;

/// Processes that are followed at the same time: as many as the process table holds.
const MEMBERS_MAX: usize = 32_768;

/// A process and its descendants.
pub(super) struct Tree {
    members: HashSet<u32>,
    unfollowed: u64,
}

impl Tree {
    pub(super) fn new(root: u32) -> Self {
        Self { members: HashSet::from([root]), unfollowed: 0 }
    }

    /// Records of descendants that were more than are followed.
    pub(super) fn unfollowed(&self) -> u64 {
        self.unfollowed
    }

    /// Whether a record is of it. To be asked about every record, in their order.
    pub(super) fn takes(&mut self, record: &Record<'_>) -> bool {
        let header = &record.header;
        // A child whose fork was lost is known by its parent.
        let is_child = !self.members.contains(&header.tgid) && self.members.contains(&header.ppid);
        let is_member = if is_child { self.follow(header.tgid) } else { self.members.contains(&header.tgid) };
        match record.kind {
            RecordKind::Fork => {
                let child = ForkArguments::from_words(header.arguments).child_tgid;
                // The first fork is by the recorder itself.
                if is_member { self.follow(child) || is_member } else { self.members.contains(&child) }
            }
            RecordKind::Exit => {
                self.members.remove(&header.tgid);
                is_member
            }
            _ => is_member,
        }
    }

    fn follow(&mut self, tgid: u32) -> bool {
        let has_room = self.members.len() < MEMBERS_MAX;
        if has_room {
            self.members.insert(tgid);
        } else {
            self.unfollowed += 1;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Builder, CAT, INIT, SHELL};

    #[test]
    fn a_command_s_descendants_are_followed_until_they_end_and_nobody_else_is() {
        let mut tree = Tree::new(SHELL);
        let mut takes = |record: &Builder| tree.takes(&Builder::parse(&record.bytes()));
        let open = |tgid, ppid| Builder::open("/etc/passwd", 3).process(tgid, ppid);
        assert!(takes(&Builder::fork(INIT, 0, SHELL)), "the fork that made it");
        assert!(!takes(&Builder::fork(INIT, 0, CAT + 7)));
        assert!(!takes(&open(INIT, 0)) && !takes(&open(CAT, INIT)) && !takes(&open(CAT + 7, INIT)));
        assert!(takes(&Builder::fork(SHELL, INIT, CAT)));
        assert!(takes(&open(CAT, SHELL)) && takes(&open(CAT, INIT)), "its parent may end before it");
        assert!(takes(&Builder::new(RecordKind::Exit).process(CAT, SHELL)));
        assert!(!takes(&open(CAT, INIT)), "another process with its number");
    }

    #[test]
    fn a_child_whose_fork_was_lost_is_known_by_its_parent() {
        let mut tree = Tree::new(SHELL);
        assert!(tree.takes(&Builder::parse(&Builder::open("/x", 3).process(CAT, SHELL).bytes())));
        assert!(tree.takes(&Builder::parse(&Builder::open("/x", 3).process(CAT + 1, CAT).bytes())));
    }

    #[test]
    fn more_descendants_than_are_followed_are_counted() {
        let mut tree = Tree::new(SHELL);
        for child in 0..u32::try_from(MEMBERS_MAX).unwrap() + 2 {
            assert!(tree.takes(&Builder::parse(&Builder::fork(SHELL, INIT, CAT + child).bytes())));
        }
        assert_eq!((tree.members.len(), tree.unfollowed()), (MEMBERS_MAX, 3));
    }
}
