//! The flags of the coupling with the controller.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use wva_epp::coupling::link::Link;
use wva_epp::coupling::{Coupling, Settings};
use wva_epp::discovery::Origin;
use wva_epp::discovery::variants::Variants;
use wva_epp::server::shared::Shared;

use super::flags::duration;
use crate::diagnostic::Diagnostic;

/// How the controller is reached.
#[derive(Debug, Args)]
pub struct Controller {
    /// Controller that is told what arrives, and asked what it believes and plans: where its serve.exchange listens
    #[arg(long, value_name = "URL")]
    pub controller_url: Option<String>,
    /// File with the token that the controller wants to see, read anew each time
    #[arg(long, value_name = "FILE", requires = "controller_url")]
    controller_token_file: Option<PathBuf>,
    /// File with the authorities that the controller's certificate is verified by, instead of the system's; PEM, read anew
    #[arg(long, value_name = "FILE", requires = "controller_url")]
    controller_ca_file: Option<PathBuf>,
    /// Time between two rounds with the controller
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    controller_interval: Duration,
    /// Time for which the controller's laws are gone by when it is not heard; marks of leaving pods last a minute at most
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    controller_keep: Duration,
    /// Who this process is to the controller: its pod's UID; absent, the host and process id
    #[arg(long, env = "POD_UID", value_name = "NAME")]
    controller_identity: Option<String>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let least = Duration::from_millis(50);
    match interval >= least {
        true => Ok(interval),
        false => Err("must be at least 50ms".to_owned()),
    }
}

impl Controller {
    /// The coupling, where a controller is named.
    pub fn coupling(
        &self,
        origin: &Origin,
        shared: &Arc<Shared>,
        variants: &Arc<Variants>,
    ) -> Result<Option<Coupling>, Diagnostic> {
        let Some(url) = &self.controller_url else {
            return Ok(None);
        };
        let (token, authority) = (
            self.controller_token_file.clone(),
            self.controller_ca_file.clone(),
        );
        let link = Link::new(url, token, authority)
            .map_err(|error| Diagnostic::new(format!("--controller-url: {error}")))?;
        let settings = Settings {
            interval: self.controller_interval,
            keep: self.controller_keep,
            identity: self.identity(),
            namespace: match origin {
                Origin::Pool { namespace, .. } | Origin::Selector { namespace, .. } => {
                    Some(namespace.clone())
                }
                Origin::File(_) => None,
            },
        };
        let (shared, variants) = (Arc::clone(shared), Arc::clone(variants));
        Ok(Some(Coupling::new(link, shared, variants, settings)))
    }

    fn identity(&self) -> String {
        let given = self.controller_identity.clone().filter(|i| !i.is_empty());
        given.unwrap_or_else(|| {
            let host = std::env::var("HOSTNAME").unwrap_or_default();
            format!("{host}-{}", std::process::id())
        })
    }
}
