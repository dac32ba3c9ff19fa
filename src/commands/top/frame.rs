//! One look of `wva top`.

use std::collections::BTreeMap;

use serde::Serialize;
use wva_controllers::index::Key;

use crate::cluster::look::Look;
use crate::cluster::roster::{Entry, Latency, Promised};
use crate::cluster::servers::Load;
use crate::commands::status::{margin, mode};
use crate::console::{Answer, Page};
use crate::figures::{age, count, dollars, millis, short};
use crate::table::{Cell, Table, Tone};

/// The fleet at one moment.
#[derive(Debug, Serialize)]
pub struct Frame {
    scope: String,
    /// Seconds since the Unix epoch.
    at_s: f64,
    /// Age of the controller's last cycle, seconds; absent where its metrics cannot be read.
    cycle_age_s: Option<f64>,
    variants: Vec<Shown>,
    replicas: u32,
    cost_per_hour_usd: f64,
    /// What could not be seen, and why.
    unseen: Vec<String>,
    /// Width of the screen, characters; absent where there is none to fit.
    #[serde(skip)]
    pub width: Option<usize>,
}

/// Columns that narrow screens go without, the first first.
const DISPENSABLE: [&str; 10] = [
    "MODE", "SLO", "SLO", "EXPECTED", "EXPECTED", "LOAD", "REASON", "MARGIN", "KV", "$/H",
];

/// One variant.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    entry: Entry,
    /// What its servers say; absent where they cannot be asked.
    load: Option<Load>,
    /// Requests in its servers over the last looks.
    #[serde(skip)]
    trend: Vec<f64>,
}

impl Frame {
    /// Puts together what was seen; `silent` is why no server could be asked.
    pub fn new(
        look: &Look,
        scope: String,
        loads: &BTreeMap<Key, Load>,
        trends: &BTreeMap<Key, Vec<f64>>,
        silent: Option<&String>,
    ) -> Self {
        let shown = |entry: &Entry| Shown {
            load: loads.get(&entry.key()).copied(),
            trend: trends.get(&entry.key()).cloned().unwrap_or_default(),
            entry: entry.clone(),
        };
        let cycle = look.figures.as_ref().ok();
        let cycle = cycle.and_then(|f| f.gauge("last_cycle_timestamp_seconds"));
        let metrics = look.figures.as_ref().err();
        let metrics = metrics.map(|why| format!("the controller's metrics: {why}"));
        let servers = silent.map(|why| format!("the servers' load: {why}"));
        Self {
            scope,
            at_s: look.at,
            cycle_age_s: cycle.map(|at| (look.at - at).max(0.0)),
            variants: look.entries.iter().map(shown).collect(),
            replicas: look.entries.iter().map(|e| e.current).sum(),
            cost_per_hour_usd: look
                .entries
                .iter()
                .filter_map(|e| e.cost_per_hour_usd)
                .sum(),
            unseen: metrics.into_iter().chain(servers).collect(),
            width: None,
        }
    }

    /// A line per variant, `key=value`, for logs.
    pub fn lines(&self) -> String {
        let line = |v: &Shown| {
            let e = &v.entry;
            let number = |n: Option<f64>| n.map_or("-".to_owned(), short);
            let load = |f: fn(&Load) -> f64| number(v.load.as_ref().map(f));
            format!(
                "{:.0} {}/{} current={} ready={} desired={} running={} waiting={} ttft_ms={} itl_ms={} margin={} usd_h={} mode={} reason={}\n",
                self.at_s,
                e.namespace,
                e.name,
                e.current,
                e.ready,
                e.desired.map_or("-".to_owned(), |d| d.to_string()),
                load(|l| l.running),
                load(|l| l.waiting),
                number(e.ttft.observed_ms),
                number(e.itl.observed_ms),
                number(e.slo_margin),
                number(e.cost_per_hour_usd),
                e.mode.as_str(),
                e.reasons.first().map_or("-", String::as_str),
            )
        };
        self.variants.iter().map(line).collect()
    }
}

impl Answer for Frame {
    const VERB: &'static str = "top";

    fn describe(&self, page: &mut Page) {
        let cycle = match self.cycle_age_s {
            Some(s) => format!("last cycle {} ago", age(s)),
            None => "no cycle in sight".to_owned(),
        };
        page.line(format!(
            "{}: {}, {}, {} an hour; {cycle}",
            self.scope,
            count(self.variants.len(), "variant", "variants"),
            count(self.replicas as usize, "replica", "replicas"),
            dollars(self.cost_per_hour_usd)
        ));
        page.line("");
        let mut table = Table::new(&[
            "VARIANT",
            ">NOW",
            ">READY",
            ">WANT",
            ">RUN",
            ">WAIT",
            ">KV",
            ">TTFT",
            ">EXPECTED",
            ">SLO",
            ">ITL",
            ">EXPECTED",
            ">SLO",
            ">MARGIN",
            ">$/H",
            "MODE",
            "REASON",
            "LOAD",
        ]);
        for variant in &self.variants {
            table.row(row(variant));
        }
        page.table(&match self.width {
            Some(width) => table.fitted(width, &DISPENSABLE),
            None => table,
        });
        for unseen in &self.unseen {
            let text = page.toned(&format!("not seen: {unseen}"), Tone::Dim);
            page.line(text);
        }
    }
}

fn row(v: &Shown) -> Vec<Cell> {
    let e = &v.entry;
    let load = |f: fn(&Load) -> Option<f64>| v.load.as_ref().and_then(f);
    let number = |n: Option<f64>| n.map_or("-".to_owned(), short);
    let waiting = load(|l| Some(l.waiting));
    let pressed = waiting.is_some_and(|w| w > 0.0);
    let moving = e.desired.is_some_and(|d| d != e.current);
    let strong = |on| if on { Tone::Strong } else { Tone::Plain };
    let kv = load(|l| l.kv_usage).map_or("-".to_owned(), |u| format!("{:.0} %", u * 100.0));
    let mut cells = vec![
        Cell::toned(format!("{}/{}", e.namespace, e.name), Tone::Strong),
        e.current.to_string().into(),
        e.ready.to_string().into(),
        Cell::toned(
            e.desired.map_or("-".to_owned(), |d| d.to_string()),
            strong(moving),
        ),
        number(load(|l| Some(l.running))).into(),
        Cell::toned(number(waiting), strong(pressed)),
        kv.into(),
    ];
    cells.extend(latency(&e.ttft));
    cells.extend(latency(&e.itl));
    cells.extend([
        margin(e.slo_margin),
        e.cost_per_hour_usd.map_or("-".into(), dollars).into(),
        mode(e.mode),
        e.reasons.first().map_or("-", String::as_str).into(),
        spark(&v.trend).into(),
    ]);
    cells
}

/// Seen, expected, promised. What is seen is a mean, so only a promise about the mean can be seen to be broken.
fn latency(latency: &Latency) -> [Cell; 3] {
    let text = |ms: Option<f64>| ms.map_or("-".to_owned(), millis);
    let broken = |p: &Promised| {
        let mean = p.statistic == "mean" && p.per_1k_input_tokens_ms.is_none();
        mean && latency.observed_ms.is_some_and(|ms| ms > p.limit_ms)
    };
    let tone = match &latency.slo {
        Some(promised) if broken(promised) => Tone::Bad,
        _ => Tone::Plain,
    };
    let promised = latency.slo.as_ref().map(|p| {
        let more = p.per_1k_input_tokens_ms.map_or("", |_| "+");
        format!("{} {}{more}", p.statistic, millis(p.limit_ms))
    });
    [
        Cell::toned(text(latency.observed_ms), tone),
        text(latency.predicted_ms).into(),
        promised.unwrap_or_else(|| "-".into()).into(),
    ]
}

/// The course of a number as small bars, the largest as high as they come.
pub fn spark(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().fold(0.0, f64::max);
    let bar = |v: &f64| {
        let share = if most > 0.0 { v / most } else { 0.0 };
        BARS[((share * 7.0).round() as usize).min(7)]
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_follow_the_values() {
        assert_eq!(spark(&[0.0, 5.0, 10.0]), "▁▅█");
        assert_eq!(spark(&[0.0, f64::NAN]), "▁▁");
        assert_eq!(spark(&[]), "");
    }

    #[test]
    fn only_a_mean_is_compared_with_a_mean() {
        let seen = |statistic: &str| Latency {
            observed_ms: Some(90.0),
            predicted_ms: None,
            slo: Some(Promised {
                statistic: statistic.to_owned(),
                limit_ms: 50.0,
                per_1k_input_tokens_ms: None,
            }),
        };
        let [mean, ..] = latency(&seen("mean"));
        assert_eq!(mean, Cell::toned("90 ms", Tone::Bad));
        let [p99, _, promise] = latency(&seen("p99"));
        assert_eq!(p99, Cell::from("90 ms"));
        assert_eq!(promise, Cell::from("p99 50 ms"));
    }
}
