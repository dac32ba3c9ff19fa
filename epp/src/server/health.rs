//! gRPC health checking, version 1: what Kubernetes and proxies ask.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::store::Store;

/// The service whose health is that of the process.
pub const PROCESSOR: &str = "envoy.service.ext_proc.v3.ExternalProcessor";

/// How often a watched status is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

/// Asks for the health of a service.
#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckRequest {
    /// The service; empty for the process.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// The health of a service.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct HealthCheckResponse {
    /// 1 serving, 2 not serving, 3 unknown.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Answers from the store.
#[derive(Debug, Clone)]
pub struct Health(pub Arc<Store>);

impl Health {
    /// The status of a service: alive is always serving, everything else while requests should come.
    fn status(&self, service: &str) -> Option<i32> {
        match service {
            "liveness" => Some(SERVING),
            "" | "readiness" | PROCESSOR if self.0.is_ready() => Some(SERVING),
            "" | "readiness" | PROCESSOR => Some(NOT_SERVING),
            _ => None,
        }
    }

    /// The status of a service, and each change of it.
    fn changes(
        self,
        service: String,
    ) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send {
        stream::unfold(
            (self, service, None),
            |(health, service, last)| async move {
                let mut status;
                loop {
                    status = health.status(&service).unwrap_or(SERVICE_UNKNOWN);
                    if last != Some(status) {
                        break;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                let response = HealthCheckResponse { status };
                Some((Ok(response), (health, service, Some(status))))
            },
        )
    }
}

/// `Check`.
pub(super) struct Check(pub Health);

impl tonic::server::UnaryService<HealthCheckRequest> for Check {
    type Response = HealthCheckResponse;
    type Future = BoxFuture<'static, Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let status = self.0.status(&request.into_inner().service);
        let unknown = || Status::not_found("unknown service");
        let answer = status.ok_or_else(unknown);
        Box::pin(async move { answer.map(|status| Response::new(HealthCheckResponse { status })) })
    }
}

/// `Watch`.
pub(super) struct Watch(pub Health);

impl tonic::server::ServerStreamingService<HealthCheckRequest> for Watch {
    type Response = HealthCheckResponse;
    type ResponseStream = BoxStream<'static, Result<Self::Response, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let changes = self.0.clone().changes(request.into_inner().service);
        let changes: Self::ResponseStream = Box::pin(changes);
        Box::pin(async { Ok(Response::new(changes)) })
    }
}
