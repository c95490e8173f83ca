//! gRPC over a runtime's socket.

use std::path::Path;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Streaming};
use tonic_prost::ProstCodec;

use super::runtimes::{Error, REQUEST_TIMEOUT};

/// Bytes of one answer: the list of all containers is the longest.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// A connection.
#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Channel,
}

impl Client {
    pub(super) async fn connect(socket: &Path) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let channel = endpoint.connect_timeout(REQUEST_TIMEOUT).connect().await?;
        Ok(Self { channel })
    }

    /// `None`: there is no such thing, or this runtime has no such method.
    pub(super) async fn ask<Q, A>(&self, method: &'static str, request: Request<Q>) -> Result<Option<A>, Error>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        match grpc.unary(request, PathAndQuery::from_static(method), codec).await {
            Ok(answer) => Ok(Some(answer.into_inner())),
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => Ok(None),
            Err(status) => Err(Error::Grpc(Box::new(status))),
        }
    }

    /// Answers one after the other.
    pub(super) async fn subscribe<Q, A>(&self, method: &'static str, request: Q) -> Result<Streaming<A>, Error>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let answers = grpc.server_streaming(Request::new(request), PathAndQuery::from_static(method), codec).await;
        Ok(answers.map_err(Box::new)?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Error> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        grpc.ready().await?;
        Ok(grpc)
    }
}

/// A request about one of containerd's namespaces.
pub(super) fn in_namespace<Q>(namespace: &str, message: Q) -> Request<Q> {
    const NAMESPACE: &str = "containerd-namespace";
    let mut request = Request::new(message);
    if let Ok(value) = MetadataValue::try_from(namespace) {
        request.metadata_mut().insert(NAMESPACE, value);
    }
    request
}
