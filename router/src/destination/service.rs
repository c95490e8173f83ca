//! What sends.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::elasticsearch::Elasticsearch;
use super::{Notification, Receipt, SendError};
use crate::render::Renderer;

/// A destination of one type, built from its settings.
pub(super) trait Service: Send + Sync {
    /// One attempt.
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), SendError>>;

    /// One attempt for each of them, one result for each. For those that take many at once.
    fn send_all<'a>(&'a self, notifications: &'a [Notification]) -> BoxFuture<'a, Vec<Result<Receipt, SendError>>> {
        async move {
            let mut results = Vec::with_capacity(notifications.len());
            for notification in notifications {
                results.push(self.send(notification).await);
            }
            without_posts(results)
        }
        .boxed()
    }

    /// What would be sent.
    fn preview(&self, notification: &Notification) -> Result<String, SendError>;

    /// What makes its bodies, where a template does.
    fn renderer(&self) -> Option<&Renderer> {
        None
    }

    /// Elasticsearch is the one that needs to be set up.
    fn elasticsearch(&self) -> Option<&Elasticsearch> {
        None
    }

    /// The request as a whole, where it is one of HTTP.
    #[cfg(test)]
    fn request(&self, _notification: &Notification) -> Option<reqwest::Request> {
        None
    }
}

/// Receipts of a service that has nothing to say of what it took.
pub(super) fn without_posts(results: Vec<Result<(), SendError>>) -> Vec<Result<Receipt, SendError>> {
    results.into_iter().map(|result| result.map(|()| Receipt::default())).collect()
}
