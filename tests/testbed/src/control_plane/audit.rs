//! The API server's own record of who asked for what: what somebody did cannot be told from what is left of it.
//!
//! Kept of service accounts only, those of the control plane left out: a test's own administrator would drown them.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::PoisonError;

use serde::Deserialize;

use super::ControlPlane;
use crate::Error;

/// The policy: which requests are noted, by the groups of who sent them.
pub(super) const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ['system:serviceaccounts:kube-system']}
- level: Request
  userGroups: ['system:serviceaccounts']
  verbs: [create, update, patch]
  resources: [{group: llmd.ai}, {group: apps}]
- {level: Metadata, userGroups: ['system:serviceaccounts']}
- {level: None}
";

/// Names of the policy and of the record in the folder of the cluster.
pub(super) const POLICY_FILE: &str = "audit-policy.yaml";
pub(super) const RECORD_FILE: &str = "audit.jsonl";

/// One answered request (or the beginning of a watch).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// When it was received, RFC 3339 with microseconds: comparable as text.
    pub at: String,
    /// Who sent it: `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// API group; empty for the core.
    pub group: String,
    /// Resource, with its subresource as in `deployments/scale`; empty where the path is none of a resource.
    pub resource: String,
    /// Namespace, where there is one.
    pub namespace: String,
    /// Name, where there is one.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// Path and query as they were sent.
    pub uri: String,
    /// What was to be written, JSON, where it was a workload or an object of ours.
    pub body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    request_received_timestamp: String,
    user: User,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
    #[serde(default)]
    request_object: serde_json::Value,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
}

impl From<Line> for Request {
    fn from(line: Line) -> Self {
        let object = line.object_ref;
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            sub => format!("{}/{sub}", object.resource),
        };
        Self {
            at: line.request_received_timestamp,
            user: line.user.username,
            verb: line.verb,
            group: object.api_group,
            resource,
            namespace: object.namespace,
            name: object.name,
            code: line.response_status.code,
            uri: line.uri,
            body: match line.request_object {
                serde_json::Value::Null => String::new(),
                object => object.to_string(),
            },
        }
    }
}

impl ControlPlane {
    /// What service accounts have asked for so far, oldest first; the plane must have been started with
    /// [`Options::audit`](super::Options::audit).
    ///
    /// # Errors
    /// [`Error::System`] where there is no record.
    pub fn requests(&self) -> Result<Vec<Request>, Error> {
        let file = self.sandbox.folder().join(RECORD_FILE);
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let read = record.read_on(&file);
        read.map_err(Error::system(format!("cannot read {}", file.display())))?;
        let mut requests = record.requests.clone();
        requests.sort();
        Ok(requests)
    }
}

/// What was read of the record so far: tests ask again and again while it grows.
#[derive(Debug, Default)]
pub(super) struct Record {
    offset: u64,
    requests: Vec<Request>,
}

impl Record {
    /// Reads what has been added in whole lines; the last one may be half written.
    fn read_on(&mut self, file: &Path) -> std::io::Result<()> {
        let mut file = File::open(file)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let end = text.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let lines = text[..end].split(|b| *b == b'\n');
        let lines = lines.filter_map(|l| serde_json::from_slice::<Line>(l).ok());
        self.requests.extend(lines.map(Request::from));
        self.offset += end as u64;
        Ok(())
    }
}
