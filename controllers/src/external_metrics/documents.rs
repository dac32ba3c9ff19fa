//! The documents by which clients find out what is served: discovery, OpenAPI, version.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::answers::Metric;
use super::{GROUP, VERSION};

const LIST_KIND: &str = "ExternalMetricValueList";
const PATH: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}";

fn group_version() -> String {
    format!("{GROUP}/{VERSION}")
}

fn bare_group() -> Value {
    let version = json!({ "groupVersion": group_version(), "version": VERSION });
    json!({ "name": GROUP, "versions": [version], "preferredVersion": version })
}

/// `APIGroupList` of `/apis`.
#[must_use]
pub fn groups() -> Value {
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [bare_group()] })
}

/// `APIGroup` of `/apis/external.metrics.k8s.io`.
#[must_use]
pub fn group() -> Value {
    let mut group = bare_group();
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

/// `APIResourceList` of the group and version: one resource a metric.
#[must_use]
pub fn resources() -> Value {
    let resources: Vec<Value> = Metric::names()
        .map(|name| {
            json!({
                "name": name, "singularName": "", "namespaced": true, "kind": LIST_KIND, "verbs": ["get"],
            })
        })
        .collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(), "resources": resources,
    })
}

/// `APIGroupDiscoveryList` in this version of `apidiscovery.k8s.io`.
#[must_use]
pub fn aggregated(discovery_version: &str) -> Value {
    let resources: Vec<Value> = Metric::names()
        .map(|name| {
            json!({
                "resource": name,
                "responseKind": { "group": GROUP, "version": VERSION, "kind": LIST_KIND },
                "scope": "Namespaced",
                "singularResource": "",
                "verbs": ["get"],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{discovery_version}"),
        "metadata": {},
        "items": [{
            "metadata": { "name": GROUP, "creationTimestamp": null },
            "versions": [{ "version": VERSION, "resources": resources, "freshness": "Current" }],
        }],
    })
}

fn kinds() -> Value {
    json!([{ "group": GROUP, "version": VERSION, "kind": LIST_KIND }])
}

/// The schemas of a value and of the list, whose references begin with `prefix`.
fn schemas(prefix: &str) -> Value {
    json!({
        "io.k8s.metrics.pkg.apis.external_metrics.v1beta1.ExternalMetricValue": {
            "description": "A value of an external metric.",
            "type": "object",
            "required": ["metricName", "metricLabels", "timestamp", "value"],
            "properties": {
                "metricName": { "type": "string", "description": "Name of the metric." },
                "metricLabels": {
                    "type": "object",
                    "description": "Labels of the series.",
                    "additionalProperties": { "type": "string" },
                },
                "timestamp": { "type": "string", "format": "date-time", "description": "Time of the decision." },
                "value": { "type": "string", "description": "The value, as a quantity." },
            },
        },
        "io.k8s.metrics.pkg.apis.external_metrics.v1beta1.ExternalMetricValueList": {
            "description": "Values of an external metric.",
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": { "type": "string", "description": "Version of this representation." },
                "kind": { "type": "string", "description": "Kind of this representation." },
                "metadata": { "type": "object", "description": "Always empty." },
                "items": {
                    "type": "array",
                    "description": "One value per series that the selector matches.",
                    "items": {
                        "$ref": format!("{prefix}io.k8s.metrics.pkg.apis.external_metrics.v1beta1.ExternalMetricValue"),
                    },
                },
            },
            "x-kubernetes-group-version-kind": kinds(),
        },
    })
}

fn list_reference(prefix: &str) -> String {
    format!("{prefix}io.k8s.metrics.pkg.apis.external_metrics.v1beta1.{LIST_KIND}")
}

fn operation(parameters: &Value, responses: &Value) -> Value {
    json!({
        "description": "list external metrics",
        "operationId": "listExternalMetricsV1beta1NamespacedExternalMetric",
        "tags": ["externalMetrics_v1beta1"],
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": "list",
        "x-kubernetes-group-version-kind": kinds()[0],
    })
}

/// OpenAPI 2 of `/openapi/v2`.
#[must_use]
pub fn openapi_v2() -> Value {
    let parameter = |name: &str, place: &str, required: bool| {
        json!({
            "name": name, "in": place, "required": required, "type": "string", "uniqueItems": true,
        })
    };
    let mut list = operation(
        &json!([
            parameter("namespace", "path", true),
            parameter("metric", "path", true),
            parameter("labelSelector", "query", false),
        ]),
        &json!({ "200": { "description": "OK", "schema": { "$ref": list_reference("#/definitions/") } } }),
    );
    list["produces"] = json!(["application/json"]);
    list["schemes"] = json!(["https"]);
    json!({
        "swagger": "2.0",
        "info": { "title": "wva external metrics", "version": env!("CARGO_PKG_VERSION") },
        "paths": { PATH: { "get": list } },
        "definitions": schemas("#/definitions/"),
    })
}

/// The index of `/openapi/v3`.
#[must_use]
pub fn openapi_v3_root() -> Value {
    let path = format!("apis/{GROUP}/{VERSION}");
    let hash = fingerprint(&openapi_v3().to_string());
    let url = format!("/openapi/v3/{path}?hash={hash:016X}");
    json!({ "paths": { path: { "serverRelativeURL": url } } })
}

/// OpenAPI 3 of the group and version.
#[must_use]
pub fn openapi_v3() -> Value {
    let parameter = |name: &str, place: &str, required: bool| {
        json!({
            "name": name, "in": place, "required": required, "schema": { "type": "string" },
        })
    };
    let schema = json!({ "$ref": list_reference("#/components/schemas/") });
    let list = operation(
        &json!([
            parameter("namespace", "path", true),
            parameter("metric", "path", true),
            parameter("labelSelector", "query", false),
        ]),
        &json!({ "200": { "description": "OK", "content": { "application/json": { "schema": schema } } } }),
    );
    json!({
        "openapi": "3.0.0",
        "info": { "title": "wva external metrics", "version": env!("CARGO_PKG_VERSION") },
        "paths": { PATH: { "get": list } },
        "components": { "schemas": schemas("#/components/schemas/") },
    })
}

/// `version.Info` of `/version`.
#[must_use]
pub fn version() -> Value {
    json!({
        "major": env!("CARGO_PKG_VERSION_MAJOR"),
        "minor": env!("CARGO_PKG_VERSION_MINOR"),
        "gitVersion": concat!("v", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// A tag that changes with the document.
#[must_use]
pub fn entity_tag(body: &str) -> String {
    format!("\"{:016X}\"", fingerprint(body))
}

fn fingerprint(body: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}
