//! Somebody's way into a cluster: a kubeconfig, a client, kubectl and helm under that name.
//!
//! wva must work with the rights that its chart grants and no others, so tests give it an [`Access`] of its own
//! instead of the administrator's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::{Error, Sandbox, component, eventually, use_ring};

/// Instead of the half a minute that kubectl gives an API server for what it serves, which is little on a busy machine.
const PATIENTLY: &str = "--request-timeout=4m";

/// Where the API server is and who signed its certificate.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub url: String,
    pub authority: PathBuf,
}

/// What a user shows to be let in.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    Certificate { certificate: PathBuf, key: PathBuf },
    Token(String),
}

/// A user of a cluster.
#[derive(Debug, Clone)]
pub struct Access {
    sandbox: Sandbox,
    kubeconfig: PathBuf,
}

impl Access {
    /// Writes the kubeconfig for a user.
    pub(crate) fn new(
        sandbox: &Sandbox,
        name: &str,
        server: &Server,
        credential: &Credential,
    ) -> Result<Self, Error> {
        let user = match credential {
            Credential::Certificate { certificate, key } => {
                json!({"client-certificate": certificate, "client-key": key})
            }
            Credential::Token(token) => json!({"token": token}),
        };
        let text = kubeconfig(server, name, &user).to_string();
        let file = format!("users/{}.kubeconfig", name.replace([':', '/'], "-"));
        Ok(Self {
            sandbox: sandbox.clone(),
            kubeconfig: sandbox.write(&file, &text)?,
        })
    }

    /// The kubeconfig file.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The settings of a client, for those who want to change some.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`].
    pub async fn config(&self) -> Result<Config, Error> {
        use_ring();
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        config.proxy_url = None; // of the environment; loopback needs none
        Ok(config)
    }

    /// A client. It belongs to the current Tokio runtime, so each test makes its own.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`] or [`Error::Kubernetes`].
    pub async fn client(&self) -> Result<Client, Error> {
        let config = self.config().await?;
        Client::try_from(config).map_err(Error::kubernetes("cannot make a client"))
    }

    /// Runs kubectl and returns what it prints.
    ///
    /// # Errors
    /// [`Error::Command`] with its complaint; [`Error::MissingComponent`].
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.kubectl_reading("", arguments).await
    }

    /// Runs kubectl with something to read, as in `apply -f -`.
    ///
    /// # Errors
    /// As [`Access::kubectl`].
    pub async fn kubectl_reading(&self, input: &str, arguments: &[&str]) -> Result<String, Error> {
        let program = component::folder("kubernetes")?.join("kubectl");
        let arguments = [&[PATIENTLY], arguments].concat();
        self.run(&program, &arguments, input).await
    }

    /// Waits until all kinds that were defined can be used.
    ///
    /// # Errors
    /// [`Error::Never`].
    pub async fn established(&self) -> Result<(), Error> {
        let wait = ["wait", "--for=condition=Established", "crd", "--all"];
        // Until the API server has looked at a definition at all there are no conditions, which kubectl calls an error.
        let established = eventually("all definitions to be established", async || {
            self.kubectl(&wait).await.map(drop)
        });
        established.await
    }

    /// Runs helm and returns what it prints.
    ///
    /// # Errors
    /// [`Error::Command`] with its complaint; [`Error::MissingComponent`].
    pub async fn helm(&self, arguments: &[&str]) -> Result<String, Error> {
        let program = component::folder("helm")?.join("helm");
        self.run(&program, arguments, "").await
    }

    /// Runs a program that reads `KUBECONFIG`; what it caches stays in the sandbox.
    ///
    /// # Errors
    /// [`Error::Command`] or [`Error::System`].
    pub async fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        input: &str,
    ) -> Result<String, Error> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let problem = format!("cannot run {name}");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.sandbox.folder())
            .current_dir(self.sandbox.folder())
            .stdin(self.standard_input(input)?);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("running a command does not panic")
            .map_err(Error::system(problem))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Command {
            command: format!("{name} {}", arguments.join(" ")),
            status: output.status,
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// From a file: a pipe would have to be written while the command runs.
    fn standard_input(&self, text: &str) -> Result<Stdio, Error> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if text.is_empty() {
            return Ok(Stdio::null());
        }
        let name = format!("input/{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let path = self.sandbox.write(&name, text)?;
        let file = File::open(path).map_err(Error::system("cannot open what was written"))?;
        Ok(file.into())
    }
}

fn kubeconfig(server: &Server, name: &str, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": {"server": server.url, "certificate-authority": server.authority},
        }],
        "users": [{"name": name, "user": user}],
        "contexts": [{
            "name": "testbed",
            "context": {"cluster": "testbed", "user": name, "namespace": "default"},
        }],
        "current-context": "testbed",
    })
}

/// Makes the service account if there is none, and returns a token for it.
pub(crate) async fn service_account_token(
    admin: Client,
    namespace: &str,
    name: &str,
) -> Result<String, Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin, namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    unless_it_exists(accounts.create(&PostParams::default(), &account).await)
        .map_err(Error::kubernetes("cannot make a service account"))?;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(24 * 3600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer: TokenRequest = accounts
        .create_subresource("token", name, &PostParams::default(), &request)
        .await
        .map_err(Error::kubernetes("cannot make a token"))?;
    answer
        .status
        .map(|status| status.token)
        .ok_or_else(|| Error::Answer {
            what: "token request".to_owned(),
            answer: "no token".to_owned(),
        })
}

/// Makes a namespace, and returns when pods can be made in it.
pub(crate) async fn create_namespace(admin: Client, name: &str) -> Result<(), Error> {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    unless_it_exists(namespaces.create(&PostParams::default(), &namespace).await)
        .map_err(Error::kubernetes("cannot make a namespace"))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(admin, name);
    eventually("the default service account", async || {
        accounts.get("default").await
    })
    .await
    .map(drop)
}

fn unless_it_exists<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}
