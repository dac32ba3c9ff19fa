//! From text to a checked scenario, in the order of dependence: catalogue, traffic, length, fleet, policies, faults.

use std::io::BufRead;

use wva_models::catalogue::{Catalogue, CatalogueText, Place, Spanned};

use super::error::ScenarioError;
use super::fault::fault;
use super::fleet::Fleet;
use super::policies::{self, PolicyChoice};
use super::text::{ScenarioText, TruthText};
use super::traffic::{Reader, Traffic};
use super::{Open, Overrides, Scenario, place};
use crate::fleet::Router;
use crate::request::Stream;
use crate::workload::Workload;

/// Longest run, seconds: a leap year.
const LONGEST: f64 = 366.0 * 86_400.0;

pub(super) fn build(
    text: ScenarioText,
    origin: &str,
    overrides: Overrides<'_>,
    open: Open<'_>,
) -> Result<Scenario, ScenarioError> {
    let catalogue = CatalogueText {
        accelerators: text.accelerators,
        models: text.models,
        variants: text.variants,
        classes: text.classes,
        stock: text.stock,
    }
    .resolve(origin)?;
    let reader = Reader {
        catalogue: &catalogue,
        origin,
        on_bad_line: overrides.on_bad_line,
    };
    let mut traffic = Vec::new();
    for entry in text.traffic {
        traffic.push(reader.entry(entry.value, open)?);
    }
    let written = text.duration_minutes.as_ref();
    let replaced = overrides.trace.map(|(name, content)| {
        replace(
            &mut traffic,
            &reader,
            (name, content),
            overrides.model,
            overrides.class,
        )
    });
    let length = match replaced.transpose()? {
        Some(length) => length,
        None => run_length(written, &traffic, origin)?,
    };
    let mut notes: Vec<String> = traffic.iter().flat_map(|t| t.notes.clone()).collect();
    notes.extend(check_traffic(&traffic, &catalogue, origin)?);
    Ok(Scenario {
        name: text.name.unwrap_or_else(|| stem(origin).to_owned()),
        seed: overrides.seed.unwrap_or(text.seed),
        workload: workload(traffic, length, overrides.rate_scale, origin)?,
        fleet: Fleet::new(&text.fleet, &catalogue, origin)?,
        router: router(text.router.as_ref(), overrides.router, origin)?,
        off_by: off_by(&text.truth, origin)?,
        policies: chosen(text.policies, overrides.policies, origin)?,
        faults: text
            .faults
            .iter()
            .map(|f| fault(f, &catalogue, origin))
            .collect::<Result<_, _>>()?,
        notes,
        catalogue,
    })
}

/// Replaces the traffic of one model and class by a trace; returns its length in seconds.
fn replace(
    traffic: &mut Vec<Traffic>,
    reader: &Reader<'_>,
    (name, content): (&str, Box<dyn BufRead + '_>),
    model: Option<&str>,
    class: Option<&str>,
) -> Result<f64, ScenarioError> {
    let here = Place::file(reader.origin);
    let missing = |what, remedy| ScenarioError::Missing {
        place: here.clone(),
        what,
        remedy,
    };
    let catalogue = reader.catalogue;
    let model = match model {
        Some(model) => reader.model(model, here.clone())?,
        None => {
            let first = traffic.first().map(|t| &t.stream.model);
            let first = first.or(catalogue.variants.first().map(|v| &v.model));
            first
                .ok_or(missing(
                    "variant",
                    "add one under `variants`: {model: NAME, accelerator: H100}",
                ))?
                .clone()
        }
    };
    let class = match class {
        Some(class) => reader.class(class, here.clone())?,
        None => {
            let of_model = traffic.iter().find(|t| t.stream.model == model);
            let first = of_model.map(|t| &t.stream.class);
            let first = first.or(catalogue.classes.first().map(|c| &c.name));
            first
                .ok_or(missing(
                    "class",
                    "add one under `classes`: {name: chat, ttft_ms: {p99: 1000}}",
                ))?
                .clone()
        }
    };
    let same = |t: &Traffic| t.stream.model == model && t.stream.class == class;
    let old = traffic.iter().position(same);
    let shape = old.and_then(|i| traffic[i].shape.clone());
    let at = old.map_or(here, |i| traffic[i].place.clone());
    let (source, length, notes) = reader.recorded(content, name, shape.as_ref(), &at)?;
    let prefix_hit = shape.as_ref().map_or(0.0, |s| s.prefix_hit.get());
    let new = Traffic {
        stream: Stream {
            model: model.clone(),
            class: class.clone(),
            prefix_hit,
        },
        source,
        length: Some(length),
        place: at,
        shape: None,
        notes,
    };
    traffic.retain(|t| !same(t));
    traffic.insert(old.unwrap_or(traffic.len()).min(traffic.len()), new);
    Ok(length)
}

/// The length as written, or else that of the longest traffic that has one.
fn run_length(
    written: Option<&Spanned<f64>>,
    traffic: &[Traffic],
    origin: &str,
) -> Result<f64, ScenarioError> {
    match written {
        Some(minutes) if minutes.value > 0.0 && minutes.value * 60.0 <= LONGEST => {
            Ok(minutes.value * 60.0)
        }
        Some(minutes) => Err(ScenarioError::Invalid {
            place: place(origin, minutes),
            what: "duration_minutes",
            domain: "positive and at most a year",
            value: minutes.value,
        }),
        None => {
            let longest = traffic.iter().filter_map(|t| t.length).fold(0.0, f64::max);
            if longest > 0.0 {
                return Ok(longest.min(LONGEST));
            }
            Err(ScenarioError::Missing {
                place: Place::file(origin),
                what: "length of the run",
                remedy: "add `duration_minutes`, since none of the traffic ends by itself",
            })
        }
    }
}

/// Whether there is traffic, entries of one stream agree, and objectives are above their floors; for recorded requests a
/// floor is only worth a note, since a trace is what it is.
fn check_traffic(
    traffic: &[Traffic],
    catalogue: &Catalogue,
    origin: &str,
) -> Result<Vec<String>, ScenarioError> {
    if traffic.is_empty() {
        return Err(ScenarioError::Missing {
            place: Place::file(origin),
            what: "traffic",
            remedy: "add some: `traffic: [{model: NAME, class: NAME, arrivals: {poisson: {rps: 5}}, shape: {input_tokens: 1000, output_tokens: 200}}]`",
        });
    }
    for (i, entry) in traffic.iter().enumerate() {
        let stream = &entry.stream;
        let earlier = traffic[..i].iter().map(|t| &t.stream);
        let mut same = earlier.filter(|s| s.model == stream.model && s.class == stream.class);
        if let Some(other) = same.find(|s| s.prefix_hit != stream.prefix_hit) {
            return Err(ScenarioError::Contradiction {
                place: entry.place.clone(),
                what: format!(
                    "prefix_hit {} here and {} in other traffic of model {} and class {}",
                    stream.prefix_hit, other.prefix_hit, stream.model, stream.class
                ),
                remedy: "give both the same, or make two classes",
            });
        }
    }
    let mut notes = Vec::new();
    for entry in traffic {
        check_floor(entry, catalogue, origin, &mut notes)?;
    }
    Ok(notes)
}

fn check_floor(
    entry: &Traffic,
    catalogue: &Catalogue,
    origin: &str,
    notes: &mut Vec<String>,
) -> Result<(), ScenarioError> {
    let class = catalogue
        .class(&entry.stream.class)
        .expect("the stream's class was looked up");
    let model = &entry.stream.model;
    if let Some(shape) = &entry.shape {
        let shape = shape.shape().map_err(|source| ScenarioError::Shape {
            place: entry.place.clone(),
            source,
        })?;
        catalogue.check_floor(class, model, &shape, origin)?;
    } else if let Some(shape) = entry.source.recorded_shape()
        && let Err(e) = catalogue.check_floor(class, model, &shape, origin)
    {
        notes.push(format!(
            "the trace may miss its objective on any fleet: {e}"
        ));
    }
    Ok(())
}

fn workload(
    traffic: Vec<Traffic>,
    length: f64,
    rate_scale: Option<f64>,
    origin: &str,
) -> Result<Workload, ScenarioError> {
    let scale = rate_scale.unwrap_or(1.0);
    if !(scale > 0.0 && scale <= 1e4) {
        return Err(ScenarioError::Invalid {
            place: Place::file("--rate-scale"),
            what: "the rate scale",
            domain: "above 0 and at most 10,000",
            value: scale,
        });
    }
    let mut workload = Workload::new(length);
    for entry in traffic {
        let place = entry.place;
        let scaled = entry.source.scaled(scale);
        workload.add(
            entry.stream,
            scaled.map_err(|source| ScenarioError::Arrivals { place, source })?,
        );
    }
    if workload.expected() < 1.0 {
        return Err(ScenarioError::Missing {
            place: Place::file(origin),
            what: "request to expect in the whole run",
            remedy: "raise the rates, or `duration_minutes`",
        });
    }
    Ok(workload)
}

/// The router of the command line, or else the scenario's, or else the default.
fn router(
    written: Option<&Spanned<String>>,
    name: Option<&str>,
    origin: &str,
) -> Result<Router, ScenarioError> {
    let own = || written.map(|w| (w.value.as_str(), place(origin, w)));
    let Some((name, at)) = name.map(|n| (n, Place::file("--router"))).or_else(own) else {
        return Ok(Router::default());
    };
    name.parse()
        .map_err(|_| ScenarioError::unknown(at, "router", name, Router::ALL.map(Router::name)))
}

fn off_by(truth: &TruthText, origin: &str) -> Result<f64, ScenarioError> {
    let written = &truth.off_by_fraction;
    if (0.0..=2.0).contains(&written.value) {
        return Ok(written.value);
    }
    Err(ScenarioError::Invalid {
        place: place(origin, written),
        what: "off_by_fraction",
        domain: "between 0 and 2",
        value: written.value,
    })
}

/// The policies to run: those of the command line, with the scenario's settings where it has any, or else the scenario's,
/// or else all.
fn chosen(
    written: Option<Vec<Spanned<PolicyChoice>>>,
    names: &[String],
    origin: &str,
) -> Result<Vec<PolicyChoice>, ScenarioError> {
    if let Some(second) = written.as_ref().and_then(|w| duplicate(w)) {
        return Err(ScenarioError::Contradiction {
            place: place(origin, second),
            what: format!("policy `{}` is there twice", second.value.name()),
            remedy: "remove one, or give it a label: `{wva: {scale_to_zero: true}, label: wva-to-zero}`",
        });
    }
    let listed: Option<Vec<_>> = written.map(|w| w.into_iter().map(|p| p.value).collect());
    let of_name = |name: &String| {
        let name = name.trim();
        let own = listed.iter().flatten().find(|p| p.name() == name).cloned();
        own.or_else(|| PolicyChoice::named(name)).ok_or_else(|| {
            let known = listed.iter().flatten().map(PolicyChoice::name);
            ScenarioError::unknown(
                Place::file("--policy"),
                "policy",
                name,
                known.chain(policies::NAMES),
            )
        })
    };
    let policies = if !names.is_empty() {
        let mut unique = names.to_vec();
        unique.dedup();
        unique.iter().map(of_name).collect::<Result<_, _>>()?
    } else {
        listed.unwrap_or_else(|| {
            policies::NAMES
                .iter()
                .filter_map(|n| PolicyChoice::named(n))
                .collect()
        })
    };
    if policies.is_empty() {
        return Err(ScenarioError::Missing {
            place: Place::file(origin),
            what: "policy",
            remedy: "list some, or leave out `policies` for all: `policies: [wva, static, hpa-queue, keda-slo]`",
        });
    }
    Ok(policies)
}

fn duplicate(choices: &[Spanned<PolicyChoice>]) -> Option<&Spanned<PolicyChoice>> {
    let repeated = |i: usize| {
        choices[..i]
            .iter()
            .any(|c| c.value.name() == choices[i].value.name())
    };
    (0..choices.len())
        .find(|&i| repeated(i))
        .map(|i| &choices[i])
}

/// `examples/day.yaml` is `day`.
fn stem(origin: &str) -> &str {
    let file = origin.rsplit(['/', '\\']).next().unwrap_or(origin);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}
