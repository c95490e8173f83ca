//! PagerDuty: Events API v2. Alerts that share a dedup key become one incident, and so do their summaries.

mod event;

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::address::Address;
use super::client::HttpSettings;
use super::http::{HttpDestination, HttpService, parse_url, service_url};
use super::live::Live;
use super::region::Region;
use super::service::Service;
use super::settings::{Folders, Settings, WITHHELD_KEY, WITHHELD_URL};
use super::terms::{Habit, Quiet};
use super::{Notification, NotificationKind, Problem, Receipt, SendError};
use crate::fingerprint::KeyField;
use crate::incident::{self, IncidentTerms};
use crate::render::{Renderer, attack_page};
use crate::secret::{PlainOrSecret, Secret, SecretRef};

/// Where the service is.
const US: &str = "https://events.pagerduty.com/v2/enqueue";
const EU: &str = "https://events.eu.pagerduty.com/v2/enqueue";

const TEMPLATE: &str = include_str!("../../../templates/pagerduty.json.hbs");

/// Links of one event.
const LINKS_MAX: usize = 20;

/// Those of them that lead to the pages of MITRE ATT&CK.
const TAG_LINKS_MAX: usize = 5;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PagerDutyConfig {
    #[serde(default)]
    http: HttpSettings,
    /// The integration key of an Events API v2 integration.
    routing_key: SecretRef,
    /// The service region of the account.
    #[serde(default)]
    region: Region,
    /// In place of the region's address: a proxy, or a receiver under test.
    url: Option<PlainOrSecret>,
    /// What makes alerts one incident; absent: what the route's `by` says.
    dedup_by: Option<Vec<String>>,
    /// An incident is resolved when nothing of it came for so long; absent: by hand only.
    resolve_after: Option<Quiet>,
    /// Where the client's name in an incident leads.
    client_url: Option<String>,
    /// Text → address, which may hold templates in path and query.
    #[serde(default)]
    links: BTreeMap<String, String>,
    /// Tag → address of what to do about alerts that bear it.
    #[serde(default)]
    runbooks: BTreeMap<String, String>,
    /// A Handlebars file in place of the built-in event. Gives all keys but `routing_key`, `event_action` and
    /// `dedup_key`.
    template: Option<PathBuf>,
    /// The template may write values without escaping.
    #[serde(default)]
    raw: bool,
}

struct PagerDuty {
    url: Url,
    routing_key: Live<Secret>,
    dedup_by: Option<Vec<KeyField>>,
    client_url: Option<Url>,
    links: Vec<(String, Address)>,
    runbooks: Vec<(String, Url)>,
    body: Renderer,
}

impl Settings for PagerDutyConfig {
    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    /// Fields that [`PagerDutyConfig::build`] refuses count for nothing.
    fn incidents(&self) -> Option<IncidentTerms> {
        let by = self.dedup_by.as_deref().and_then(|names| key_fields(names).ok());
        Some(IncidentTerms { by, quiet: self.resolve_after.map(|Quiet(quiet)| quiet), keep: Vec::new() })
    }

    fn withhold_secrets(&mut self) {
        self.url.iter_mut().for_each(|url| url.withhold(WITHHELD_URL));
        self.routing_key = SecretRef::Withheld(WITHHELD_KEY);
        self.http = HttpSettings::default();
    }

    fn build(&self, Folders { base, .. }: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        let region = self.region.address(US, EU);
        let url = service_url(self.url.as_ref(), region, base)?;
        let routing_key = {
            let (key, base) = (self.routing_key.clone(), base.to_owned());
            Live::new(key.file(&base), move || Ok(key.resolve(&base)?))?
        };
        let fixed = |setting: &str, text: &String| parse_url(setting, &PlainOrSecret::Plain(text.clone()), base);
        let link = |(text, address): (&String, &String)| {
            Ok((text.clone(), Address::build("links", &PlainOrSecret::Plain(address.clone()), base)?))
        };
        let pagerduty = PagerDuty {
            url: url.clone(),
            routing_key,
            dedup_by: self.dedup_by.as_deref().map(key_fields).transpose()?,
            client_url: self.client_url.as_ref().map(|text| fixed("client_url", text)).transpose()?,
            links: self.links.iter().map(link).collect::<Result<_, Problem>>()?,
            runbooks: (self.runbooks.iter())
                .map(|(tag, address)| Ok((tag.clone(), fixed("runbooks", address)?)))
                .collect::<Result<_, Problem>>()?,
            body: Renderer::build(Some(TEMPLATE), self.template.as_deref(), self.raw, base)?,
        };
        Ok(Box::new(HttpService::with(&self.http, &url, base, pagerduty)?))
    }
}

fn key_fields(names: &[String]) -> Result<Vec<KeyField>, Problem> {
    if names.is_empty() {
        return Err(Problem::new("`dedup_by` is empty: all alerts would be one incident; name at least `rule`"));
    }
    let field = |name: &String| KeyField::parse(name).map_err(|error| Problem::new(format!("`dedup_by`: {error}")));
    names.iter().map(field).collect()
}

impl HttpDestination for PagerDuty {
    fn request(&self, client: &Client, notification: &Notification) -> Result<RequestBuilder, SendError> {
        let (routing_key, dedup_key) =
            (self.routing_key.current(), incident::key(notification, self.dedup_by.as_deref()));
        let event = if matches!(notification.kind, NotificationKind::Resolve(_)) {
            event::resolve(routing_key.expose(), &dedup_key)
        } else {
            let mut rendered = self.body.render(notification)?;
            if let Some(event) = rendered.as_object_mut() {
                self.add_links(event, notification);
            }
            event::trigger(rendered, routing_key.expose(), &dedup_key)
        };
        Ok(client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(event))
    }

    /// The key by which the incident is found there.
    fn receipt(&self, notification: &Notification, answer: Result<Vec<u8>, SendError>) -> Result<Receipt, SendError> {
        let answer: Value = serde_json::from_slice(&answer.unwrap_or_default()).unwrap_or_default();
        let dedup_key = answer.get("dedup_key").and_then(Value::as_str).unwrap_or_default();
        tracing::info!(id = %notification.id, route = &*notification.route, kind = notification.kind.name(), dedup_key, "pagerduty took an event");
        Ok(Receipt::default())
    }

    /// `{"status":"invalid event","message":"…","errors":["…"]}`
    fn explain(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let errors = answer.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
        let errors: Vec<_> = errors.iter().filter_map(Value::as_str).collect();
        let cause = if errors.is_empty() { answer.get("message")?.as_str()?.to_owned() } else { errors.join("; ") };
        Some(cause.replace(self.routing_key.current().expose(), "[redacted]"))
    }

    fn renderer(&self) -> Option<&Renderer> {
        Some(&self.body)
    }
}

impl PagerDuty {
    /// Those of the configuration come first, and stand beside the template's own.
    fn add_links(&self, event: &mut serde_json::Map<String, Value>, notification: &Notification) {
        if let Some(url) = &self.client_url {
            event.insert("client_url".to_owned(), url.as_str().into());
        }
        let tags = &notification.alert.tags;
        let runbooks = self.runbooks.iter().filter(|(tag, _)| tags.contains(tag));
        let mut links: Vec<_> = runbooks.map(|(tag, url)| link(&format!("Runbook: {tag}"), url)).collect();
        for (text, address) in &self.links {
            match address.of(notification) {
                Ok(url) => links.push(link(text, &url)),
                Err(error) => {
                    self.body.count_left_out();
                    tracing::warn!(link = text, id = %notification.id, %error, "a link was left out");
                }
            }
        }
        let pages = tags.iter().filter_map(|tag| Some((tag, attack_page(tag)?))).take(TAG_LINKS_MAX);
        links.extend(pages.map(|(tag, page)| json!({ "href": page, "text": format!("MITRE ATT&CK: {tag}") })));
        let own = event.remove("links");
        links.extend(own.and_then(|own| own.as_array().cloned()).unwrap_or_default());
        links.truncate(LINKS_MAX);
        if !links.is_empty() {
            event.insert("links".to_owned(), links.into());
        }
    }
}

fn link(text: &str, url: &Url) -> Value {
    json!({ "href": url.as_str(), "text": text })
}
