//! An Envoy proxy on loopback.

use std::net::Ipv4Addr;

use crate::daemon::{Daemon, Recipe};
use crate::{Error, Sandbox, component};

const ADMIN_PORT: u16 = 9901;

/// A running Envoy; it goes when it is dropped.
#[derive(Debug)]
pub struct Envoy {
    daemon: Daemon,
    sandbox: Sandbox,
}

impl Envoy {
    /// Starts one and waits until it takes connections. The configuration (YAML) is made for the address that its
    /// listeners are to have; any port but 9901 is free there. Its administration is added.
    ///
    /// # Errors
    /// [`Error::MissingComponent`], or what keeps it from starting.
    pub async fn start(configuration: impl FnOnce(Ipv4Addr) -> String) -> Result<Self, Error> {
        let program = component::folder("envoy")?.join("envoy");
        let sandbox = Sandbox::new("envoy")?;
        let host = sandbox.host();
        let file = sandbox.write("envoy.yaml", &configuration(host))?;
        let administration = format!(
            "admin: {{address: {{socket_address: {{address: {host}, port_value: {ADMIN_PORT}}}}}}}"
        );
        let recipe = Recipe {
            name: "envoy",
            program,
            // Hot restart goes through shared memory that two Envoys of one user would quarrel about.
            arguments: [
                "--disable-hot-restart",
                "--concurrency",
                "1",
                "--config-path",
                &file.display().to_string(),
                "--config-yaml",
                &administration,
            ]
            .map(str::to_owned)
            .to_vec(),
            health: format!("http://{host}:{ADMIN_PORT}/ready"),
            authority: None,
        };
        let envoy = Self {
            daemon: Daemon::new(&sandbox, recipe),
            sandbox,
        };
        envoy.daemon.start().await?;
        Ok(envoy)
    }

    /// The address of its listeners.
    pub fn host(&self) -> Ipv4Addr {
        self.sandbox.host()
    }

    /// Its administration: `/stats`, `/config_dump`, `/clusters`.
    pub fn admin_url(&self) -> String {
        format!("http://{}:{ADMIN_PORT}", self.sandbox.host())
    }

    /// Stops, freezes and starts it.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }
}
