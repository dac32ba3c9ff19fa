//! `wva explain`: why the autoscaler decided what it did, what limited it, and what else it could have done.

mod answer;
mod live;
mod moment;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cluster::arguments::{ClusterArguments, VariantName};
use crate::cluster::{self, Cluster};
use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::input::Input;
use answer::Explained;
use moment::Moment;

/// Endings of files: no variant is called `run.jsonl`, but `llama-3.1-8b` is a good name for one.
const FILES: [&str; 6] = ["json", "jsonl", "log", "txt", "yaml", "yml"];

/// Say why replicas were changed: reasons, what limits them, the runner-up, what would be cheaper
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva explain llama-h100                                  the last decision of the cluster's controller
  wva explain llm-d/llama-h100 -o json | jq .runner_up
  wva simulate examples/chat.yaml --policy wva --record run.jsonl
  wva explain run.jsonl                                   the last change
  wva explain run.jsonl --at 1800                         the decision in force half an hour in
  wva explain run.jsonl --variant h100 -o json

A bundle of `wva simulate --record` and the controller's own page also tell what else could have been done; a log of
decisions, or the status of an object, only why.")]
pub struct Explain {
    /// A variant of the cluster, as NAME or NAMESPACE/NAME; or a bundle that `wva simulate --record` wrote, or a log with
    /// one decision a line; `-` for stdin
    #[arg(value_name = "VARIANT|FILE")]
    subject: String,
    /// The last decision at or before this time, in the log's seconds; absent: the last one that changed replicas
    #[arg(long, value_name = "SECONDS")]
    at: Option<f64>,
    /// Only this variant of a file
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Explain {
    /// Explains.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        match self.file() {
            Some(path) => self.recorded(&path, console),
            None => cluster::on(&self.cluster, async |cluster| {
                self.live(&cluster, console).await
            }),
        }
    }

    /// The file that is meant: one that exists, or a name that no object may have.
    fn file(&self) -> Option<PathBuf> {
        let path = Path::new(&self.subject);
        let named = path
            .extension()
            .is_some_and(|e| FILES.iter().any(|known| e == *known));
        let is_file = self.subject == "-" || named || path.exists();
        is_file.then(|| path.to_owned())
    }

    fn recorded(&self, path: &Path, console: &Console) -> Result<Verdict, Failure> {
        let input = Input::read(path, "a bundle or a log of decisions")?;
        let wanted = moment::Wanted {
            at: self.at,
            variant: self.variant.as_deref(),
        };
        let moment = Moment::find(&input, &wanted)?;
        console.answer(&Explained::new(&moment, &wanted)?)?;
        Ok(Verdict::Done)
    }

    async fn live(&self, cluster: &Cluster, console: &Console) -> Result<Verdict, Failure> {
        if self.at.is_some() || self.variant.is_some() {
            let file = &self.subject;
            let odd = Diagnostic::new(format!(
                "--at and --variant choose from a file, and there is no file `{file}`"
            ));
            return Err(odd
                .help("the cluster only knows its last decision: leave them out")
                .into());
        }
        let name = VariantName::parse(&self.subject).map_err(Diagnostic::new)?;
        console.answer(&live::explain(cluster, &self.cluster, &name, console).await?)?;
        Ok(Verdict::Done)
    }
}
