//! API groups served by somebody else through kube-apiserver, as `external.metrics.k8s.io` is.
//!
//! In a cluster the API server reaches such a server at a Service of pods. Here there is no network of Services, so the
//! Service is an ExternalName that points to loopback; everything else (certificates, the front proxy's
//! identity, discovery) is as it will be.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServicePort, ServiceSpec};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceSpec, ServiceReference,
};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use crate::certificates::Certificate;
use crate::{ControlPlane, Error, eventually};

/// A version of an API group, and the Service behind it.
#[derive(Debug, Clone)]
pub struct AggregatedApi<'a> {
    /// As `external.metrics.k8s.io`.
    pub group: &'a str,
    /// As `v1beta1`.
    pub version: &'a str,
    /// The namespace of the Service; it must exist.
    pub namespace: &'a str,
    /// The name of the Service.
    pub service: &'a str,
}

impl AggregatedApi<'_> {
    /// The name that the server's certificate must carry.
    pub fn host_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// The name of the APIService.
    pub fn name(&self) -> String {
        format!("{}.{}", self.version, self.group)
    }

    fn service(&self, address: SocketAddrV4) -> Service {
        Service {
            metadata: ObjectMeta {
                name: Some(self.service.to_owned()),
                namespace: Some(self.namespace.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(ServiceSpec {
                type_: Some("ExternalName".to_owned()),
                external_name: Some(address.ip().to_string()),
                ports: Some(vec![ServicePort {
                    port: address.port().into(),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    fn api_service(&self, port: u16, authority: &str) -> APIService {
        APIService {
            metadata: ObjectMeta {
                name: Some(self.name()),
                ..ObjectMeta::default()
            },
            spec: Some(APIServiceSpec {
                group: Some(self.group.to_owned()),
                version: Some(self.version.to_owned()),
                group_priority_minimum: 100,
                version_priority: 100,
                ca_bundle: Some(ByteString(authority.as_bytes().to_vec())),
                service: Some(ServiceReference {
                    name: Some(self.service.to_owned()),
                    namespace: Some(self.namespace.to_owned()),
                    port: Some(port.into()),
                }),
                ..APIServiceSpec::default()
            }),
            ..APIService::default()
        }
    }
}

/// By what an aggregated server knows that a request came through kube-apiserver, as
/// `kube-system/extension-apiserver-authentication` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Who signed the front proxy's certificate, PEM.
    pub authority: String,
    /// The common names it may have.
    pub allowed_names: Vec<String>,
    /// Headers with the user's name.
    pub username_headers: Vec<String>,
    /// Headers with the user's groups.
    pub group_headers: Vec<String>,
    /// How the names of further headers about the user begin.
    pub extra_headers_prefix: Vec<String>,
}

impl ControlPlane {
    /// A certificate for the server of this API group; its authority is the cluster's.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn certificate_for(&self, api: &AggregatedApi<'_>) -> Result<Certificate, Error> {
        self.serving_certificate(&[api.host_name()])
    }

    /// Has kube-apiserver hand requests for the group to the server at this address, from now on.
    ///
    /// # Errors
    /// [`Error::Kubernetes`].
    pub async fn aggregate(
        &self,
        api: &AggregatedApi<'_>,
        address: SocketAddrV4,
    ) -> Result<(), Error> {
        let client = self.admin().client().await?;
        let services: Api<Service> = Api::namespaced(client.clone(), api.namespace);
        let parameters = PatchParams::apply("testbed").force();
        let service = Patch::Apply(api.service(address));
        services
            .patch(api.service, &parameters, &service)
            .await
            .map_err(Error::kubernetes("cannot make the Service"))?;
        let registration = Patch::Apply(api.api_service(address.port(), self.authority()));
        Api::<APIService>::all(client)
            .patch(&api.name(), &parameters, &registration)
            .await
            .map(drop)
            .map_err(Error::kubernetes("cannot make the APIService"))
    }

    /// Waits until kube-apiserver has reached the group's server.
    ///
    /// # Errors
    /// [`Error::Never`] with the reason from the APIService's status.
    pub async fn aggregated(&self, api: &AggregatedApi<'_>) -> Result<(), Error> {
        let registrations: Api<APIService> = Api::all(self.admin().client().await?);
        let what = format!("APIService {} available", api.name());
        eventually(&what, async || {
            let registration = registrations.get(&api.name()).await;
            availability(&registration.map_err(|e| e.to_string())?)
        })
        .await
    }

    /// What kube-apiserver tells the servers behind it about the front proxy.
    ///
    /// # Errors
    /// [`Error::Kubernetes`] or [`Error::Answer`].
    pub async fn request_header(&self) -> Result<RequestHeader, Error> {
        request_header(self.admin().client().await?).await
    }
}

fn availability(registration: &APIService) -> Result<(), String> {
    let conditions = registration
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref());
    let available = conditions
        .flatten()
        .find(|c| c.type_ == "Available")
        .ok_or("not looked at yet")?;
    if available.status == "True" {
        return Ok(());
    }
    Err(available.message.clone().unwrap_or_default())
}

async fn request_header(client: Client) -> Result<RequestHeader, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    let name = "extension-apiserver-authentication";
    let map = maps
        .get(name)
        .await
        .map_err(Error::kubernetes(format!("cannot read {name}")))?;
    let data = map.data.unwrap_or_default();
    Ok(RequestHeader {
        authority: entry(&data, "requestheader-client-ca-file")?.to_owned(),
        allowed_names: list(&data, "requestheader-allowed-names")?,
        username_headers: list(&data, "requestheader-username-headers")?,
        group_headers: list(&data, "requestheader-group-headers")?,
        extra_headers_prefix: list(&data, "requestheader-extra-headers-prefix")?,
    })
}

fn entry<'a>(data: &'a BTreeMap<String, String>, key: &str) -> Result<&'a str, Error> {
    data.get(key)
        .map(String::as_str)
        .ok_or_else(|| Error::Answer {
            what: key.to_owned(),
            answer: "is missing".to_owned(),
        })
}

fn list<T: DeserializeOwned>(data: &BTreeMap<String, String>, key: &str) -> Result<T, Error> {
    serde_json::from_str(entry(data, key)?).map_err(|error| Error::Answer {
        what: key.to_owned(),
        answer: error.to_string(),
    })
}
