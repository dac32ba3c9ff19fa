//! The gRPC services by path.
//!
//! Called by the connections directly: between HTTP/2 and a request's stream there is no router and no layer that every
//! message would pass.

use std::future::{Ready, ready};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::health::{Check, Health, Watch};
use super::shared::Shared;
use super::stream::Answers;
use super::wire::{ProcessingRequest, ProcessingResponse};

const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// `Process`.
struct Process(Arc<Shared>);

impl tonic::server::StreamingService<ProcessingRequest> for Process {
    type Response = ProcessingResponse;
    type ResponseStream = Answers;
    type Future = Ready<Result<tonic::Response<Answers>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<ProcessingRequest>>) -> Self::Future {
        let answers = Answers::new(request.into_inner(), Arc::clone(&self.0));
        ready(Ok(tonic::Response::new(answers)))
    }
}

/// What a port serves.
#[derive(Clone)]
pub(super) struct Services {
    /// External processing; `None` on the port for health alone.
    pub shared: Option<Arc<Shared>>,
    /// Health.
    pub health: Health,
    /// Longest message, bytes.
    pub most_message: usize,
}

impl Services {
    fn grpc<A, B>(&self) -> Grpc<ProstCodec<A, B>>
    where
        A: Message + Send + 'static,
        B: Message + Default + Send + 'static,
    {
        Grpc::new(ProstCodec::default()).max_decoding_message_size(self.most_message)
    }

    /// Answers one call.
    pub(super) async fn call(self, request: Request<Incoming>) -> Response<Body> {
        let health = self.health.clone();
        match (request.uri().path(), &self.shared) {
            (PROCESS, Some(shared)) => {
                let process = Process(Arc::clone(shared));
                self.grpc().streaming(process, request).await
            }
            (CHECK, _) => self.grpc().unary(Check(health), request).await,
            (WATCH, _) => self.grpc().server_streaming(Watch(health), request).await,
            _ => Status::unimplemented("no such method").into_http(),
        }
    }
}
