//! KEDA's external scaler: the way in where KEDA owns `external.metrics.k8s.io`, and the way to and from zero replicas.
//!
//! ```text
//! ScaledObject ─► KEDA ─┬─ IsActive / StreamIsActive ─► 0 ↔ 1 replica (KEDA itself)
//!                       └─ GetMetricSpec, GetMetrics ─► the HPA that KEDA makes: 1 ↔ N
//! ```
//! A trigger of type `external` or `external-push` needs `scalerAddress`; of its `metadata` we read:
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `variantName` | the variant, in the ScaledObject's namespace | the ScaledObject's own name |
//!
//! and `metricType` has to stay `AverageValue`, KEDA's default. A variant is active while it is to have any replica. One that was
//! never decided is an error and not "inactive", so that KEDA keeps what runs; one whose data is held keeps its last answer.
//! KEDA scales to zero only after its own `cooldownPeriod`, and from zero at once where the trigger is `external-push`.

// Made by a program, which documents no modules.
#[allow(missing_docs, clippy::pedantic, clippy::nursery)]
pub mod externalscaler;

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::published::{Published, PublishedVariant};
use externalscaler::external_scaler_server::{ExternalScaler, ExternalScalerServer};
use externalscaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    MetricValue, ScaledObjectRef,
};

/// Name of the one metric; KEDA puts the trigger's index in front.
pub const METRIC: &str = "wva_desired_replicas";
/// Key of the trigger's metadata that names the variant.
pub const VARIANT_NAME: &str = "variantName";

/// The scaler.
#[derive(Debug, Clone)]
pub struct Scaler {
    published: watch::Receiver<Arc<Published>>,
}

/// The scaler's gRPC service, for [`crate::serving::serve`].
pub fn router(published: watch::Receiver<Arc<Published>>) -> axum::Router {
    Routes::new(ExternalScalerServer::new(Scaler { published })).into_axum_router()
}

/// Namespace and name of the variant that a ScaledObject means.
fn variant_of(object: &ScaledObjectRef) -> Result<(String, String), Status> {
    let named = named(&object.scaler_metadata)?.unwrap_or(&object.name);
    if object.namespace.is_empty() || named.is_empty() {
        return Err(Status::invalid_argument(format!(
            "no variant named: neither {VARIANT_NAME} nor the ScaledObject's name and namespace are set"
        )));
    }
    Ok((object.namespace.clone(), named.to_owned()))
}

fn named(metadata: &HashMap<String, String>) -> Result<Option<&str>, Status> {
    if let Some(name) = metadata.get(VARIANT_NAME) {
        return Ok(Some(name));
    }
    // KEDA hands over all of the metadata, its own keys included, so that what is unknown passes; what is nearly right is
    // a mistake that would silently scale by another variant.
    let near = |key: &&String| {
        key.replace(['_', '-'], "")
            .eq_ignore_ascii_case(VARIANT_NAME)
    };
    match metadata.keys().find(near) {
        Some(key) => Err(Status::invalid_argument(format!(
            "unknown key {key:?} in the trigger's metadata; did you mean {VARIANT_NAME:?}?"
        ))),
        None => Ok(None),
    }
}

/// What is published of the variant, or why there is nothing.
fn find<'a>(
    published: &'a Published,
    namespace: &str,
    name: &str,
) -> Result<&'a PublishedVariant, Status> {
    published.variant(namespace, name).ok_or_else(|| match published.at {
        None => Status::unavailable("nothing has been decided yet: the first cycle is still to come"),
        Some(_) => Status::not_found(format!(
            "there is no decision for variant {namespace}/{name}; is it managed, and does it have metrics?"
        )),
    })
}

fn is_active(variant: &PublishedVariant) -> bool {
    variant.report.desired > 0
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let (namespace, name) = variant_of(request.get_ref())?;
        let result = is_active(find(&self.published.borrow(), &namespace, &name)?);
        Ok(Response::new(IsActiveResponse { result }))
    }

    type StreamIsActiveStream = BoxStream<'static, Result<IsActiveResponse, Status>>;

    /// The state now, as soon as there is one, and then each change of it.
    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let (namespace, name) = variant_of(request.get_ref())?;
        let mut published = self.published.clone();
        published.mark_changed();
        let changes = stream::unfold((published, None), move |(mut published, told)| {
            let (namespace, name) = (namespace.clone(), name.clone());
            async move {
                loop {
                    // An error here means that the process ends, and so does the stream.
                    published.changed().await.ok()?;
                    let active = published
                        .borrow_and_update()
                        .variant(&namespace, &name)
                        .map(is_active);
                    if let Some(result) = active
                        && told != active
                    {
                        return Some((Ok(IsActiveResponse { result }), (published, active)));
                    }
                }
            }
        });
        Ok(Response::new(changes.boxed()))
    }

    /// One replica for each unit of the metric. Answered before anything is decided, so that KEDA can make its HPA.
    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        variant_of(request.get_ref())?;
        Ok(Response::new(GetMetricSpecResponse {
            metric_specs: vec![MetricSpec {
                metric_name: METRIC.into(),
                target_size: 1,
                target_size_float: 1.0,
            }],
        }))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let request = request.into_inner();
        if !is_ours(&request.metric_name) {
            return Err(Status::not_found(format!(
                "there is no metric {:?} here, only {METRIC:?}",
                request.metric_name
            )));
        }
        let object = request.scaled_object_ref.unwrap_or_default();
        let (namespace, name) = variant_of(&object)?;
        let value = find(&self.published.borrow(), &namespace, &name)?.value;
        Ok(Response::new(GetMetricsResponse {
            metric_values: vec![MetricValue {
                metric_name: request.metric_name,
                metric_value: i64::try_from(value.0.div_ceil(1000)).unwrap_or(i64::MAX),
                metric_value_float: value.get(),
            }],
        }))
    }
}

/// Whether this is our metric, with or without the `s0-` that some versions of KEDA leave in front.
fn is_ours(name: &str) -> bool {
    let indexed = |name: &str| {
        let (index, rest) = name.strip_prefix('s')?.split_once('-')?;
        let numeric = !index.is_empty() && index.bytes().all(|digit| digit.is_ascii_digit());
        (numeric && rest == METRIC).then_some(())
    };
    name == METRIC || indexed(name).is_some()
}
