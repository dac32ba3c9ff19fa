//! `wva pause` and `wva resume`: hold the replicas of variants where they are, and let go again.
//!
//! Pausing writes one annotation on the object that speaks for the variant: the `VariantAutoscaling`, the HPA, the
//! ScaledObject, or the workload itself. Anybody may have written it on any of these, and any of them holds, so resuming
//! takes it off all of them. KEDA's own pause annotations are not ours: they are told and left.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::{Value, json};
use wva_controllers::api::keys;
use wva_controllers::index::Kind;
use wva_controllers::index::fleet::VariantView;

use crate::cluster::arguments::{ClusterArguments, VariantName};
use crate::cluster::look::Look;
use crate::cluster::objects::Objects;
use crate::cluster::roster::{Entry, Mode};
use crate::cluster::{self, Cluster, refused};
use crate::console::{Answer, Console, Page};
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::figures::count;

/// Name under which the annotation is written.
const FIELD_MANAGER: &str = "wva-cli";

/// Hold variants where they are: replicas stay until they are resumed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva pause llama-h100                         one variant of this namespace
  wva pause llm-d/llama-h100 llm-d/llama-l4
  wva pause --all -A --dry-run                 what would be written

The controller goes on measuring and advising. Undo with `wva resume`.")]
pub struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Let paused variants be scaled again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva resume llama-h100
  wva resume --all -n llm-d --yes              without being asked, for scripts")]
pub struct Resume {
    #[command(flatten)]
    which: Which,
}

/// Which variants, and how.
#[derive(Debug, Args)]
struct Which {
    /// Variants: NAME or NAMESPACE/NAME
    #[arg(value_parser = VariantName::parse, value_name = "VARIANT", required_unless_present = "all")]
    variants: Vec<VariantName>,
    /// Every variant that is looked at; asks first
    #[arg(long, conflicts_with = "variants")]
    all: bool,
    /// Have the API server check everything and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Pause {
    /// Pauses.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let done: Held<true> = self.which.run(console)?;
        console.answer(&done)?;
        Ok(Verdict::Done)
    }
}

impl Resume {
    /// Resumes.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let done: Held<false> = self.which.run(console)?;
        console.answer(&done)?;
        Ok(Verdict::Done)
    }
}

/// What was done: `PAUSED` tells which of the two it was.
#[derive(Debug, Serialize)]
struct Held<const PAUSED: bool> {
    dry_run: bool,
    variants: Vec<Changed>,
}

/// One variant.
#[derive(Debug, Serialize)]
struct Changed {
    namespace: String,
    name: String,
    /// Replicas that it has.
    replicas: u32,
    /// Whether anything was written.
    changed: bool,
    /// The objects that were written to, as `Kind/name`.
    objects: Vec<String>,
    /// What still holds it, where something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

/// An object and the patch that it is to get.
struct Write {
    kind: Kind,
    name: String,
    patch: Value,
}

impl Which {
    fn run<const PAUSED: bool>(&self, console: &Console) -> Result<Held<PAUSED>, Failure> {
        cluster::on(&self.cluster, async |cluster| {
            let look = Look::take(&cluster, &self.cluster).await?;
            let meant = if self.all {
                look.entries.iter().collect()
            } else {
                look.named(&self.variants, &cluster.scope())?
            };
            if self.all && meant.is_empty() {
                console.note(&format!("no variant in {}", cluster.scope()));
            }
            let verb = if PAUSED { "pause" } else { "resume" };
            if self.all && !self.dry_run && !self.yes && !meant.is_empty() {
                confirm(verb, &meant, &cluster.scope())?;
            }
            let mut variants = Vec::new();
            for entry in meant {
                variants.push(self.change::<PAUSED>(&cluster, &look, entry).await?);
            }
            Ok(Held {
                dry_run: self.dry_run,
                variants,
            })
        })
    }

    async fn change<const PAUSED: bool>(
        &self,
        cluster: &Cluster,
        look: &Look,
        entry: &Entry,
    ) -> Result<Changed, Failure> {
        let view = look.fleet.variants.iter().find(|v| v.key == entry.key());
        let view = view.expect("entries are made of the fleet's variants");
        let writes = if PAUSED {
            pausing(view, entry).into_iter().collect()
        } else {
            resuming(&look.objects, view)
        };
        for write in &writes {
            let doing = format!("writing to {} {}", write.kind.names().1, write.name);
            self.send(cluster, &entry.namespace, write)
                .await
                .map_err(|e| refused(&doing, &e))?;
        }
        Ok(Changed {
            namespace: entry.namespace.clone(),
            name: entry.name.clone(),
            replicas: entry.current,
            changed: !writes.is_empty(),
            objects: writes
                .iter()
                .map(|w| format!("{}/{}", w.kind.names().1, w.name))
                .collect(),
            remark: keda_pause(&look.objects, view).filter(|_| !PAUSED),
        })
    }

    async fn send(
        &self,
        cluster: &Cluster,
        namespace: &str,
        write: &Write,
    ) -> Result<(), kube::Error> {
        let resource = write.kind.api_resource();
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), namespace, &resource);
        let parameters = PatchParams {
            dry_run: self.dry_run,
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        api.patch(&write.name, &parameters, &Patch::Merge(&write.patch))
            .await
            .map(drop)
    }
}

/// The annotation on the object that speaks for the variant, unless it is paused already.
fn pausing(view: &VariantView, entry: &Entry) -> Option<Write> {
    let kind = Kind::of(&view.subject.api_version, &view.subject.kind)?;
    (entry.mode != Mode::Paused).then(|| Write {
        kind,
        name: view.subject.name.clone(),
        patch: json!({"metadata": {"annotations": {keys::PAUSED: "true"}}}),
    })
}

/// The objects that speak about a variant: its `VariantAutoscaling`, its scalers, its workload.
fn related<'a>(objects: &'a Objects, view: &VariantView) -> Vec<(Kind, &'a DynamicObject)> {
    let here = |o: &DynamicObject| o.metadata.namespace.as_deref() == Some(&view.key.namespace);
    let scales = |o: &DynamicObject| {
        let target = o.data.pointer("/spec/scaleTargetRef");
        let text = |key| target.and_then(|t| t.get(key)).and_then(Value::as_str);
        let kind = text("kind").unwrap_or("Deployment");
        let own = || o.metadata.name.as_deref().filter(|_| target.is_none());
        (kind, text("name").or_else(own))
            == (view.target.kind.as_str(), Some(view.target.name.as_str()))
    };
    let named = |o: &DynamicObject| o.metadata.name.as_deref() == Some(&view.target.name);
    let related = |kind: Kind, object: &DynamicObject| match kind {
        Kind::VariantAutoscaling | Kind::HorizontalPodAutoscaler | Kind::ScaledObject => {
            scales(object)
        }
        Kind::Deployment | Kind::StatefulSet | Kind::LeaderWorkerSet => {
            kind.names().1 == view.target.kind && named(object)
        }
        _ => false,
    };
    objects
        .all()
        .filter(|(kind, object)| here(object) && related(*kind, object))
        .collect()
}

/// Takes the key off every object that has it, as annotation and as label.
fn resuming(objects: &Objects, view: &VariantView) -> Vec<Write> {
    let related = related(objects, view).into_iter();
    related
        .filter(|(_, object)| keys::yes(&object.metadata, keys::PAUSED))
        .map(|(kind, object)| Write {
            kind,
            name: object.metadata.name.clone().unwrap_or_default(),
            patch: json!({"metadata": {
                "annotations": {keys::PAUSED: null}, "labels": {keys::PAUSED: null},
            }}),
        })
        .collect()
}

/// KEDA's own pause, if it is on.
fn keda_pause(objects: &Objects, view: &VariantView) -> Option<String> {
    let related = related(objects, view);
    related
        .iter()
        .filter(|(kind, _)| *kind == Kind::ScaledObject)
        .find_map(|(_, object)| {
            let key = keys::KEDA_PAUSED.iter().find(|key| {
                keys::said(&object.metadata, key).is_some_and(|v| !v.eq_ignore_ascii_case("false"))
            })?;
            let name = object.metadata.name.as_deref().unwrap_or_default();
            Some(format!(
                "KEDA itself is paused: kubectl annotate scaledobject {name} -n {} {key}-",
                view.key.namespace
            ))
        })
}

/// Asks, on a terminal; elsewhere nobody could answer.
fn confirm(verb: &str, meant: &[&Entry], scope: &str) -> Result<(), Failure> {
    let what = format!(
        "{verb} {} in {scope}",
        count(meant.len(), "variant", "variants")
    );
    if !io::stdin().is_terminal() {
        let asked = Diagnostic::new(format!("to {what} needs a yes"));
        return Err(asked
            .help("add --yes, or see what it would do with --dry-run")
            .into());
    }
    let mut out = io::stderr().lock();
    for entry in meant {
        writeln!(out, "  {}/{}", entry.namespace, entry.name)?;
    }
    write!(out, "{what}? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Diagnostic::new("nothing was changed").into())
}

impl<const PAUSED: bool> Answer for Held<PAUSED> {
    const VERB: &'static str = if PAUSED { "pause" } else { "resume" };

    fn describe(&self, page: &mut Page) {
        let done = match (PAUSED, self.dry_run) {
            (true, false) => "paused",
            (true, true) => "would pause",
            (false, false) => "resumed",
            (false, true) => "would resume",
        };
        for v in &self.variants {
            let name = format!("{}/{}", v.namespace, v.name);
            if !v.changed {
                let as_it_was = if PAUSED {
                    "is paused already"
                } else {
                    "was not paused"
                };
                page.line(format!("{name} {as_it_was}"));
            } else {
                let replicas = count(v.replicas as usize, "replica", "replicas");
                let effect = if PAUSED {
                    format!("{replicas} stay; undo with `wva resume {name}`")
                } else {
                    format!("{replicas} for now; the next cycle decides")
                };
                page.line(format!(
                    "{done} {name} ({}): {effect}",
                    v.objects.join(", ")
                ));
            }
            if let Some(remark) = &v.remark {
                page.line(format!("  {remark}"));
            }
        }
    }
}
