//! What the run came to, and where to go from here.

use std::collections::BTreeMap;

use serde::Serialize;
use wva_models::catalogue::Catalogue;

use super::counts::Counts;
use super::stage::Stage;
use super::tally::{Change, Row};
use crate::console::{Answer, Page};
use crate::figures::{count, millis, percent, short};
use crate::table::{Cell, Table, Tone};

/// The answer of `wva demo`.
#[derive(Debug, Serialize)]
pub struct Summary {
    scenario: String,
    /// How long it ran, seconds.
    duration_s: f64,
    requests: u64,
    /// Requests within all bounds of their class / all requests.
    attainment: f64,
    missed: u64,
    /// Of those, the ones without an answer.
    unanswered: u64,
    /// Whether every class got what it was promised.
    kept: bool,
    cost_usd: f64,
    /// The cheapest fleet that never changes and keeps the promises on the same requests, found afterwards.
    #[serde(rename = "static")]
    constant: Option<Constant>,
    scaling_events: u32,
    mean_replicas: f64,
    max_replicas: u32,
    classes: Vec<ClassSummary>,
    variants: Vec<VariantSummary>,
    decisions: Vec<Change>,
    timeline: Vec<Row>,
    next: Vec<String>,
}

/// A fleet that never changes.
#[derive(Debug, Serialize)]
struct Constant {
    replicas: BTreeMap<String, u32>,
    cost_usd: f64,
    /// 1 − what it came to / what this would have cost.
    saved: f64,
}

#[derive(Debug, Serialize)]
struct ClassSummary {
    class: String,
    model: String,
    requests: u64,
    attainment: f64,
    promised: f64,
    ttft_ms: Percentiles,
    itl_ms: Percentiles,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Serialize)]
struct VariantSummary {
    variant: String,
    accelerator: String,
    /// Most replicas that served at a time.
    max_replicas: u32,
    /// Replica hours that were paid for.
    replica_hours: f64,
    cost_usd: f64,
    /// Trust in the fitted law at the end, 0 to 1.
    trust: Option<f64>,
}

impl Summary {
    /// What it came to after `elapsed` seconds.
    pub fn of(stage: &Stage, elapsed: f64) -> Self {
        let (arrived, met, _) = stage.totals();
        let script = &stage.script;
        let classes = stage.gateway.counted(|all| {
            let streams = script.streams.iter().zip(all);
            let of = |(s, c): (&wva_simulations::request::Stream, &Counts)| {
                ClassSummary::of(s, c, script.promised_of(&s.class))
            };
            streams.map(of).collect::<Vec<_>>()
        });
        let rows = &stage.tally.rows;
        let serving = |r: &Row| r.ready.iter().sum::<u32>();
        let lost = stage
            .gateway
            .counted(|all| all.iter().map(|c| c.lost).sum::<u64>());
        let open = stage.gateway.counted(|all| {
            let open = all.iter().map(Counts::open);
            open.map(|(held, running)| held + running).sum::<f64>()
        });
        Self {
            scenario: script.name.clone(),
            duration_s: elapsed,
            requests: arrived as u64,
            attainment: met / arrived.max(1.0),
            missed: (arrived - met) as u64,
            unanswered: lost + open as u64,
            kept: classes.iter().all(|c| c.attainment >= c.promised),
            cost_usd: stage.cost(),
            constant: None,
            scaling_events: stage.tally.scalings,
            mean_replicas: rows.iter().map(|r| f64::from(serving(r))).sum::<f64>()
                / rows.len().max(1) as f64,
            max_replicas: rows.iter().map(serving).max().unwrap_or(0),
            classes,
            variants: variants(stage),
            decisions: stage.tally.changes.clone(),
            timeline: rows.clone(),
            next: next(),
        }
    }

    /// The same with what a constant fleet would have cost.
    pub fn compared(mut self, constant: Option<(Vec<u32>, Catalogue)>) -> Self {
        self.constant = constant.map(|(fleet, catalogue)| {
            let variants = catalogue.variants.iter().zip(fleet);
            let used: Vec<_> = variants.filter(|(_, n)| *n > 0).collect();
            let price = |v| catalogue.price_per_replica(v).get();
            let hourly: f64 = used.iter().map(|(v, n)| price(v) * f64::from(*n)).sum();
            let cost_usd = hourly * self.duration_s / 3600.0;
            Constant {
                replicas: used.into_iter().map(|(v, n)| (v.name.clone(), n)).collect(),
                cost_usd,
                saved: 1.0 - self.cost_usd / cost_usd.max(1e-12),
            }
        });
        self
    }
}

fn variants(stage: &Stage) -> Vec<VariantSummary> {
    let at = crate::cluster::now();
    let deployed = stage.cluster.deployed().iter().enumerate();
    let of = |(v, d): (usize, &super::cluster::Deployed)| {
        let hours = d.paid_s(at) / 3600.0;
        VariantSummary {
            variant: d.variant.name.clone(),
            accelerator: d.variant.accelerator.clone(),
            max_replicas: stage
                .tally
                .rows
                .iter()
                .map(|r| r.ready[v])
                .max()
                .unwrap_or(0),
            replica_hours: hours,
            cost_usd: hours * d.price,
            trust: stage.control.trust(&d.key().to_string()),
        }
    };
    deployed.map(of).collect()
}

/// Where to go from here.
fn next() -> Vec<String> {
    [
        "wva simulate examples/day.yaml          a day against an HPA and KEDA",
        "wva demo --trace YOURS.csv --speed 60   your traffic, an hour a minute",
        "wva plan examples/plan.yaml             the cheapest fleet for given rates",
        "wva controller --help                   on a cluster, after `wva migrate`",
    ]
    .map(str::to_owned)
    .to_vec()
}

impl ClassSummary {
    fn of(stream: &wva_simulations::request::Stream, counts: &Counts, promised: f64) -> Self {
        let (arrived, met, _) = counts.totals();
        let several = counts.finished.iter().filter(|f| f.output > 1);
        Self {
            class: stream.class.clone(),
            model: stream.model.clone(),
            requests: arrived as u64,
            attainment: met / arrived.max(1.0),
            promised,
            ttft_ms: Percentiles::of(counts.finished.iter().map(|f| f.ttft)),
            itl_ms: Percentiles::of(several.map(|f| f.itl)),
        }
    }
}

impl Percentiles {
    /// Of seconds, in milliseconds, by nearest rank.
    fn of(seconds: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = seconds.map(|s| s * 1e3).collect();
        all.sort_by(f64::total_cmp);
        let at = |q: f64| {
            let rank = (q * all.len() as f64).ceil() as usize;
            all.get(rank.saturating_sub(1)).copied()
        };
        Self {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
        }
    }
}

impl Answer for Summary {
    const VERB: &'static str = "demo";

    fn describe(&self, page: &mut Page) {
        let mark = if self.kept {
            page.toned("✓", Tone::Good)
        } else {
            page.toned("✗", Tone::Bad)
        };
        page.line("");
        page.line(format!(
            "{mark} {} of {} got what was promised, for ${:.4} in {} s",
            percent(self.attainment),
            count(self.requests as usize, "request", "requests"),
            self.cost_usd,
            short(self.duration_s.round()),
        ));
        page.line(format!(
            "  {} of replicas; {} at most, {:.1} on average",
            count(self.scaling_events as usize, "change", "changes"),
            self.max_replicas,
            self.mean_replicas
        ));
        if let Some(constant) = &self.constant {
            let fleet = constant
                .replicas
                .iter()
                .map(|(name, n)| format!("{n} × {name}"));
            page.line(format!(
                "  the best constant fleet in hindsight: {}, ${:.4} ({})",
                fleet.collect::<Vec<_>>().join(", "),
                constant.cost_usd,
                compared(constant.saved)
            ));
        }
        page.line("");
        page.table(&self.latencies());
        page.line("");
        page.table(&self.fleet());
        page.title("What next");
        self.next.iter().for_each(|n| page.line(format!("  {n}")));
    }
}

fn compared(saved: f64) -> String {
    if saved >= 0.0 {
        format!("{} of that saved", percent(saved))
    } else {
        format!("{} less than here", percent(saved / (saved - 1.0)))
    }
}

impl Summary {
    fn latencies(&self) -> Table {
        let mut table = Table::new(&[
            "MODEL",
            "CLASS",
            ">REQUESTS",
            ">ATTAINED",
            ">PROMISED",
            ">TTFT P50",
            ">P95",
            ">P99",
            ">ITL P50",
            ">P95",
            ">P99",
        ]);
        let ms = |v: Option<f64>| Cell::from(v.map_or("-".to_owned(), millis));
        for c in &self.classes {
            let tone = if c.attainment >= c.promised {
                Tone::Good
            } else {
                Tone::Bad
            };
            table.row([
                c.model.as_str().into(),
                c.class.as_str().into(),
                c.requests.to_string().into(),
                Cell::toned(percent(c.attainment), tone),
                percent(c.promised).into(),
                ms(c.ttft_ms.p50),
                ms(c.ttft_ms.p95),
                ms(c.ttft_ms.p99),
                ms(c.itl_ms.p50),
                ms(c.itl_ms.p95),
                ms(c.itl_ms.p99),
            ]);
        }
        table
    }

    fn fleet(&self) -> Table {
        let mut table = Table::new(&[
            "VARIANT",
            "ACCELERATOR",
            ">MOST",
            ">REPLICA HOURS",
            ">COST",
            ">TRUST",
        ]);
        for v in &self.variants {
            table.row([
                v.variant.as_str().into(),
                v.accelerator.as_str().into(),
                v.max_replicas.to_string().into(),
                format!("{:.4}", v.replica_hours).into(),
                format!("${:.4}", v.cost_usd).into(),
                v.trust.map_or("-".to_owned(), percent).into(),
            ]);
        }
        table
    }
}
