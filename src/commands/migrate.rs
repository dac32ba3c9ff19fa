//! `wva migrate`: what somebody already has, in the form that wva scales by: labels and annotations on their own HPA or
//! ScaledObject, service classes, prices. Proposed, shown as a difference and as YAML, never applied.
//!
//! ```text
//! files or cluster ─► Collection ─► one proposal per object, each with what is and what is not carried over
//!                                     └─► the controller's index reads the proposals: what it does not understand is told
//! ```

mod answer;
mod autoscaling;
mod collection;
mod hpa;
mod keda;
mod original;
mod proposal;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cluster;
use crate::cluster::arguments::ClusterArguments;
use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use answer::Migration;
use collection::{Collection, Named};
use proposal::{Choices, propose};

/// Propose the wva form of VariantAutoscalings, HPAs, KEDA ScaledObjects and old ConfigMaps; applies nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva migrate -f old.yaml                              no cluster needed; `-f -` reads stdin
  kubectl get hpa,deploy,va -A -o yaml | wva migrate -f -
  wva migrate -n llm-d                                 what scales model servers in a namespace
  wva migrate hpa/llama -n llm-d --keda                one HPA, as a ScaledObject
  wva migrate -f old.yaml --out migrated               one file per object
  wva migrate -f old.yaml --manifests | kubectl apply --dry-run=server -f -

Give the workloads along with their scalers: model and engine are read from them. Comments in YAML are not kept.")]
pub struct Migrate {
    /// Only these scalers: hpa/NAME, scaledobject/NAME, va/NAME
    #[arg(value_parser = Named::parse, value_name = "KIND/NAME")]
    objects: Vec<Named>,
    /// Read this file instead of a cluster; `-` for stdin; may be repeated
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the proposed objects into this folder, one file each
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the proposed YAML and nothing else
    #[arg(long)]
    manifests: bool,
    /// Turn HPAs into KEDA ScaledObjects, which take them over
    #[arg(long)]
    keda: bool,
    /// Where KEDA finds wva
    #[arg(long, default_value = "wva.wva-system:9443", value_name = "HOST:PORT")]
    scaler_address: String,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Migrate {
    /// Proposes.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let collection = if self.files.is_empty() {
            cluster::on(&self.cluster, async |cluster| {
                Collection::of_cluster(&cluster, &self.cluster).await
            })?
        } else {
            Collection::of_files(&self.files)?
        };
        let choices = Choices {
            keda: self.keda,
            scaler_address: &self.scaler_address,
            only: &self.objects,
        };
        let proposals = propose(&collection, &choices);
        if let Some(missing) = self.objects.iter().find(|o| !collection.has(o)) {
            let unknown = Diagnostic::new(format!("there is no {missing} in {}", collection.place));
            return Err(unknown
                .help("write hpa/NAME, scaledobject/NAME or va/NAME")
                .into());
        }
        let migration = Migration::new(&collection, proposals);
        if migration.is_empty() {
            console.note(&format!(
                "nothing in {} scales model servers: give HPAs, ScaledObjects or VariantAutoscalings, with their workloads",
                collection.place
            ));
        }
        if let Some(folder) = &self.out {
            self.write(folder, &migration, console)?;
        }
        if self.manifests {
            console.print(&migration.manifests())?;
        } else {
            console.answer(&migration)?;
        }
        Ok(Verdict::Done)
    }

    fn write(
        &self,
        folder: &Path,
        migration: &Migration,
        console: &Console,
    ) -> Result<(), Failure> {
        let failed = |path: &Path, e: std::io::Error| {
            Diagnostic::new(format!("cannot write `{}`: {e}", path.display()))
        };
        fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
        for (name, yaml) in migration.files() {
            let path = folder.join(name);
            fs::write(&path, yaml).map_err(|e| failed(&path, e))?;
            console.note(&format!("wrote {}", path.display()));
        }
        Ok(())
    }
}
