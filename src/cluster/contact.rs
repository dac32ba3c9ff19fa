//! Reaching the controller over HTTP: at a URL, or through the API server's proxy to its Service or its pod.
//!
//! What the API server shows is enough for most questions. Figures that change every cycle (latencies, trust, costs of
//! variants without a `VariantAutoscaling`) are only on the controller's metrics page, so verbs ask for it where they can
//! and do without where they cannot.

use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use wva_controllers::api::keys;
use wva_controllers::settings::Settings;

use super::Cluster;
use super::arguments::ClusterArguments;
use super::deepest;
use super::figures::Figures;

/// Label that charts put on what belongs to one program.
const NAME_LABEL: &str = "app.kubernetes.io/name=wva";
/// Key of the settings in the chart's ConfigMap.
const SETTINGS: &str = "wva.yaml";
/// Names of a Service's port that serves plain HTTP.
const PORT_NAMES: [&str; 3] = ["http", "metrics", "http-metrics"];

/// A controller's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerPod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether it is the one that writes.
    pub leads: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Its service account.
    pub account: String,
}

/// Where the controller is.
#[derive(Debug, Clone)]
pub struct Contact {
    /// Its pods, the leader first.
    pub pods: Vec<ControllerPod>,
    /// What it was configured with; the defaults where that cannot be seen.
    pub settings: Settings,
    /// Why its settings are not these, in words.
    pub unread_settings: Option<String>,
    /// Addresses to try, each with words for it.
    routes: Vec<Route>,
    /// Why pods could not be looked for.
    pub trouble: Option<String>,
}

#[derive(Debug, Clone)]
enum Route {
    Url(String),
    /// Path at the API server.
    Proxy(String),
}

/// The settings of a controller that was given none.
pub fn defaults() -> Settings {
    Settings::parse("", "defaults").expect("nothing has to be set")
}

impl Contact {
    /// A controller with these pods and no address.
    pub fn of_pods(pods: Vec<ControllerPod>) -> Self {
        Self {
            pods,
            settings: defaults(),
            unread_settings: None,
            routes: Vec::new(),
            trouble: None,
        }
    }

    /// Looks for the controller.
    pub async fn find(cluster: &Cluster, arguments: &ClusterArguments) -> Self {
        let mut contact = Self::of_pods(Vec::new());
        let within = arguments.controller_namespace.as_deref();
        match pods(&cluster.client, within).await {
            Ok(pods) => contact.pods = pods,
            Err(error) => contact.trouble = Some(deepest(&error)),
        }
        let namespace = contact.namespace(arguments).map(str::to_owned);
        if let Some(namespace) = &namespace {
            match settings(&cluster.client, namespace).await {
                Ok(Some(settings)) => contact.settings = settings,
                Ok(None) => {}
                Err(why) => contact.unread_settings = Some(why),
            }
        }
        if let Some(url) = &arguments.controller {
            let url = url.trim_end_matches('/');
            contact.routes.push(Route::Url(url.to_owned()));
            return contact;
        }
        let port = contact.settings.serve.http.port();
        contact
            .routes
            .extend(contact.pods.iter().filter(|p| p.ready).map(|pod| {
                Route::Proxy(format!(
                    "/api/v1/namespaces/{}/pods/{}:{port}/proxy",
                    pod.namespace, pod.name
                ))
            }));
        if let Some(namespace) = &namespace {
            contact
                .routes
                .extend(services(&cluster.client, namespace, port).await);
        }
        contact
    }

    /// The namespace that the controller runs in, as far as it is known.
    pub fn namespace<'a>(&'a self, arguments: &'a ClusterArguments) -> Option<&'a str> {
        let found = self.pods.first().map(|p| p.namespace.as_str());
        arguments.controller_namespace.as_deref().or(found)
    }

    /// The page at this path of the first address that answers.
    ///
    /// # Errors
    /// Why none does, in words.
    pub async fn page(&self, client: &Client, path: &str) -> Result<String, String> {
        let mut why = match &self.trouble {
            Some(trouble) => format!("the controller cannot be looked for: {trouble}"),
            None => "no controller is found in the cluster".to_owned(),
        };
        for route in &self.routes {
            match route.get(client, path).await {
                Ok(page) => return Ok(page),
                Err(error) => why = format!("{}: {error}", route.name()),
            }
        }
        Err(why)
    }

    /// What its metrics page says.
    ///
    /// # Errors
    /// Why there is no such page, in words.
    pub async fn figures(&self, client: &Client) -> Result<Figures, String> {
        let page = self.page(client, "/metrics").await?;
        Figures::read(&page).ok_or_else(|| "the page at /metrics is not wva's".to_owned())
    }
}

impl Route {
    fn name(&self) -> &str {
        match self {
            Self::Url(url) => url,
            Self::Proxy(path) => path.trim_end_matches("/proxy"),
        }
    }

    async fn get(&self, client: &Client, path: &str) -> Result<String, String> {
        match self {
            Self::Url(url) => fetch(&format!("{url}{path}")).await,
            Self::Proxy(base) => proxied(client, &format!("{base}{path}")).await,
        }
    }
}

/// What the API server passes on from behind this path.
///
/// # Errors
/// Why it does not, in words.
pub async fn proxied(client: &Client, path: &str) -> Result<String, String> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|e| e.to_string())?;
    client
        .request_text(request)
        .await
        .map_err(|error| match &error {
            kube::Error::Api(status) => status.message.clone(),
            other => deepest(other),
        })
}

/// What is behind a URL.
///
/// # Errors
/// Why nothing is, in words.
pub async fn fetch(url: &str) -> Result<String, String> {
    let client = reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(10))
        .no_proxy()
        .build()
        .map_err(|e| deepest(&e))?;
    let answer = client.get(url).send().await.map_err(|e| deepest(&e))?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    answer.text().await.map_err(|e| deepest(&e))
}

/// Pods of the chart's label, or of the label that the leader gives itself.
async fn pods(client: &Client, namespace: Option<&str>) -> Result<Vec<ControllerPod>, kube::Error> {
    let api: Api<Pod> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let leader = format!("{}=true", keys::LEADER);
    let mut found: Vec<ControllerPod> = Vec::new();
    for selector in [leader.as_str(), NAME_LABEL] {
        for pod in api.list(&ListParams::default().labels(selector)).await? {
            let pod = ControllerPod::of(&pod);
            if !found
                .iter()
                .any(|p| (&p.namespace, &p.name) == (&pod.namespace, &pod.name))
            {
                found.push(pod);
            }
        }
    }
    Ok(found)
}

impl ControllerPod {
    fn of(pod: &Pod) -> Self {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        let ready =
            |c: &k8s_openapi::api::core::v1::PodCondition| c.type_ == "Ready" && c.status == "True";
        let account = pod
            .spec
            .as_ref()
            .and_then(|s| s.service_account_name.clone());
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            leads: pod.labels().get(keys::LEADER).is_some_and(|v| v == "true"),
            ready: conditions.is_some_and(|c| c.iter().any(ready)),
            account: account.unwrap_or_else(|| "default".into()),
        }
    }
}

/// The settings in the chart's ConfigMap, where there is one.
async fn settings(client: &Client, namespace: &str) -> Result<Option<Settings>, String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let listed = api.list(&ListParams::default().labels(NAME_LABEL)).await;
    let maps = listed.map_err(|e| deepest(&e))?.items;
    let texts = maps.iter().filter_map(|m| m.data.as_ref()?.get(SETTINGS));
    let first = texts.map(|t| Settings::parse(t, SETTINGS)).next();
    first.transpose().map_err(|e| e.to_string())
}

/// Ways through the Services of the chart's label; none where they may not be listed.
async fn services(client: &Client, namespace: &str, http: u16) -> Vec<Route> {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let listed = api.list(&ListParams::default().labels(NAME_LABEL)).await;
    let services = listed.map(|l| l.items).unwrap_or_default();
    let route = |service: Service| {
        let name = service.name_any();
        let ports = service.spec?.ports?;
        let port = ports.iter().find(|p| {
            let named = p.name.as_deref().is_some_and(|n| PORT_NAMES.contains(&n));
            named || p.port == i32::from(http)
        })?;
        let port = port.port;
        Some(Route::Proxy(format!(
            "/api/v1/namespaces/{namespace}/services/http:{name}:{port}/proxy"
        )))
    };
    services.into_iter().filter_map(route).collect()
}
