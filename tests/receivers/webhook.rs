use super::{Received, Reply, Service};

/// Takes anything.
#[derive(Debug, Default)]
pub struct WebhookService;

impl Service for WebhookService {
    const PATH: &'static str = "/hook";

    fn reply(&mut self, _request: &Received) -> Reply {
        Reply::text(200, "")
    }
}
