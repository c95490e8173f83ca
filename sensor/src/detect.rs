//! Which rule does an event match?
//!
//! Rules lie sorted by the event types that their conditions can be true for, so that an event meets only those that
//! could match it, in the order of the files. The first that does is the one, or each that does: [`Matching`].

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use tercel_alert::Priority;
use tercel_filter::{Condition, FieldId, Fields, Filter, FilterSet, Scratch};

use crate::event::{Event, EventType};
use crate::fields::{event_type_field, host_name_fields, is_told};
use crate::output::{Append, Template};
use crate::rules::{Problem, RuleSet};

/// A rule that is in force.
#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    pub priority: Priority,
    pub tags: BTreeSet<String>,
    pub output: Template,
    /// The fields that condition and output read, with their arguments.
    reads: Vec<Read>,
}

type Read = (FieldId, Option<Box<str>>);

/// How many rules one event may match: Falco's `rule_matching`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Matching {
    /// The first in the order of the files.
    #[default]
    First,
    /// Every one.
    All,
}

impl FromStr for Matching {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "first" => Ok(Self::First),
            "all" => Ok(Self::All),
            _ => Err(format!("unknown rule matching `{}`, expected first or all", text.escape_debug())),
        }
    }
}

/// The rules that events of one type could match, in order.
#[derive(Debug, Default)]
struct Candidates {
    /// Indices into the detector's rules.
    rules: Vec<usize>,
    /// Their conditions, without what the type decides.
    filters: FilterSet,
    /// Places of those that can match at all, and what is left of their conditions before the container's runtime has told
    /// anything.
    possible: (Vec<usize>, FilterSet),
}

impl Candidates {
    fn new(event_type: EventType, filters: &[Filter]) -> Self {
        let given = |filter: &Filter| filter.given(event_type_field(), event_type.0);
        let (rules, filters): (Vec<_>, Vec<_>) =
            filters.iter().enumerate().filter_map(|(rule, filter)| Some((rule, given(filter)?))).unzip();
        let relaxed = |(place, filter): (usize, &Filter)| Some((place, filter.relaxed(&is_told)?));
        let (places, possible): (Vec<_>, Vec<_>) = filters.iter().enumerate().filter_map(relaxed).unzip();
        Self { rules, filters: FilterSet::new(&filters), possible: (places, FilterSet::new(&possible)) }
    }
}

/// For each event type what could match. Most types are alike to all rules: they share.
fn by_type(filters: &[Filter]) -> Vec<Arc<Candidates>> {
    let mut known: HashMap<Vec<bool>, Arc<Candidates>> = HashMap::new();
    let candidates = |event_type: EventType| {
        let answers = filters.iter().flat_map(|filter| filter.answers_for(event_type_field(), event_type.0)).collect();
        Arc::clone(known.entry(answers).or_insert_with(|| Arc::new(Candidates::new(event_type, filters))))
    };
    EventType::all().map(candidates).collect()
}

/// The hosts that conditions name.
fn hosts(filters: &[Filter]) -> BTreeSet<String> {
    let texts = filters.iter().flat_map(|filter| host_name_fields().flat_map(|field| filter.texts_of(field)));
    texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

fn reads(filter: &Filter, output: &Template) -> Vec<Read> {
    let all: BTreeSet<_> = filter.fields().chain(output.reads_all()).collect();
    all.into_iter().map(|(field, argument)| (field, argument.map(Into::into))).collect()
}

/// Rules that may match an event, by their places among those that listen to its type.
#[derive(Debug)]
pub(crate) struct Possible {
    event_type: EventType,
    places: Vec<usize>,
}

/// The rules in force, by event type.
#[derive(Debug)]
pub struct Detector {
    rules: Vec<Rule>,
    /// By event type: what could match, in the order of the rules.
    by_type: Vec<Arc<Candidates>>,
    matching: Matching,
    hosts: BTreeSet<String>,
}

impl Detector {
    /// Compiles the outputs of the rules, with what Falco appends to them by default, and sorts the enabled ones.
    ///
    /// # Errors
    ///
    /// Every output that cannot be compiled.
    pub fn new(set: RuleSet) -> Result<Self, Vec<Problem>> {
        Self::appending(set, &Append::by_default())
    }

    /// The same, appending what the settings say.
    ///
    /// # Errors
    ///
    /// Every output that cannot be compiled.
    pub fn appending(set: RuleSet, appends: &[Append]) -> Result<Self, Vec<Problem>> {
        let (mut rules, mut filters) = (Vec::new(), Vec::new());
        let mut problems = Vec::new();
        for rule in set.rules {
            let appendix = Append::for_rule(appends, &rule.name, &rule.source, &rule.tags);
            match Template::compile_with(&rule.output, &appendix) {
                Ok(_) if !rule.enabled => {}
                Ok(output) => {
                    let reads = reads(&rule.filter, &output);
                    rules.push(Rule {
                        name: rule.name.into(),
                        priority: rule.priority,
                        tags: rule.tags,
                        output,
                        reads,
                    });
                    filters.push(rule.filter);
                }
                Err(error) => problems.push(rule.output_problem(error.offset..error.offset + 1, error.to_string())),
            }
        }
        let (by_type, hosts) = (by_type(&filters), hosts(&filters));
        if problems.is_empty() { Ok(Self { rules, by_type, matching: Matching::First, hosts }) } else { Err(problems) }
    }

    /// The first match only unless this is called.
    #[must_use]
    pub fn matching(self, matching: Matching) -> Self {
        Self { matching, ..self }
    }

    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Of the rules, in their order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.name)
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The hosts that the rules in force name.
    pub fn hosts(&self) -> &BTreeSet<String> {
        &self.hosts
    }

    /// The event types that some rule can match: what the kernel side need report, beside the lives of processes.
    pub fn event_types(&self) -> impl Iterator<Item = EventType> {
        EventType::all().filter(|event_type| !self.by_type[usize::from(event_type.0)].rules.is_empty())
    }

    /// The rules that events of this type could match, in order, each with its condition for such events.
    pub(crate) fn candidates(&self, event_type: EventType) -> impl Iterator<Item = (&Rule, Condition<'_>)> {
        let candidates = self.of_type(event_type);
        let conditions = candidates.rules.iter().zip(candidates.filters.conditions());
        conditions.filter_map(|(rule, condition)| Some((self.rules.get(*rule)?, condition)))
    }

    /// The rules that can never match, since no event of the types that they ask for is reported.
    pub fn unreported(&self) -> impl Iterator<Item = &Rule> {
        let mut can_match = vec![false; self.rules.len()];
        for event_type in EventType::all().filter(|event_type| event_type.is_reported()) {
            self.by_type[usize::from(event_type.0)].rules.iter().for_each(|rule| can_match[*rule] = true);
        }
        self.rules.iter().zip(can_match).filter_map(|(rule, can_match)| (!can_match).then_some(rule))
    }

    /// The rules that match, in order: at most one where the first is the one.
    pub fn matches<'d>(&'d self, event: &Event<'_>, scratch: &mut Scratch) -> impl Iterator<Item = &'d Rule> {
        let candidates = self.of_type(event.event_type);
        self.rules_at(candidates, candidates.filters.matches(event, scratch))
    }

    /// The rules that may match an event whatever its container's runtime is going to tell; `None`: none does.
    pub(crate) fn possible(&self, event: &Event<'_>, scratch: &mut Scratch) -> Option<Possible> {
        let (places, filters) = &self.of_type(event.event_type).possible;
        let found = filters.matches(event, scratch).filter_map(|place| places.get(place).copied());
        let places: Vec<_> = found.collect();
        (!places.is_empty()).then_some(Possible { event_type: event.event_type, places })
    }

    /// All that these rules read, with arguments.
    pub(crate) fn reads(&self, possible: &Possible) -> impl Iterator<Item = (FieldId, Option<&str>)> {
        let candidates = self.of_type(possible.event_type);
        let rules = possible.places.iter().filter_map(|place| self.rules.get(*candidates.rules.get(*place)?));
        rules.flat_map(|rule| rule.reads.iter().map(|(field, argument)| (*field, argument.as_deref())))
    }

    /// Those of them that match now, as [`Self::matches`].
    pub(crate) fn matches_among<'d>(
        &'d self,
        possible: &Possible,
        fields: &impl Fields,
        scratch: &mut Scratch,
    ) -> impl Iterator<Item = &'d Rule> {
        let candidates = self.of_type(possible.event_type);
        let found = candidates.filters.matches_among(possible.places.iter().copied(), fields, scratch);
        self.rules_at(candidates, found)
    }

    fn of_type(&self, event_type: EventType) -> &Candidates {
        &self.by_type[usize::from(event_type.0)]
    }

    fn rules_at<'d>(
        &'d self,
        candidates: &'d Candidates,
        places: impl Iterator<Item = usize>,
    ) -> impl Iterator<Item = &'d Rule> {
        let at_most = if self.matching == Matching::First { 1 } else { usize::MAX };
        places.take(at_most).filter_map(|place| self.rules.get(*candidates.rules.get(place)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Scratch as EventScratch;
    use crate::fields::SensorCatalog;
    use crate::testing::{Builder, CAT, SHELL, state_with_cat};

    fn load(text: &str) -> Result<Detector, Vec<Problem>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.yaml");
        std::fs::write(&path, text).unwrap();
        crate::rules::load(&[path], &SensorCatalog).and_then(Detector::new)
    }

    fn rule(name: &str, condition: &str) -> String {
        format!("- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: WARNING\n")
    }

    #[track_caller]
    fn check(rules: &[(&str, &str)], record: &Builder, expected: Option<&str>) {
        check_matching(Matching::First, rules, record, expected.as_slice());
    }

    #[track_caller]
    fn check_matching(matching: Matching, rules: &[(&str, &str)], record: &Builder, expected: &[&str]) {
        let text: String = rules.iter().map(|(name, condition)| rule(name, condition)).collect();
        let detector = load(&text).unwrap().matching(matching);
        let (bytes, mut state, scratch) = (record.bytes(), state_with_cat(), EventScratch::default());
        record.apply(&mut state);
        let event = Event::new(1, 0, Builder::parse(&bytes), &state, &scratch).unwrap();
        let mut scratch = Scratch::new();
        let found: Vec<_> = detector.matches(&event, &mut scratch).map(|rule| &*rule.name).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rules_about_events_that_are_not_reported_are_known() {
        let count = |condition: &str| load(&rule("r", condition)).unwrap().unreported().count();
        assert_eq!(count("evt.type = switch"), 1);
        assert_eq!(count("evt.type in (switch, openat)"), 0);
        assert_eq!(count("proc.name = cat"), 0);
    }

    #[test]
    fn the_first_of_two_matching_rules_counts() {
        let rules = [
            ("exec", "evt.type = execve"),
            ("first", "evt.type in (open, openat) and fd.name = /etc/shadow"),
            ("second", "fd.name startswith /etc"),
        ];
        check(&rules, &Builder::open("/etc/shadow", 3), Some("first"));
        check(&rules, &Builder::open("/etc/passwd", 3), Some("second"));
        check(&rules, &Builder::open("/tmp/x", 3), None);
    }

    #[test]
    fn each_of_several_matching_rules_counts_where_all_are_asked_for() {
        let rules = [
            ("first", "fd.name = /etc/shadow"),
            ("other", "fd.name = /etc/passwd"),
            ("second", "evt.type = openat and fd.name startswith /etc"),
        ];
        check_matching(Matching::All, &rules, &Builder::open("/etc/shadow", 3), &["first", "second"]);
        check_matching(Matching::First, &rules, &Builder::open("/etc/shadow", 3), &["first"]);
        check_matching(Matching::All, &rules, &Builder::open("/tmp/x", 3), &[]);
    }

    #[test]
    fn ancestors_are_known_one_by_one_and_all_together() {
        let open = Builder::open("/etc/shadow", 3);
        check(&[("r", "proc.aname[2] = init and proc.pname = sh and proc.aname[0] = cat")], &open, Some("r"));
        check(&[("r", "proc.aname = init")], &open, Some("r"));
        check(&[("r", "proc.aname = cat")], &open, None);
        check(&[("r", "proc.acmdline startswith \"sh\" and proc.aexepath = /sbin/init")], &open, Some("r"));
        check(&[("r", "proc.aname[3] = x")], &open, None);
        check(&[("r", "not proc.aname[3] = x")], &open, Some("r"));
    }

    #[test]
    fn a_child_runs_its_parent_s_program_until_it_execs() {
        let child = CAT + 1;
        let open = Builder::open("/etc/shadow", 3).process(child, CAT);
        let mut state = state_with_cat();
        Builder::fork(CAT, SHELL, child).apply(&mut state);
        open.apply(&mut state);
        let process = state.processes.get(child).unwrap();
        assert_eq!((process.cmdline(), process.exe_path()), (&b"cat /etc/shadow"[..], &b"/usr/bin/cat"[..]));
        Builder::exec(child, CAT, "ls", "/usr/bin/ls", &["ls"]).apply(&mut state);
        let process = state.processes.get(child).unwrap();
        assert_eq!((process.cmdline(), process.arguments(), process.exe()), (&b"ls"[..], &b""[..], &b"ls"[..]));
    }

    #[test]
    fn only_event_types_that_a_rule_can_match_are_asked_for() {
        let detector = load(&rule("r", "evt.type in (openat, rename) and fd.name = /x")).unwrap();
        assert_eq!(detector.event_types().map(EventType::name).collect::<Vec<_>>(), ["openat", "rename"]);
    }

    #[test]
    fn a_disabled_rule_is_not_in_force_but_still_checked() {
        let disabled = rule("r", "evt.type = openat") + "  enabled: false\n";
        assert!(load(&disabled).unwrap().is_empty());
        assert!(load(&disabled.replace("output: o", "output: \"%nosuch.field\"")).is_err());
    }

    #[test]
    fn an_unknown_field_in_an_output_is_told_with_line_and_column() {
        let problems =
            load(&rule("r", "evt.type = openat").replace("output: o", "output: x %nosuch.field")).unwrap_err();
        assert_eq!((problems[0].place().line, problems[0].place().column), (4, 13));
        assert!(problems[0].message.contains("nosuch.field"), "{}", problems[0].message);
    }
}
