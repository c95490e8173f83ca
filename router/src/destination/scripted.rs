//! Destinations that do what a test says.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::service::{Service, without_posts};
use super::{Destination, Notification, Receipt, SendError};

/// Takes one at a time.
struct One<S>(S);

/// Takes many at once.
struct Many<S>(S);

impl Destination {
    pub(crate) fn scripted<F>(script: impl Fn(Notification) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), SendError>> + Send + 'static,
    {
        Self { name: "scripted".into(), service: Box::new(One(script)) }
    }

    pub(crate) fn scripted_bulk<F>(script: impl Fn(Vec<Notification>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<Result<(), SendError>>> + Send + 'static,
    {
        Self { name: "scripted".into(), service: Box::new(Many(script)) }
    }
}

impl<S, F> Service for One<S>
where
    S: Fn(Notification) -> F + Send + Sync,
    F: Future<Output = Result<(), SendError>> + Send + 'static,
{
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        (self.0)(notification.clone()).boxed()
    }

    fn preview(&self, _notification: &Notification) -> Result<String, SendError> {
        Ok(String::new())
    }
}

impl<S, F> Service for Many<S>
where
    S: Fn(Vec<Notification>) -> F + Send + Sync,
    F: Future<Output = Vec<Result<(), SendError>>> + Send + 'static,
{
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>> {
        (self.0)(vec![notification.clone()]).map(|mut results| results.remove(0)).boxed()
    }

    fn send_all<'a>(&'a self, notifications: &'a [Notification]) -> BoxFuture<'a, Vec<Result<Receipt, SendError>>> {
        (self.0)(notifications.to_vec()).map(without_posts).boxed()
    }

    fn preview(&self, _notification: &Notification) -> Result<String, SendError> {
        Ok(String::new())
    }
}
