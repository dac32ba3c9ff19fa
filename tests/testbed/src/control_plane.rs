//! A Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, as they are shipped.
//!
//! Ready in about ten seconds, so tests of one binary should share one where they can:
//!
//! ```no_run
//! # use wva_testbed::{ControlPlane, Error, Options, or_skip};
//! # use tokio::sync::OnceCell;
//! async fn cluster() -> Option<&'static ControlPlane> {
//!     static CLUSTER: OnceCell<Result<ControlPlane, Error>> = OnceCell::const_new();
//!     let started = CLUSTER.get_or_init(|| ControlPlane::start(Options::default())).await;
//!     or_skip(started.as_ref())
//! }
//! ```
//!
//! There is no scheduler and no node: [`crate::kubelet`] is both.

mod arguments;
pub mod audit;
mod keys;

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::access::{self, Access, Credential, Server};
use crate::certificates::Certificate;
use crate::daemon::{Daemon, Recipe};
use crate::{Error, Sandbox, component};
use arguments::Layout;
use keys::Keys;

/// How a control plane is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether `behavior.scaleUp.tolerance` of an HPA is kept (feature gate `HPAConfigurableTolerance`). Without
    /// it, the field is dropped in silence and 10 % apply.
    pub tolerance_gate: bool,
    /// Whether Deployments, StatefulSets and HPAs are acted on from the start.
    pub controller_manager: bool,
    /// Whether requests of service accounts are noted; see [`audit`].
    pub audit: bool,
    /// More arguments for kube-apiserver; the last one of a name counts.
    pub apiserver_arguments: Vec<String>,
    /// More arguments for kube-controller-manager; the last one of a name counts.
    pub controller_manager_arguments: Vec<String>,
}

impl Default for Options {
    /// As a cluster of this version comes: no tolerance gate, all controllers.
    fn default() -> Self {
        Self {
            tolerance_gate: false,
            controller_manager: true,
            audit: false,
            apiserver_arguments: Vec::new(),
            controller_manager_arguments: Vec::new(),
        }
    }
}

/// A running control plane; all of it goes when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: whoever asks before whoever answers.
    controller_manager: Daemon,
    apiserver: Daemon,
    etcd: Daemon,
    admin: Access,
    server: Server,
    keys: Keys,
    sandbox: Sandbox,
    namespaces: AtomicUsize,
    record: Mutex<audit::Record>,
}

impl ControlPlane {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::MissingComponent`], or what kept a part of it from starting, with the end of its log.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let plane = Self::new(&options)?;
        plane.etcd.start().await?;
        plane.apiserver.start().await?;
        if options.controller_manager {
            plane.controller_manager.start().await?;
        }
        Ok(plane)
    }

    fn new(options: &Options) -> Result<Self, Error> {
        let kubernetes = component::folder("kubernetes")?;
        let etcd = component::folder("etcd")?.join("usr/bin/etcd");
        let sandbox = Sandbox::new("cluster")?;
        let keys = Keys::new(&sandbox)?;
        sandbox.write(audit::POLICY_FILE, audit::POLICY)?;
        let server = Server {
            url: format!("https://{}:{}", sandbox.host(), arguments::APISERVER_PORT),
            authority: keys.file("ca.crt"),
        };
        let administrator = keys.client(&sandbox, "testbed-admin", Some("system:masters"))?;
        let admin = Access::new(&sandbox, "testbed-admin", &server, &administrator)?;
        let manager = keys.client(&sandbox, "system:kube-controller-manager", None)?;
        let manager = Access::new(
            &sandbox,
            "system:kube-controller-manager",
            &server,
            &manager,
        )?;
        let layout = Layout {
            host: sandbox.host(),
            folder: sandbox.folder(),
            keys: &keys,
            options,
        };
        let daemon = |name, program, arguments, health: String| {
            let authority = health
                .starts_with("https")
                .then(|| keys.authority().to_owned());
            let recipe = Recipe {
                name,
                program,
                arguments,
                health,
                authority,
            };
            Daemon::new(&sandbox, recipe)
        };
        Ok(Self {
            etcd: daemon("etcd", etcd, layout.etcd(), layout.etcd_health()),
            apiserver: daemon(
                "kube-apiserver",
                kubernetes.join("kube-apiserver"),
                layout.apiserver(),
                format!("{}/readyz", server.url),
            ),
            controller_manager: daemon(
                "kube-controller-manager",
                kubernetes.join("kube-controller-manager"),
                layout.controller_manager(manager.kubeconfig()),
                layout.controller_manager_health(),
            ),
            admin,
            server,
            keys,
            sandbox,
            namespaces: AtomicUsize::new(0),
            record: Mutex::default(),
        })
    }

    /// The administrator, who may do everything.
    pub fn admin(&self) -> &Access {
        &self.admin
    }

    /// A user who may do nothing yet, known by a certificate.
    ///
    /// # Errors
    /// [`Error::Certificate`] or [`Error::System`].
    pub fn user(&self, name: &str, group: Option<&str>) -> Result<Access, Error> {
        let credential = self.keys.client(&self.sandbox, name, group)?;
        Access::new(&self.sandbox, name, &self.server, &credential)
    }

    /// A service account, made if there is none, known by a token that holds for a day.
    ///
    /// # Errors
    /// [`Error::Kubernetes`], as when there is no such namespace.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Access, Error> {
        let admin = self.admin.client().await?;
        let token = access::service_account_token(admin, namespace, name).await?;
        let user = format!("{namespace}:{name}");
        let credential = Credential::Token(token);
        Access::new(&self.sandbox, &user, &self.server, &credential)
    }

    /// A new namespace, in which pods can be made: its name, which starts with this label.
    ///
    /// # Errors
    /// [`Error::Kubernetes`]; [`Error::Never`] when no controller manager runs.
    pub async fn namespace(&self, label: &str) -> Result<String, Error> {
        let count = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let name = format!("{label}-{count}");
        access::create_namespace(self.admin.client().await?, &name).await?;
        Ok(name)
    }

    /// A certificate for a server under these names and addresses, signed by the cluster's authority.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn serving_certificate(&self, names: &[String]) -> Result<Certificate, Error> {
        self.keys.server(names)
    }

    /// The certificate of the cluster's authority, PEM.
    pub fn authority(&self) -> &str {
        self.keys.authority()
    }

    /// The URL of the API server.
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// The address of the components: their usual ports are taken there, others are free.
    pub fn host(&self) -> Ipv4Addr {
        self.sandbox.host()
    }

    /// The folder and addresses of this cluster.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The store.
    pub fn etcd(&self) -> &Daemon {
        &self.etcd
    }

    /// The API server.
    pub fn apiserver(&self) -> &Daemon {
        &self.apiserver
    }

    /// Deployments, ReplicaSets, StatefulSets, HPAs, garbage collection.
    pub fn controller_manager(&self) -> &Daemon {
        &self.controller_manager
    }
}
