//! The comparison of all cases at all loads, as a table and as a verdict.

use std::fmt;

use wva_models::latency::LatencyModel;
use wva_simulations::single::Estimate;

use crate::cases::Case;
use crate::comparison::{LATENCIES, Row, STATISTICS, observe, predict, predicted};

/// Relative tolerance per statistic: mean, p95, p99.
const TOLERANCE: Row<f64> = [0.05, 0.10, 0.10];
/// Relative half-width of the simulator's confidence interval that a comparison may have at most.
const TIGHT: Row<f64> = [0.03, 0.05, 0.05];
/// TTFT and ITL are judged; gaps and end-to-end latency are only printed.
const JUDGED: usize = 2;

struct Line {
    case: &'static str,
    load: f64,
    rate: f64,
    /// Per latency and statistic; `None` where the requests have no such latency.
    cells: [Row<Option<Cell>>; 4],
}

#[derive(Clone, Copy)]
struct Cell {
    predicted: f64,
    simulated: Estimate,
}

impl Cell {
    fn off(&self) -> f64 {
        self.predicted / self.simulated.value - 1.0
    }

    fn uncertainty(&self) -> f64 {
        self.simulated.half_width / self.simulated.value
    }
}

/// Every case at every load.
pub struct Table {
    lines: Vec<Line>,
}

impl Table {
    /// Predicts and simulates each case at these shares of the stability limit that its model states.
    pub fn compare<M: LatencyModel>(
        cases: Vec<Case>,
        model_of: impl Fn(&Case) -> M,
        loads: &[f64],
        measured: usize,
    ) -> Self {
        let mut lines = Vec::new();
        for case in &cases {
            let model = model_of(case);
            let limit = model.stability_limit(&case.shape);
            lines.extend(
                loads
                    .iter()
                    .map(|&load| line(case, &model, load, limit * load, measured)),
            );
        }
        Self { lines }
    }

    /// What is judged and lies outside its tolerance by more than the confidence interval, or cannot be told because
    /// that interval is too wide.
    pub fn misses(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (line, latency, statistic, cell) in self.judged() {
            let what = format!(
                "{} at {:.0} %: {} {}",
                line.case,
                line.load * 100.0,
                LATENCIES[latency],
                STATISTICS[statistic]
            );
            if cell.uncertainty() > TIGHT[statistic] {
                out.push(format!(
                    "{what}: simulated to {:.1} % only",
                    cell.uncertainty() * 100.0
                ));
            } else if cell.off().abs() > TOLERANCE[statistic] + cell.uncertainty() {
                out.push(format!("{what}: {cell}"));
            }
        }
        out
    }

    /// Largest relative difference among what is judged.
    pub fn worst(&self) -> f64 {
        self.judged()
            .map(|(.., cell)| cell.off().abs())
            .fold(0.0, f64::max)
    }

    fn judged(&self) -> impl Iterator<Item = (&Line, usize, usize, Cell)> {
        self.lines.iter().flat_map(|line| {
            (0..JUDGED).flat_map(move |latency| {
                (0..STATISTICS.len())
                    .filter_map(move |s| Some((line, latency, s, line.cells[latency][s]?)))
            })
        })
    }
}

fn line(case: &Case, model: &impl LatencyModel, load: f64, rate: f64, measured: usize) -> Line {
    let prediction = predict(model, case, rate).expect("stable below the limit");
    let (predicted, simulated) = (predicted(&prediction), observe(case, rate, measured));
    let cell = |latency: usize, statistic: usize| {
        let simulated = simulated[latency][statistic];
        (simulated.value > 0.0).then_some(Cell {
            predicted: predicted[latency][statistic],
            simulated,
        })
    };
    Line {
        case: case.name,
        load,
        rate,
        cells: std::array::from_fn(|l| std::array::from_fn(|s| cell(l, s))),
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (predicted, simulated) = (self.predicted * 1e3, self.simulated.value * 1e3);
        let (off, uncertainty) = (self.off() * 100.0, self.uncertainty() * 100.0);
        write!(
            f,
            "{predicted:.1} ms against {simulated:.1} ms, {off:+.1} % (± {uncertainty:.1} %)"
        )
    }
}

/// Markdown: predicted over simulated, minus one, in per cent.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| shape | load | req/s |")?;
        for latency in LATENCIES {
            write!(f, " {latency} mean / p95 / p99 |")?;
        }
        writeln!(f, "\n|---|---|---|---|---|---|---|")?;
        for line in &self.lines {
            write!(
                f,
                "| {} | {:.0} % | {:.2} |",
                line.case,
                line.load * 100.0,
                line.rate
            )?;
            for row in &line.cells {
                let cell = |c: &Option<Cell>| {
                    c.map_or("–".into(), |c| format!("{:+.1}", c.off() * 100.0))
                };
                let row: Vec<String> = row.iter().map(cell).collect();
                write!(f, " {} |", row.join(" / "))?;
            }
            writeln!(f)?;
        }
        let worst = |s: usize| {
            let of = |cell: Cell| cell.uncertainty() * 100.0;
            self.judged()
                .filter(|j| j.2 == s)
                .map(|j| of(j.3))
                .fold(0.0, f64::max)
        };
        write!(
            f,
            "\nwidest 95 % interval of the simulation: mean ± {:.1} %, p95 ± {:.1} %, p99 ± {:.1} %",
            worst(0),
            worst(1),
            worst(2)
        )
    }
}
