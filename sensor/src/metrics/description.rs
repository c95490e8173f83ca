//! What is said about every metric: in the scrape, and in docs/metrics.md.

use std::fmt::Write as _;

/// Name, labels and meaning of every metric.
pub(super) const EVENTS: Description =
    ("tercel_sensor_events_total", &["kind"], "Records taken from the kernel's ring.");
pub(super) const KERNEL_SEEN: Description =
    ("tercel_sensor_kernel_seen_total", &["kind"], "Events that the kernel side wanted to report: sent plus dropped.");
pub(super) const DROPPED: Description = (
    "tercel_sensor_dropped_total",
    &["kind", "reason"],
    "Events that the kernel side could not report: the ring was full, or the record too long.",
);
pub(super) const LOST: Description =
    ("tercel_sensor_lost_total", &[], "Gaps in the records' sequence numbers: events that never reached the sensor.");
pub(super) const MALFORMED: Description = ("tercel_sensor_malformed_total", &[], "Records that could not be read.");
pub(super) const READ_FAULTS: Description =
    ("tercel_sensor_read_faults_total", &[], "Strings that the kernel side could not read from the caller's memory.");
pub(super) const COMPAT_CALLS: Description =
    ("tercel_sensor_compat_calls_total", &[], "System calls through the 32-bit entry that were reported.");
pub(super) const X32_CALLS: Description =
    ("tercel_sensor_x32_calls_total", &[], "System calls through the x32 entry, which are not decoded.");
pub(super) const FILTERED_OPENS: Description = (
    "tercel_sensor_filtered_opens_total",
    &[],
    "Opens that the kernel side did not report because no rule could match them.",
);
pub(super) const OPEN_PREFIXES: Description = (
    "tercel_sensor_open_prefixes",
    &["state"],
    "Beginnings of paths that the rules ask for: compared by the kernel side, or refused because there are too many; then opens of that kind are reported whatever their path.",
);
pub(super) const SOCKETS: Description = ("tercel_sensor_sockets", &[], "Sockets that are remembered.");
pub(super) const SOCKET_EVICTIONS: Description =
    ("tercel_sensor_socket_evictions_total", &[], "Sockets that were forgotten because the table was full.");
pub(super) const RECURSION_MISSES: Description = (
    "tercel_sensor_recursion_misses_total",
    &["program"],
    "Times that the kernel skipped a program because it was running already, or, for the classic entry point, somebody was inside of a map: an upper bound of the events lost by it, since the skipped call need not have been of interest.",
);
pub(super) const ENTRY_INFO: Description = (
    "tercel_sensor_entry_info",
    &["entry"],
    "1 for the entry point through which system calls are seen, 0 for the other one.",
);
pub(super) const ENTRY_SWITCHES: Description = (
    "tercel_sensor_entry_switches_total",
    &[],
    "Times that the entry point was changed while running; events of that moment may have been reported twice.",
);
pub(super) const FILTER_OVERFLOWS: Description = (
    "tercel_sensor_filter_overflows_total",
    &[],
    "Values that a condition made with a transformer and that were too long for it: they counted as missing.",
);
pub(super) const RULE_MATCHES: Description =
    ("tercel_sensor_rule_matches_total", &["rule"], "Alerts made, by rule; from the 257th rule on as `other`.");
pub(super) const RETRIES: Description =
    ("tercel_sensor_output_retries_total", &[], "Requests to the output that were tried again.");
pub(super) const PROCESSES: Description =
    ("tercel_sensor_processes", &[], "Processes in the table, some of which ended lately.");
pub(super) const EVICTIONS: Description =
    ("tercel_sensor_process_evictions_total", &[], "Processes given up because the table was full.");
pub(super) const LOOKUPS: Description = (
    "tercel_sensor_process_lookups_total",
    &["result"],
    "Processes looked up in /proc: unknown ones that were found, gone, or not tried (over_budget); known ones that were compared \
     after a loss.",
);
pub(super) const MUTED: Description = (
    "tercel_sensor_muted_processes",
    &[],
    "Processes that are not reported: the sensor's own, and the one on this machine that takes the alerts.",
);
pub(super) const OUTPUT_LOOKUPS: Description = (
    "tercel_sensor_output_lookups_total",
    &["result"],
    "Look-ups of the process that takes the alerts: found, unknown, or over_bound where there was too much to look through.",
);
pub(super) const RULES: Description = ("tercel_sensor_rules", &[], "Rules in force.");
pub(super) const BUILD_INFO: Description =
    ("tercel_sensor_build_info", &["version"], "1; the label tells the version.");

pub(super) type Description = (&'static str, &'static [&'static str], &'static str);

/// All of them, for the generated reference.
pub const ALL: [Description; 45] = [
    EVENTS,
    KERNEL_SEEN,
    DROPPED,
    LOST,
    MALFORMED,
    READ_FAULTS,
    COMPAT_CALLS,
    X32_CALLS,
    FILTERED_OPENS,
    OPEN_PREFIXES,
    SOCKETS,
    SOCKET_EVICTIONS,
    RECURSION_MISSES,
    ENTRY_INFO,
    ENTRY_SWITCHES,
    FILTER_OVERFLOWS,
    RULE_MATCHES,
    super::ledger::MADE,
    super::ledger::ACKNOWLEDGED,
    super::ledger::DROPPED,
    super::ledger::QUEUED,
    super::ledger::QUEUE_BYTES,
    super::ledger::QUEUE_BYTES_MAX,
    RETRIES,
    PROCESSES,
    EVICTIONS,
    LOOKUPS,
    super::containers::RUNTIMES,
    super::containers::KNOWN,
    super::containers::ANSWERS,
    super::containers::CUT,
    super::containers::FAILURES,
    super::containers::REFUSED,
    super::containers::EVICTIONS,
    super::containers::HOLDING,
    super::containers::HELD,
    super::containers::LATE,
    super::names::HOSTS,
    super::names::CONTAINER_EVICTIONS,
    super::names::EVICTIONS,
    super::names::FAILURES,
    MUTED,
    OUTPUT_LOOKUPS,
    RULES,
    BUILD_INFO,
];

/// Rows of a Markdown table, by name: name, type, unit, labels, meaning.
pub fn reference() -> String {
    let mut all = ALL;
    all.sort_unstable();
    let mut rows = String::new();
    for (name, labels, help) in all {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let unit = if name.contains("_bytes") { "bytes" } else { "" };
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing to a string does not fail.
        writeln!(rows, "| `{name}` | {kind} | {unit} | {} | {} |", labels.join(", "), help.replace('|', "\\|")).ok();
    }
    rows
}
