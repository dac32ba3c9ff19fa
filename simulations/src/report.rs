//! Self-contained HTML pages: one file that opens from a disk, prints, and needs no network.
//!
//! ```text
//! RunResults ─▶ verdict, ranking ─┐
//! timelines ─▶ thinned series ─▶ charts ─┴─▶ page.html + style.css + script.js ─▶ String
//! ```
//! Everything can be read without scripts; the script adds tool-tips, filters and hiding of lines. Names are escaped by
//! the template engine, and a missing value is a gap in a plot or a dash in a table, never a broken picture.
//!
//! The pages are pure functions of their arguments: the same results give the same bytes.

mod chart;
mod comparison;
mod figures;
mod objective;
mod page;
mod plan_page;
mod scale;
mod scatter;
mod section;
mod series;
pub mod verdict;

use wva_models::catalogue::Catalogue;
use wva_optimizer::planner::{PlanInput, Planned};

use crate::result::RunResult;

/// What a simulation report is made of.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// Name of the scenario.
    pub title: String,
    /// Variants with prices and start-up times, classes with their SLOs; names as in the results.
    pub catalogue: &'a Catalogue,
    /// The scenario's traffic, for the facts at the end.
    pub traffic: Vec<Traffic>,
    /// One result per policy, in the order in which they are to be shown.
    pub runs: &'a [RunResult],
    /// Least cost that any policy could have had, where it is known.
    pub oracle_cost_usd: Option<f64>,
    /// Command line that makes this report again.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// Remarks of the caller, one sentence each: what was scaled, replaced or left out.
    pub notes: Vec<String>,
}

/// Requests of one (model, class), in words and figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Model name.
    pub model: String,
    /// Class name.
    pub class: String,
    /// Where the requests come from: `diurnal, peak 2.3 × mean at 15:00`, `trace azure-code.csv`.
    pub source: String,
    /// Mean requests per second, where known.
    pub mean_rps: Option<f64>,
    /// Mean input tokens of a request, where known: bounds that grow with the prompt are drawn for this length.
    pub mean_input_tokens: Option<f64>,
    /// Mean output tokens of a request, where known.
    pub mean_output_tokens: Option<f64>,
}

/// The page of `wva simulate --report`: verdict, comparison, cost against attainment, and every policy in detail.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    page::simulation(report)
}

/// What a plan report is made of.
#[derive(Debug, Clone)]
pub struct PlanReport<'a> {
    /// Name of the plan's file or scenario.
    pub title: String,
    /// What was asked.
    pub input: &'a PlanInput<'a>,
    /// What came of it.
    pub planned: &'a Planned,
    /// Other mixes that were considered, best first.
    pub alternatives: Vec<Alternative>,
    /// Command line that makes this report again.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// Remarks of the caller, one sentence each.
    pub notes: Vec<String>,
}

/// Another mix, with what it would cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// What distinguishes it: `only H100`, `without L4`, `TTFT 600 ms`.
    pub label: String,
    /// $/h; absent where the mix cannot serve everything.
    pub cost_per_hour_usd: Option<f64>,
    /// (variant name, replicas).
    pub replicas: Vec<(String, u32)>,
}

/// The page of `wva plan --report`: the mix with its cost, shares, binding bounds, headroom and alternatives.
#[must_use]
pub fn plan(report: &PlanReport<'_>) -> String {
    page::plan(report)
}
