//! The command lines of the control plane, and why they are as they are.

use std::net::Ipv4Addr;
use std::path::Path;

use super::keys::Keys;
use super::{Options, audit};

pub(super) const APISERVER_PORT: u16 = 6443;
const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;
const CONTROLLER_MANAGER_PORT: u16 = 10257;

/// What tests rely on. The rest would only watch and wait: there are no volumes, no cloud, no certificates to sign,
/// and a node-lifecycle controller would evict pods from nodes that send no heartbeats.
const CONTROLLERS: &[&str] = &[
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "job-controller",
    "horizontal-pod-autoscaler-controller",
    "disruption-controller",
    "endpointslice-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "garbage-collector-controller",
    "clusterrole-aggregation-controller",
    "root-ca-certificate-publisher-controller",
];

/// Where everything of one control plane is.
pub(super) struct Layout<'a> {
    pub host: Ipv4Addr,
    pub folder: &'a Path,
    pub keys: &'a Keys,
    pub options: &'a Options,
}

impl Layout<'_> {
    pub fn etcd(&self) -> Vec<String> {
        let client = self.etcd_url();
        let peer = format!("http://{}:{ETCD_PEER_PORT}", self.host);
        vec![
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // Tests survive the process's end, not the machine's: no need to wait for the disk.
            "--unsafe-no-fsync".to_owned(),
        ]
    }

    pub fn etcd_health(&self) -> String {
        format!("{}/health", self.etcd_url())
    }

    /// Requests for aggregated APIs go to the Service by name (an ExternalName), not to endpoints, as there is no
    /// network of Services: hence no aggregator routing. There are no endpoints of the API server itself for
    /// the same reason.
    pub fn apiserver(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--etcd-servers={}", self.etcd_url()),
            format!("--bind-address={}", self.host),
            format!("--advertise-address={}", self.host),
            format!("--secure-port={APISERVER_PORT}"),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            // It taints each new node as not ready until a node-lifecycle controller comes by.
            "--disable-admission-plugins=TaintNodesByCondition".to_owned(),
            self.key("client-ca-file", "ca.crt"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            self.key("service-account-key-file", "service-accounts.pub"),
            self.key("service-account-signing-key-file", "service-accounts.key"),
            self.key("requestheader-client-ca-file", "front-proxy-ca.crt"),
            "--requestheader-allowed-names=front-proxy-client".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            self.key("proxy-client-cert-file", "front-proxy-client.crt"),
            self.key("proxy-client-key-file", "front-proxy-client.key"),
        ];
        arguments.extend(self.server_certificate());
        arguments.extend(self.feature_gates());
        if self.options.audit {
            let file = |name: &str| self.folder.join(name).display().to_string();
            arguments.push(format!("--audit-policy-file={}", file(audit::POLICY_FILE)));
            arguments.push(format!("--audit-log-path={}", file(audit::RECORD_FILE)));
        }
        arguments.extend_from_slice(&self.options.apiserver_arguments);
        arguments
    }

    /// The HPA looks every second instead of every fifteen; the other controllers may ask as fast as they like.
    pub fn controller_manager(&self, kubeconfig: &Path) -> Vec<String> {
        let mut arguments: Vec<String> = ["", "authentication-", "authorization-"]
            .iter()
            .map(|purpose| format!("--{purpose}kubeconfig={}", kubeconfig.display()))
            .collect();
        arguments.extend([
            format!("--bind-address={}", self.host),
            format!("--secure-port={CONTROLLER_MANAGER_PORT}"),
            format!("--controllers={}", CONTROLLERS.join(",")),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            "--horizontal-pod-autoscaler-sync-period=1s".to_owned(),
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            self.key("service-account-private-key-file", "service-accounts.key"),
            self.key("root-ca-file", "ca.crt"),
        ]);
        arguments.extend(self.server_certificate());
        arguments.extend(self.feature_gates());
        arguments.extend_from_slice(&self.options.controller_manager_arguments);
        arguments
    }

    pub fn controller_manager_health(&self) -> String {
        format!("https://{}:{CONTROLLER_MANAGER_PORT}/healthz", self.host)
    }

    fn etcd_url(&self) -> String {
        format!("http://{}:{ETCD_PORT}", self.host)
    }

    fn key(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.keys.file(file).display())
    }

    fn server_certificate(&self) -> [String; 2] {
        [
            self.key("tls-cert-file", "server.crt"),
            self.key("tls-private-key-file", "server.key"),
        ]
    }

    fn feature_gates(&self) -> Option<String> {
        self.options
            .tolerance_gate
            .then(|| "--feature-gates=HPAConfigurableTolerance=true".to_owned())
    }
}
