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

VariantAutoscaling (llmd.ai) takes every object that earlier autoscalers of this name were given. ServiceClass, Accelerator
and FleetPolicy (wva.llmd.ai) are optional: latency promises, prices, and limits of the fleet.")]
pub struct Crds {}

impl Crds {
    /// Prints them.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let documents: Vec<String> = crds::all().iter().map(|(_, crd)| crds::yaml(crd)).collect();
        console.print(&documents.join("---\n"))?;
        Ok(Verdict::Done)
    }
}
