//! What the kernel side is told: which calls the rules in force ask for, what of them, and which opens no rule can match.

use tercel_sensor_abi::Control;
use tercel_sensor_abi::control::MUTED_MAX;

use crate::detect::Detector;
use crate::event::{self, EventType};
use crate::fields::find;
use crate::prefilter::{OpenFilter, UNKNOWN_ACCESS};

/// Fields that are made of what was sent or received.
const OF_DATA: [&str; 5] = ["evt.buffer", "evt.arg", "evt.rawarg", "evt.args", "evt.info"];

const OF_ENVIRONMENT: [&str; 2] = ["proc.env", "proc.aenv"];

/// Calls that carry data.
const WITH_DATA: [EventType; 6] = [
    EventType::SENDTO,
    EventType::SENDMSG,
    EventType::SENDMMSG,
    EventType::RECVFROM,
    EventType::RECVMSG,
    EventType::RECVMMSG,
];

/// Calls by which it is known which end of a connection a socket is.
const OF_SOCKETS: [EventType; 4] = [EventType::CONNECT, EventType::ACCEPT, EventType::ACCEPT4, EventType::LISTEN];

/// Beginnings of paths, and the opens that each of them is of interest to.
pub type Prefixes = Vec<(Box<[u8]>, u8)>;

/// What rules make of the kernel side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// What is to be reported.
    pub control: Control,
    /// The paths that opens are compared with.
    pub prefixes: Prefixes,
    /// How many more there should be.
    pub prefixes_refused: usize,
}

/// What the kernel side is to be told for these rules. `muted`: processes that are not reported.
pub fn of_rules(detector: &Detector, muted: [u32; MUTED_MAX], filters_opens: bool) -> Orders {
    let wanted: Vec<_> = detector.event_types().collect();
    let needs_roles = wanted.iter().any(|event_type| WITH_DATA.contains(event_type));
    let of_sockets = OF_SOCKETS.into_iter().filter(|_| needs_roles);
    let (interest, interest_compat) = event::interest(wanted.into_iter().chain(EventType::OF_STATE).chain(of_sockets));
    let filter = OpenFilter::new(detector);
    let control = Control {
        interest,
        interest_compat,
        muted,
        flags: flags(detector, &filter),
        opens_any_path: if filters_opens { filter.any_path | UNKNOWN_ACCESS } else { Control::OPENS_ALL },
        opens_by_prefix: filter.by_prefix,
        ..Control::default()
    };
    Orders { control, prefixes: filter.prefixes, prefixes_refused: filter.refused }
}

fn flags(detector: &Detector, filter: &OpenFilter) -> u32 {
    let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
    let all = EventType::all();
    flag(filter.needs_kernel_path, Control::KERNEL_PATH)
        | flag(asks_for(detector, all, &OF_ENVIRONMENT), Control::ENVIRONMENT)
        | flag(asks_for(detector, WITH_DATA.into_iter(), &OF_DATA), Control::DATA)
}

/// Whether a rule that events of these types could match names one of these fields.
fn asks_for(detector: &Detector, types: impl Iterator<Item = EventType>, names: &[&str]) -> bool {
    let fields: Vec<_> = names.iter().filter_map(|name| Some(find(name)?.0)).collect();
    let mut candidates = types.flat_map(|event_type| detector.candidates(event_type));
    candidates.any(|(rule, condition)| {
        let asked = condition.fields();
        fields.iter().any(|field| asked.contains(field) || rule.output.reads(*field))
    })
}

#[cfg(test)]
mod tests {
    use tercel_sensor_abi::control::open_bit;

    use super::*;
    use crate::fields::SensorCatalog;

    fn orders(condition: &str, output: &str) -> Orders {
        let text = format!("- rule: r\n  desc: d\n  condition: {condition}\n  output: {output}\n  priority: WARNING\n");
        let set = crate::rules::load_text(&[("rules.yaml", text.as_bytes())], &SensorCatalog).unwrap();
        of_rules(&Detector::new(set).unwrap(), [1, 0, 0, 0], true)
    }

    #[test]
    fn the_kernel_takes_what_some_rule_asks_for_and_no_more() {
        let flags = |condition: &str, output: &str| orders(condition, output).control.flags;
        assert_eq!(flags("evt.type = openat and fd.name = /etc/shadow", "x"), 0);
        assert_eq!(flags("evt.type = openat and fd.realpath = /etc/shadow", "x"), Control::KERNEL_PATH);
        assert_eq!(flags("evt.type = openat", "at %fd.realpath"), Control::KERNEL_PATH);
        assert_eq!(flags("evt.type = execve and proc.env contains LD_", "x"), Control::ENVIRONMENT);
        assert_eq!(flags("evt.type = sendto and evt.buffer contains x", "x"), Control::DATA);
        assert_eq!(flags("evt.type = chmod and evt.arg.mode contains x", "x"), 0);
    }

    #[test]
    fn opens_that_no_rule_can_match_are_held_back_and_those_of_an_unknown_kind_are_not() {
        let Orders { control, prefixes, prefixes_refused } =
            orders("evt.type = openat and evt.is_open_read = true and fd.name = /etc/shadow", "x");
        let [read, both, failed] = [open_bit(0, false), open_bit(2, false), open_bit(0, true)];
        assert_eq!(control.opens_any_path, UNKNOWN_ACCESS);
        assert_eq!(control.opens_by_prefix, read | both | failed | open_bit(2, true));
        assert_eq!(prefixes, [(b"/etc/shadow".to_vec().into_boxed_slice(), control.opens_by_prefix)]);
        assert_eq!(prefixes_refused, 0);
    }
}
