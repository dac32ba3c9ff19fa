//! `wva predict`: the latencies of one replica under a load, and what it sustains under an SLO.

mod answer;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use wva_models::batching::ContinuousBatching;
use wva_models::capacity::{Conditions, capacity};
use wva_models::catalogue::{Catalogue, Place, from_yaml};
use wva_models::latency::{Arrivals, LatencyModel as _, Load};
use wva_models::service_class::{ServiceClass, Slo};
use wva_models::shape::{RequestShape, ShapeText};
use wva_models::variant::Variant;

use crate::condition::Condition;
use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use crate::fleet::Fleet;
use crate::input::Input;
use answer::Predicted;

/// Predict latencies of one replica of a variant at a request rate, and its capacity under an SLO
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva predict fleet.yaml --variant llama-3.1-8b-h100 --rate 8 --input 1000 --output 200
  wva predict examples/chat.yaml --variant h100 --rate 8 --class chat          sizes and SLO of the scenario
  wva predict fleet.yaml --variant llama-3.1-8b-h100 --rate 8 --shape sizes.yaml
  wva predict fleet.yaml --variant llama-3.1-8b-l40s --rate 2 --input 1000 --output 200 --arrivals cv=2 -o json
  wva predict fleet.yaml --variant llama-3.1-8b-h100 --rate 8 --input 1000 --output 200 --fail-if 'p99_ttft>1s'

A shape file says how large requests are:
  input_tokens: {mean: 1155, cv: 1.2, max: 8192}     lognormal; `family: gamma` for gamma
  output_tokens: {uniform: [100, 300]}               or just a number
  prefix_hit: 0.2                                    share of input tokens found in the prefix cache")]
pub struct Predict {
    /// A catalogue, scenario or plan file with the variant
    file: PathBuf,
    /// Name of the variant
    #[arg(long, value_name = "NAME")]
    variant: String,
    /// Requests per second that arrive at one replica
    #[arg(long, value_name = "RPS", value_parser = positive)]
    rate: f64,
    /// Input tokens of every request
    #[arg(long, value_name = "TOKENS", requires = "output", value_parser = positive)]
    input: Option<f64>,
    /// Output tokens of every request
    #[arg(long, value_name = "TOKENS", requires = "input", value_parser = positive)]
    output: Option<f64>,
    /// YAML file with the distribution of request sizes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "output"])]
    shape: Option<PathBuf>,
    /// How requests come: `poisson`, `even` (equal gaps), or `cv=X` (coefficient of variation of the gaps)
    #[arg(long, default_value = "poisson", value_name = "HOW")]
    arrivals: ArrivalsArgument,
    /// Replicas that a router balances over; the rate stays that of one replica
    #[arg(long, default_value_t = 1, value_name = "REPLICAS", value_parser = clap::value_parser!(u32).range(1..))]
    pool: u32,
    /// Service class of the file: adds the capacity under its SLO and what limits it
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Exit with 1 if this holds, such as `p99_ttft>1s or utilization>80%`
    #[arg(long, value_name = "CONDITION")]
    fail_if: Option<String>,
}

/// [`Arrivals`] as written on the command line.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ArrivalsArgument(Arrivals);

impl FromStr for ArrivalsArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || "write `poisson`, `even` or `cv=X` with X from 0 to 30".to_owned();
        match text {
            "poisson" => Ok(Self(Arrivals::Poisson)),
            "even" => Ok(Self(Arrivals::Even)),
            _ => {
                let cv: f64 = text
                    .strip_prefix("cv=")
                    .and_then(|x| x.parse().ok())
                    .ok_or_else(known)?;
                // Of independent gaps, the index of dispersion tends to the squared coefficient of variation.
                if (0.0..=30.0).contains(&cv) {
                    Ok(Self(Arrivals::Dispersion(cv * cv)))
                } else {
                    Err(known())
                }
            }
        }
    }
}

/// A finite number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1e9 => Ok(value),
        _ => Err("must be a number above 0 and at most 10⁹".to_owned()),
    }
}

impl Predict {
    /// Predicts.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let condition = self
            .fail_if
            .as_ref()
            .map(|text| Condition::parse(text, &answer::vocabulary()));
        let condition = condition.transpose()?;
        let input = Input::read(&self.file, "a catalogue")?;
        let fleet = Fleet::read(&input)?;
        let catalogue = &fleet.catalogue;
        let flag = |name: &str| Place::file(name);
        let variant = catalogue
            .variant(&self.variant)
            .ok_or_else(|| catalogue.unknown_variant(flag("--variant"), self.variant.clone()))?;
        let shape = self.request_shape(&fleet, &variant.model)?;
        let class = self.class.as_ref().map(|name| {
            let unknown = || catalogue.unknown_class(flag("--class"), name.clone());
            catalogue.class(name).ok_or_else(unknown)
        });
        let class = class.transpose()?;
        if let Some(class) = class {
            catalogue.check_floor(class, &variant.model, &shape, &input.name)?;
        }
        let answer = self.predict(catalogue, variant, &shape, class);
        console.answer(&answer)?;
        if variant.law.is_none() {
            let name = &variant.name;
            console.note(&format!("note: nothing is measured for `{name}`: this follows from its roofline, within about 20 %"));
        }
        Ok(console.judge(condition.as_ref(), &|q| answer.figure(&q.metric)))
    }

    fn predict(
        &self,
        catalogue: &Catalogue,
        variant: &Variant,
        shape: &RequestShape,
        class: Option<&ServiceClass>,
    ) -> Predicted {
        let model = ContinuousBatching::new(catalogue.replica_model(variant), variant.role);
        let load = Load {
            rate: self.rate,
            shape,
            arrivals: self.arrivals.0,
            pool: self.pool,
            ttft_allowance_per_token: 0.0,
        };
        let outcome = model.predict(&load);
        let mut answer = Predicted::new(
            variant,
            catalogue.price_per_replica(variant),
            &load,
            outcome,
        );
        if let Some(class) = class {
            let best_effort = Slo::default();
            let conditions = Conditions {
                shape,
                arrivals: self.arrivals.0,
                pool: self.pool,
                slo: class.slo().unwrap_or(&best_effort),
            };
            answer.sustains(class, capacity(&model, &conditions));
        }
        answer
    }

    /// The sizes on the command line, or else those that the file states for the model.
    fn request_shape(&self, fleet: &Fleet, model: &str) -> Result<RequestShape, Failure> {
        if let Some(path) = &self.shape {
            return shape_file(path);
        }
        if let (Some(input), Some(output)) = (self.input, self.output) {
            let shape = RequestShape::fixed(input, output);
            return shape.map_err(|e| Diagnostic::new(e.to_string()).into());
        }
        let stated = fleet.shape(model, self.class.as_deref()).cloned();
        stated.ok_or_else(|| {
            Diagnostic::new("how large are the requests?")
                .help("give `--input TOKENS --output TOKENS`, or `--shape FILE` with distributions")
                .into()
        })
    }
}

fn shape_file(path: &Path) -> Result<RequestShape, Failure> {
    let input = Input::read(path, "a shape")?;
    let text: ShapeText = from_yaml(&input.text, &input.name)?;
    text.shape()
        .map_err(|e| input.complaint(e.to_string(), 0, 0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_arrivals() {
        let read = |text: &str| text.parse::<ArrivalsArgument>().map(|a| a.0);
        assert_eq!(read("poisson"), Ok(Arrivals::Poisson));
        assert_eq!(read("even"), Ok(Arrivals::Even));
        assert_eq!(read("cv=2"), Ok(Arrivals::Dispersion(4.0)));
        for bad in ["", "cv", "cv=", "cv=-1", "cv=NaN", "cv=inf", "uniform"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_finite_and_above_zero() {
        for bad in ["0", "-1", "NaN", "inf", "1e300", "x", ""] {
            assert!(positive(bad).is_err(), "{bad}");
        }
        assert_eq!(positive("0.5"), Ok(0.5));
    }
}
