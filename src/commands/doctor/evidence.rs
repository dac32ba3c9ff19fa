//! Everything that judges look at, gathered once.

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;

use super::rights::{self, Review};
use crate::cluster::arguments::ClusterArguments;
use crate::cluster::contact::fetch;
use crate::cluster::look::Look;
use crate::cluster::servers::{ServerPage, pages};
use crate::cluster::{Cluster, deepest};
use crate::failure::Failure;

/// Name of the APIService of external metrics.
pub const EXTERNAL_METRICS: &str = "v1beta1.external.metrics.k8s.io";
/// Servers that are asked per variant.
const SERVERS: usize = 2;
/// Finds any series of a model server in Prometheus.
const SERVER_SERIES: &str = "count({__name__=~\"vllm:num_requests_running|sglang:num_running_reqs|trtllm_num_requests_running|nv_trt_llm_request_metrics\"})";

/// What was seen.
#[derive(Debug)]
pub struct Evidence {
    /// Objects, fleet, controller.
    pub look: Look,
    /// Who serves external metrics; `None` inside where nobody does.
    pub external_metrics: Result<Option<APIService>, String>,
    /// The controller's Lease; `None` inside where there is none.
    pub lease: Result<Option<Lease>, String>,
    /// What the controller may do, or why that cannot be asked.
    pub reviews: Result<Vec<Review>, String>,
    /// Whose rights those are.
    pub account: String,
    /// What the model servers say.
    pub pages: Vec<ServerPage>,
    /// Series of model servers in Prometheus; `None` where no Prometheus was named.
    pub prometheus: Option<(String, Result<f64, String>)>,
}

impl Evidence {
    /// Looks at everything.
    pub async fn gather(
        cluster: &Cluster,
        arguments: &ClusterArguments,
        account: Option<&str>,
        prometheus: Option<&str>,
    ) -> Result<Self, Failure> {
        let look = Look::take(cluster, arguments).await?;
        let home = look.contact.namespace(arguments).map(str::to_owned);
        let found = look.contact.pods.first();
        let found = found.map(|p| format!("{}:{}", p.namespace, p.account));
        let account = account.map(str::to_owned).or(found);
        let asked_of = async {
            match prometheus {
                Some(url) => Some((url.to_owned(), server_series(url).await)),
                None => None,
            }
        };
        let (external_metrics, lease, reviews, pages, prometheus) = futures::join!(
            external_metrics(cluster),
            lease(
                cluster,
                home.as_deref(),
                &look.contact.settings.leader.lease
            ),
            reviews(cluster, account.as_deref(), &look, home.as_deref()),
            pages(&cluster.client, &look.fleet, SERVERS),
            asked_of,
        );
        Ok(Self {
            look,
            external_metrics,
            lease,
            reviews,
            account: account.unwrap_or_else(|| "you".to_owned()),
            pages,
            prometheus,
        })
    }
}

async fn external_metrics(cluster: &Cluster) -> Result<Option<APIService>, String> {
    let api: Api<APIService> = Api::all(cluster.client.clone());
    let found = api.get_opt(EXTERNAL_METRICS).await;
    found.map_err(|e| deepest(&e))
}

async fn lease(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<Lease>, String> {
    let Some(namespace) = namespace else {
        return Ok(None);
    };
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    api.get_opt(name).await.map_err(|e| deepest(&e))
}

async fn reviews(
    cluster: &Cluster,
    account: Option<&str>,
    look: &Look,
    home: Option<&str>,
) -> Result<Vec<Review>, String> {
    let scope = rights::Scope {
        namespace: cluster.namespace.as_deref(),
        home,
        settings: &look.contact.settings,
    };
    let wanted = rights::needed(&look.objects, &scope);
    let asked = wanted
        .into_iter()
        .map(|right| rights::review(&cluster.client, account, right));
    join_all(asked).await.into_iter().collect()
}

/// How many series of model servers Prometheus has.
async fn server_series(url: &str) -> Result<f64, String> {
    let query: String = SERVER_SERIES
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let url = format!("{}/api/v1/query?query={query}", url.trim_end_matches('/'));
    let answer = fetch(&url).await?;
    let json: serde_json::Value =
        serde_json::from_str(&answer).map_err(|_| "its answer is not JSON".to_owned())?;
    if json["status"] != "success" {
        return Err(format!("it refused the query: {}", json["error"]));
    }
    let value = json.pointer("/data/result/0/value/1");
    let value = value.and_then(|v| v.as_str()?.parse().ok());
    Ok(value.unwrap_or(0.0))
}
