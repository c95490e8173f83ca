//! Null: takes every notification and keeps none, to try routes and to measure the router without a service behind it.

use futures::future::{BoxFuture, ready};
use schemars::JsonSchema;
use serde::Deserialize;

use super::service::Service;
use super::settings::{Folders, Settings};
use super::terms::Habit;
use super::{Notification, Problem, SendError};
use crate::render::alert_text;

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NullConfig {}

struct Null;

impl Settings for NullConfig {
    fn build(&self, _folders: Folders<'_>) -> Result<Box<dyn Service>, Problem> {
        Ok(Box::new(Null))
    }

    fn habit(&self) -> Habit {
        Habit::OneByOne
    }

    fn withhold_secrets(&mut self) {}
}

impl Service for Null {
    fn send<'a>(&'a self, _notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(ready(Ok(())))
    }

    fn preview(&self, notification: &Notification) -> Result<String, SendError> {
        Ok(alert_text(notification))
    }
}
