//! `wva status`: what every variant has, what it should have, and why.

use clap::Args;
use serde::Serialize;

use crate::cluster::arguments::{ClusterArguments, VariantName};
use crate::cluster::look::Look;
use crate::cluster::roster::{Entry, Latency, Mode, Source};
use crate::cluster::{self, Cluster};
use crate::console::{Answer, Console, Page};
use crate::failure::{Failure, Verdict};
use crate::figures::{age, count, dollars, millis, short};
use crate::table::{Cell, Table, Tone};

/// Show every variant: replicas now and wanted, the reason, how far the SLO is, the price
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva status                                   variants of this namespace
  wva status -A -o wide                        all of them, with latencies and bounds
  wva status llama-h100 -o json | jq '.variants[0].reasons'

Without the controller's metrics (--controller says where they are) the figures are those of the objects' status.")]
pub struct Status {
    /// Only these variants: NAME or NAMESPACE/NAME
    #[arg(value_parser = VariantName::parse, value_name = "VARIANT")]
    variants: Vec<VariantName>,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// What there is.
#[derive(Debug, Serialize)]
struct Reported {
    /// What was looked at.
    scope: String,
    /// When, seconds since the Unix epoch.
    at_s: f64,
    controller: Controller,
    variants: Vec<Entry>,
    totals: Totals,
}

/// What is known of the controller.
#[derive(Debug, Serialize)]
struct Controller {
    /// Whether its metrics could be read.
    reached: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// Age of its last cycle, seconds.
    cycle_age_s: Option<f64>,
}

/// Sums over the variants shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Totals {
    variants: usize,
    current: u32,
    ready: u32,
    /// Replicas wanted; what exists where nothing is decided.
    desired: u32,
    /// Sum over variants with a price.
    cost_per_hour_usd: f64,
}

impl Status {
    /// Answers.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        cluster::on(&self.cluster, async |cluster| {
            self.show(&cluster, console).await
        })
    }

    async fn show(&self, cluster: &Cluster, console: &Console) -> Result<Verdict, Failure> {
        let look = Look::take(cluster, &self.cluster).await?;
        let shown = if self.variants.is_empty() {
            look.entries.clone()
        } else {
            let named = look.named(&self.variants, &cluster.scope())?;
            named.into_iter().cloned().collect()
        };
        if shown.is_empty() {
            let hint = if cluster.namespace.is_some() {
                "; -A looks everywhere, `wva doctor` says what is missing"
            } else {
                "; `wva doctor` says what is missing"
            };
            console.note(&format!("no variant in {}{hint}", cluster.scope()));
        } else if let Err(why) = &look.figures {
            console.note(&format!(
                "figures are those of the objects: the controller's metrics cannot be read ({why})"
            ));
        }
        console.answer(&Reported::new(&look, cluster.scope(), shown))?;
        Ok(Verdict::Done)
    }
}

impl Reported {
    fn new(look: &Look, scope: String, variants: Vec<Entry>) -> Self {
        let cycle = look.figures.as_ref().ok();
        let cycle = cycle.and_then(|f| f.gauge("last_cycle_timestamp_seconds"));
        Self {
            scope,
            at_s: look.at,
            controller: Controller {
                reached: look.figures.is_ok(),
                trouble: look.figures.as_ref().err().cloned(),
                cycle_age_s: cycle.map(|at| (look.at - at).max(0.0)),
            },
            totals: Totals::of(&variants),
            variants,
        }
    }
}

impl Totals {
    fn of(variants: &[Entry]) -> Self {
        Self {
            variants: variants.len(),
            current: variants.iter().map(|v| v.current).sum(),
            ready: variants.iter().map(|v| v.ready).sum(),
            desired: variants
                .iter()
                .map(|v| v.desired.unwrap_or(v.current))
                .sum(),
            cost_per_hour_usd: variants.iter().filter_map(|v| v.cost_per_hour_usd).sum(),
        }
    }
}

impl Answer for Reported {
    const VERB: &'static str = "status";

    fn describe(&self, page: &mut Page) {
        let mut columns = vec!["NAMESPACE", "VARIANT"];
        if page.wide {
            columns.extend(["TARGET", "MODEL", "ACCELERATOR", "ROLE", ">MIN", ">MAX"]);
        }
        columns.extend([">CURRENT"]);
        if page.wide {
            columns.extend([">READY", ">PLAN"]);
        }
        columns.extend([">DESIRED", "REASON", ">SLO-MARGIN", ">$/H", "MODE", ">AGE"]);
        if page.wide {
            columns.extend(["CLASS", ">TTFT", ">ITL", ">TRUST", ">DATA-AGE", "SOURCE"]);
        }
        let mut table = Table::new(&columns);
        for variant in &self.variants {
            table.row(row(variant, page.wide));
        }
        page.table(&table);
        self.remarks(page);
        if self.totals.variants > 0 {
            let t = &self.totals;
            page.line(format!(
                "\n{}: {} replicas now, {} ready, {} wanted, {} an hour",
                count(t.variants, "variant", "variants"),
                t.current,
                t.ready,
                t.desired,
                dollars(t.cost_per_hour_usd)
            ));
        }
    }
}

impl Reported {
    /// Why decisions of some variants are not carried out.
    fn remarks(&self, page: &mut Page) {
        let remarks = self
            .variants
            .iter()
            .filter_map(|v| Some((v, v.remark.as_ref()?)));
        for (i, (variant, remark)) in remarks.enumerate() {
            if i == 0 {
                page.line("");
            }
            page.line(format!("{}/{}: {remark}", variant.namespace, variant.name));
        }
    }
}

fn row(v: &Entry, wide: bool) -> Vec<Cell> {
    let text = |t: Option<String>| t.unwrap_or_else(|| "-".into());
    let moving = v.desired.is_some_and(|d| d != v.current);
    let mut cells: Vec<Cell> = vec![
        v.namespace.as_str().into(),
        Cell::toned(v.name.as_str(), Tone::Strong),
    ];
    if wide {
        cells.extend([
            v.target.as_str().into(),
            text(v.model.clone()).into(),
            text(v.accelerator.clone()).into(),
            format!("{:?}", v.role).to_lowercase().into(),
            v.min.to_string().into(),
            text(v.max.map(|m| m.to_string())).into(),
        ]);
    }
    cells.push(v.current.to_string().into());
    if wide {
        cells.extend([
            v.ready.to_string().into(),
            text(v.planned.map(|p| p.to_string())).into(),
        ]);
    }
    let desired = text(v.desired.map(|d| d.to_string()));
    cells.extend([
        Cell::toned(desired, if moving { Tone::Strong } else { Tone::Plain }),
        text(v.reasons.first().cloned()).into(),
        margin(v.slo_margin),
        v.cost_per_hour_usd.map_or("-".into(), dollars).into(),
        mode(v.mode),
        v.age_s.map_or("-".into(), age).into(),
    ]);
    if wide {
        cells.extend([
            text(v.class.clone()).into(),
            latency(&v.ttft).into(),
            latency(&v.itl).into(),
            v.trust.map_or("-".into(), short).into(),
            v.data_age_s.map_or("-".into(), age).into(),
            source(v.source).into(),
        ]);
    }
    cells
}

/// The margin in per cent, red where the objective is missed.
pub fn margin(fraction: Option<f64>) -> Cell {
    match fraction {
        None => "-".into(),
        Some(f) if f < 0.0 => Cell::toned(format!("{:.0} %", f * 100.0), Tone::Bad),
        Some(f) => format!("{:.0} %", f * 100.0).into(),
    }
}

/// The mode; what is not carried out stands out.
pub fn mode(mode: Mode) -> Cell {
    let tone = match mode {
        Mode::Control => Tone::Plain,
        Mode::Advise | Mode::Paused => Tone::Dim,
        Mode::Held => Tone::Bad,
    };
    Cell::toned(mode.as_str(), tone)
}

/// What is observed, or else expected.
fn latency(latency: &Latency) -> String {
    latency
        .observed_ms
        .or(latency.predicted_ms)
        .map_or("-".into(), millis)
}

const fn source(source: Source) -> &'static str {
    match source {
        Source::Metrics => "metrics",
        Source::Status => "status",
        Source::Hpa => "hpa",
        Source::None => "-",
    }
}
