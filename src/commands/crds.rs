//! `wva crds`: the definitions of this project's Kubernetes resources.

use clap::Args;
use wva_controllers::api::crds;

use crate::console::Console;
use crate::failure::{Failure, Verdict};

/// Print the CustomResourceDefinitions, to be applied to a cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva crds | kubectl apply --server-side -f -
  wva crds > crds.yaml
  wva crds --epp | kubectl apply --server-side -f -     for a trial of `wva epp` on a cluster without a gateway

VariantAutoscaling (llmd.ai) takes every object that earlier autoscalers of this name were given. ServiceClass, Accelerator
and FleetPolicy (wva.llmd.ai) are optional: latency promises, prices, and limits of the fleet.")]
pub struct Crds {
    /// InferencePool, InferenceObjective and InferenceModelRewrite instead, which belong to gateways and the upstream's picker
    #[arg(long)]
    epp: bool,
}

impl Crds {
    /// Prints them.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let definitions = if self.epp {
            wva_epp::api::definitions()
        } else {
            crds::all().into_iter().map(|(_, crd)| crd).collect()
        };
        let documents: Vec<String> = definitions.iter().map(crds::yaml).collect();
        console.print(&documents.join("---\n"))?;
        Ok(Verdict::Done)
    }
}
