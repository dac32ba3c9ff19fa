//! `wva simulate`: policies against each other on the same traffic.

mod answer;
mod metrics;
mod page;
mod recorder;
mod runs;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use wva_simulations::comparison::Comparison;
use wva_simulations::scenario::{Overrides, Scenario};
use wva_simulations::workload::traffic_file::OnBadLine;

use crate::condition::Condition;
use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::input::{self, Input};
use answer::Simulated;
use recorder::Recorder;

/// Compare scaling policies on simulated traffic: cost, attainment, latencies, replicas
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva simulate examples/day.yaml                            all policies of the scenario, one table
  wva simulate examples/chat.yaml --trace prod.csv          your own trace instead of the scenario's traffic
  wva simulate examples/chat.yaml --policy wva,hpa-queue -o json
  wva simulate examples/day.yaml --rate-scale 3 -o wide     three times the traffic; per class and variant
  wva simulate examples/chat.yaml --router slo              requests go where the Endpoint Picker would send them
  wva simulate examples/chat.yaml --fail-if 'attainment<99% or cost>static+5%'
  wva simulate examples/chat.yaml --policy wva --record run.jsonl && wva replay run.jsonl

Conditions of --fail-if speak of the policy `wva` (or the first, where it does not run) unless they name another:
  cost, gpu_hours, attainment, requests, missed, failed, shed, mean_replicas, max_replicas, scaling_events,
  p50_ttft .. p99_e2e and mean_itl in ms, s or min (the worst interactive class, or `p99_ttft[chat]`), hpa-queue.cost, static+5%.

Routers of --router and of the scenario's key `router`: least-load (default: least work in prompts and requests outstanding), and as the
Endpoint Picker does it, from scraped gauges, its own counts and the laws learned: random, least-queue, prefix, slo.

Traces are told apart by content: Azure, BurstGPT and similar CSV, Mooncake JSON lines, rate files `t_s,rate_rps`.
Exit code 1 when the condition of --fail-if holds.")]
pub struct Simulate {
    /// YAML file with a catalogue, traffic, a fleet and policies
    scenario: PathBuf,
    /// Recorded traffic that replaces the scenario's for one model and class; `-` for stdin
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Model of the trace; absent: that of the scenario's first traffic
    #[arg(long, value_name = "NAME", requires = "trace")]
    model: Option<String>,
    /// Class of the trace; absent: the first one of the model
    #[arg(long, value_name = "NAME", requires = "trace")]
    class: Option<String>,
    /// All traffic this many times as often
    #[arg(long, value_name = "FACTOR", value_parser = super::predict::positive)]
    rate_scale: Option<f64>,
    /// Policies to run instead of the scenario's, such as `wva,static,hpa-queue`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    policy: Vec<String>,
    /// How the gateway picks a replica, instead of the scenario's way
    #[arg(long, value_name = "NAME")]
    router: Option<String>,
    /// What to do about lines of traffic files that cannot be used
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_bad_line: BadLines,
    /// Seed of everything random, instead of the scenario's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Exit with 1 if this holds
    #[arg(long, value_name = "CONDITION")]
    fail_if: Option<String>,
    /// Write what `wva` saw and decided to this file, for `wva replay` and `wva explain`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    report: page::ReportArguments,
}

/// What to do about bad lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum BadLines {
    /// Stop at the first one
    #[default]
    Fail,
    /// Leave them out and say how many
    Skip,
}

impl Simulate {
    /// Simulates.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let scenario = self.read()?;
        let names: Vec<&str> = scenario.policies.iter().map(|p| p.name()).collect();
        let condition = self
            .fail_if
            .as_ref()
            .map(|text| Condition::parse(text, &metrics::vocabulary(&scenario, &names)));
        let condition = condition.transpose()?;
        let recorder = self
            .record
            .as_deref()
            .map(|path| Recorder::create(path, &scenario.policies))
            .transpose()?;
        scenario
            .notes
            .iter()
            .for_each(|note| console.note(&format!("note: {note}")));
        let comparison = Comparison::new(&scenario).map_err(|e| self.unusable(&e))?;
        let sink = recorder.as_ref().map(Recorder::sink);
        let results = runs::run(&comparison, &scenario.policies, sink, console)
            .map_err(|e| self.unusable(&e))?;
        if let Some(recorder) = recorder {
            recorder.finish()?;
        }
        let answer = Simulated::new(&scenario, &results);
        console.answer(&answer)?;
        let trace = self.trace.as_deref().map(input::name_of);
        self.report.write(console, || {
            page::page(&scenario, &results, trace.as_deref())
        })?;
        Ok(console.judge(condition.as_ref(), &|q| {
            metrics::figure(&scenario.catalogue, &results, q)
        }))
    }

    fn read(&self) -> Result<Scenario, Failure> {
        let input = Input::read(&self.scenario, "a scenario")?;
        let name = self
            .trace
            .as_deref()
            .map(input::name_of)
            .unwrap_or_default();
        let trace = self
            .trace
            .as_deref()
            .map(|path| input::open(path, "a trace"))
            .transpose()?;
        let overrides = Overrides {
            trace: trace.map(|content| (name.as_str(), content)),
            model: self.model.as_deref(),
            class: self.class.as_deref(),
            rate_scale: self.rate_scale,
            seed: self.seed,
            router: self.router.as_deref(),
            policies: &self.policy,
            on_bad_line: match self.on_bad_line {
                BadLines::Fail => OnBadLine::Fail,
                BadLines::Skip => OnBadLine::Skip,
            },
        };
        let folder = self.scenario.parent().unwrap_or(Path::new(""));
        let mut open = |path: &str| {
            let file = std::fs::File::open(folder.join(path))?;
            Ok(Box::new(std::io::BufReader::new(file)) as Box<dyn std::io::BufRead>)
        };
        let scenario = Scenario::parse(&input.text, &input.name, overrides, &mut open);
        scenario.map_err(|e| Diagnostic::placed(&e.to_string()).into())
    }

    fn unusable(&self, error: &dyn std::fmt::Display) -> Failure {
        Diagnostic::new(format!("{}: {error}", self.scenario.display())).into()
    }
}
