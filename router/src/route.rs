//! Which routes want an alert: the tree of routes.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tercel_alert::Alert;
use tercel_filter::{Filter, Scratch};

use crate::condition::{AlertCatalog, AlertFields};
use crate::fingerprint::KeyField;

/// One route, ready to run.
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    /// `None`: every alert.
    when: Option<Filter>,
    /// `when` as it is written, to explain what it decided.
    pub(crate) condition: Option<Box<str>>,
    /// Where the route's alerts go, unless a child takes them.
    pub(crate) targets: Vec<Target>,
    /// What makes alerts equal.
    pub(crate) by: Vec<KeyField>,
    /// How long repeats are counted instead of delivered; zero: never.
    pub(crate) window: Duration,
    /// Later routes are asked too.
    pub(crate) goes_on: bool,
    pub(crate) children: Vec<Route>,
}

/// One destination of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Index into the destinations.
    pub(crate) destination: usize,
    /// Index into the limits; every route × destination has its own.
    pub(crate) limit: Option<usize>,
    /// Index into the routes' schedules; every route × destination has its own. The destination's comes on top.
    pub(crate) schedule: Option<usize>,
}

/// All routes in the order of the file, with the names that their conditions use.
pub(crate) struct Routes {
    pub(crate) tree: Vec<Route>,
    names: Vec<Box<str>>,
    mismatches: IntCounter,
}

/// A route that was asked whether it wants an alert.
pub(crate) struct Asked<'a> {
    pub(crate) route: &'a Route,
    pub(crate) wants: bool,
}

/// What [`Route::new`] needs.
pub(crate) struct RouteParts {
    pub(crate) name: Arc<str>,
    pub(crate) when: Option<Filter>,
    pub(crate) condition: Option<Box<str>>,
    pub(crate) targets: Vec<Target>,
    pub(crate) by: Vec<KeyField>,
    pub(crate) window: Duration,
    pub(crate) goes_on: bool,
    pub(crate) children: Vec<Route>,
}

impl Route {
    pub(crate) fn new(parts: RouteParts) -> Self {
        let RouteParts { name, when, condition, targets, by, window, goes_on, children } = parts;
        Self { name, when, condition, targets, by, window, goes_on, children }
    }

    /// The route and everything below it.
    pub(crate) fn with_children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        Box::new(std::iter::once(self).chain(self.children.iter().flat_map(Self::with_children)))
    }

    fn wants(&self, fields: &AlertFields<'_>, scratch: &mut Scratch) -> bool {
        self.when.as_ref().is_none_or(|filter| filter.matches(fields, scratch))
    }
}

impl Routes {
    /// `catalog`: the one with which the conditions of `tree` were compiled.
    pub(crate) fn new(tree: Vec<Route>, catalog: AlertCatalog, mismatches: IntCounter) -> Self {
        Self { tree, names: catalog.into_names(), mismatches }
    }

    /// The routes that take the alert, in the order of the file.
    pub(crate) fn of(&self, alert: &Alert) -> Vec<&Route> {
        self.ask(alert, &mut |_asked| {})
    }

    /// As [`Routes::of`]; `see` is told of each route that is asked, in the order of asking.
    pub(crate) fn ask<'a>(&'a self, alert: &Alert, see: &mut impl FnMut(Asked<'a>)) -> Vec<&'a Route> {
        let fields = AlertFields { alert, names: &self.names, mismatches: &self.mismatches };
        let mut taken = Vec::new();
        descend(&self.tree, &fields, &mut Scratch::new(), see, &mut taken);
        taken
    }
}

/// The first route that wants the alert takes it, and later ones too as long as `continue` says so. Its children are asked
/// before itself. True: somebody took it.
fn descend<'a>(
    routes: &'a [Route],
    fields: &AlertFields<'_>,
    scratch: &mut Scratch,
    see: &mut impl FnMut(Asked<'a>),
    taken: &mut Vec<&'a Route>,
) -> bool {
    let mut any = false;
    for route in routes {
        let wants = route.wants(fields, scratch);
        see(Asked { route, wants });
        if !wants {
            continue;
        }
        if !descend(&route.children, fields, scratch, see, taken) {
            taken.push(route);
        }
        any = true;
        if !route.goes_on {
            break;
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tercel_filter::Scope;

    use super::*;

    fn alert() -> Alert {
        serde_json::from_value(json!({
            "time": "2026-01-01T00:00:00Z", "rule": "Read shadow", "priority": "Critical", "source": "syscall",
            "tags": ["T1003", "host"],
            "output_fields": {"proc.name": "cat", "user.uid": 0, "fd.sip": "10.1.2.3", "proc.aname[2]": "sshd",
                              "cpu.load": 0.5, "k8s.ns.name": null, "big.number": u64::MAX, "a.list": ["x"]}
        }))
        .unwrap()
    }

    fn route(name: &str, when: &str, goes_on: bool, children: Vec<Route>, catalog: &AlertCatalog) -> Route {
        let when = (!when.is_empty()).then(|| Filter::parse(when, &Scope::default(), catalog).unwrap());
        let (targets, by, window) = (Vec::new(), Vec::new(), Duration::ZERO);
        let condition = None;
        Route::new(RouteParts { name: name.into(), when, condition, targets, by, window, goes_on, children })
    }

    #[test]
    fn the_first_match_wins_unless_it_continues_and_children_go_before_their_parent() {
        let catalog = AlertCatalog::default();
        let tree = vec![
            route("copy", "", true, vec![], &catalog),
            route("other host", "hostname = x", false, vec![], &catalog),
            route(
                "urgent",
                "priority >= error",
                false,
                vec![
                    route("network", "fd.sip = 1.1.1.1", false, vec![], &catalog),
                    route("cat", "proc.name = cat", false, vec![], &catalog),
                ],
                &catalog,
            ),
            route("rest", "", false, vec![], &catalog),
        ];
        let routes = Routes::new(tree, catalog, IntCounter::new("m", "m").unwrap());
        let names: Vec<_> = routes.of(&alert()).iter().map(|route| &*route.name).collect();
        assert_eq!(names, ["copy", "cat"]);
    }
}
