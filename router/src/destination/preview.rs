//! What a destination would be sent, for who writes a template or a test: nothing is opened, no secret is read.

use super::{Destination, DestinationConfig, Notification, SendError, Service};
use crate::render::alert_body;
use crate::secret::SecretRef;

/// In the place of a key or password.
const KEY: &str = "[withheld]";

/// In the place of an address.
const URL: &str = "http://withheld.invalid/";

impl DestinationConfig {
    /// The same without what must not be shown.
    #[must_use]
    pub(crate) fn without_secrets(&self) -> Self {
        let mut config = self.clone();
        match &mut config {
            Self::Archive(_) | Self::Console(_) => {}
            Self::Elasticsearch(config) => {
                config.url.withhold(URL);
                let keys = [&mut config.api_key, &mut config.password, &mut config.bearer_token];
                keys.into_iter().flatten().for_each(|key| *key = SecretRef::Withheld(KEY));
            }
            Self::PagerDuty(config) => {
                config.url.iter_mut().for_each(|url| url.withhold(URL));
                config.routing_key = SecretRef::Withheld(KEY);
            }
            Self::Slack(config) => config.webhook_url = SecretRef::Withheld(URL),
            Self::Webhook(config) => {
                config.url.withhold(URL);
                config.headers.values_mut().for_each(|value| value.withhold(KEY));
            }
        }
        config
    }
}

impl Destination {
    /// The body of the request, or the line, for `notification`.
    ///
    /// # Errors
    /// Not even the built-in template makes one.
    pub(crate) fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        match &self.service {
            Service::Archive(_) => Ok(alert_body(notification).to_string()),
            Service::Console(console) => Ok(console.line(notification, false).trim_end().to_owned()),
            Service::Elasticsearch(elasticsearch) => Ok(elasticsearch.preview(notification).trim_end().to_owned()),
            Service::Http(service) => service.body(notification),
            #[cfg(test)]
            Service::Scripted(_) | Service::ScriptedBulk(_) => Ok(String::new()),
        }
    }
}
