//! From written traffic to request sources.

use std::io::BufRead;
use std::sync::Arc;

use wva_models::catalogue::{Catalogue, Place, Spanned};
use wva_models::shape::ShapeText;

use super::error::ScenarioError;
use super::text::{ArrivalsText, FileText, PointText, StateText, TrafficText};
use super::{Open, place};
use crate::request::Stream;
use crate::workload::Source;
use crate::workload::arrivals::{ArrivalProcess, Diurnal, State};
use crate::workload::curve::{Between, Beyond, CurveError, Knot, RateCurve};
use crate::workload::sizes::Sizes;
use crate::workload::traffic_file::{self, OnBadLine, ReadOptions, Recording};

/// One entry of the traffic, ready to be played.
pub(super) struct Traffic {
    pub stream: Stream,
    pub source: Source,
    /// Length of its own, seconds, where it has one.
    pub length: Option<f64>,
    /// Where it stands in the file.
    pub place: Place,
    /// Its shape as written, where it is.
    pub shape: Option<ShapeText>,
    /// What was odd about its file.
    pub notes: Vec<String>,
}

/// What reading traffic needs to know.
pub(super) struct Reader<'a> {
    pub catalogue: &'a Catalogue,
    pub origin: &'a str,
    pub on_bad_line: OnBadLine,
}

impl Reader<'_> {
    /// One entry as the scenario has it.
    pub fn entry(&self, text: TrafficText, open: Open<'_>) -> Result<Traffic, ScenarioError> {
        let at = place(self.origin, &text.arrivals);
        let stream = self.stream(&text.model, &text.class, text.shape.as_ref())?;
        let (source, length, notes) = match text.arrivals.value {
            ArrivalsText::Trace(file) | ArrivalsText::RateFile(file) => {
                let (content, name) = self.opened(&file, open)?;
                let (source, length, notes) =
                    self.recorded(content, &name, text.shape.as_ref(), &at)?;
                let scaled = source.scaled(file.rate_scale);
                (scaled.map_err(|e| arrivals(&at, e))?, Some(length), notes)
            }
            generated => {
                let length = own_length(&generated);
                let process = process(generated).map_err(|e| arrivals(&at, e))?;
                let source = Source::Drawn {
                    arrivals: process,
                    sizes: self.sizes(text.shape.as_ref(), &at)?,
                };
                (source, length, Vec::new())
            }
        };
        Ok(Traffic {
            stream,
            source,
            length,
            place: at,
            shape: text.shape,
            notes,
        })
    }

    /// The content of a traffic file as a source, its length and its notes. A shape is needed for rate files only.
    pub fn recorded(
        &self,
        content: impl BufRead,
        name: &str,
        shape: Option<&ShapeText>,
        at: &Place,
    ) -> Result<(Source, f64, Vec<String>), ScenarioError> {
        let options = ReadOptions {
            on_bad_line: self.on_bad_line,
            ..ReadOptions::default()
        };
        let (source, length, notes) = match traffic_file::read(content, name, options)? {
            Recording::Requests(trace) => {
                let (length, notes) = (trace.length() as f64 / 1e9, trace.notes().sentences());
                let source = Source::Recorded {
                    trace: Arc::new(trace),
                    factor: 1.0,
                };
                (source, length, notes)
            }
            Recording::Rates(rates) => {
                let source = Source::Drawn {
                    arrivals: ArrivalProcess::Renewal(rates.curve),
                    sizes: self.sizes(shape, at)?,
                };
                (source, rates.length, rates.notes.sentences())
            }
        };
        let notes = notes.iter().map(|n| format!("{name}: {n}")).collect();
        Ok((source, length, notes))
    }

    /// The stream of a model and class, by the catalogue's names.
    fn stream(
        &self,
        model: &Spanned<String>,
        class: &Spanned<String>,
        shape: Option<&ShapeText>,
    ) -> Result<Stream, ScenarioError> {
        Ok(Stream {
            model: self.model(&model.value, place(self.origin, model))?,
            class: self.class(&class.value, place(self.origin, class))?,
            prefix_hit: shape.map_or(0.0, |s| s.prefix_hit.get()),
        })
    }

    /// The catalogue's name of a model that some variant serves.
    pub fn model(&self, name: &str, at: Place) -> Result<String, ScenarioError> {
        let catalogue = self.catalogue;
        let Some(model) = catalogue.model(name) else {
            let known = catalogue.models.iter().map(|m| m.name.as_str());
            return Err(ScenarioError::unknown(at, "model", name, known));
        };
        if catalogue.variants_of(&model.name).next().is_none() {
            return Err(ScenarioError::Contradiction {
                place: at,
                what: format!(
                    "there is traffic for {}, which no variant serves",
                    model.name
                ),
                remedy: "add one under `variants`: {model: NAME, accelerator: H100}",
            });
        }
        Ok(model.name.clone())
    }

    /// The name of a class that exists.
    pub fn class(&self, name: &str, at: Place) -> Result<String, ScenarioError> {
        let known = self.catalogue.classes.iter().map(|c| c.name.as_str());
        match self.catalogue.class(name) {
            Some(class) => Ok(class.name.clone()),
            None => Err(ScenarioError::unknown(at, "class", name, known)),
        }
    }

    fn sizes(&self, shape: Option<&ShapeText>, at: &Place) -> Result<Sizes, ScenarioError> {
        let shape = shape.ok_or(ScenarioError::Missing {
            place: at.clone(),
            what: "shape for these arrivals",
            remedy: "add one: `shape: {input_tokens: {mean: 1000, cv: 1}, output_tokens: {mean: 200, cv: 0.8}}`",
        })?;
        Sizes::new(shape).map_err(|source| ScenarioError::Shape {
            place: at.clone(),
            source,
        })
    }

    fn opened(
        &self,
        file: &FileText,
        open: Open<'_>,
    ) -> Result<(Box<dyn BufRead>, String), ScenarioError> {
        let path = &file.path;
        let content = open(&path.value).map_err(|e| ScenarioError::Open {
            place: place(self.origin, path),
            path: path.value.clone(),
            message: e.to_string(),
        })?;
        Ok((content, path.value.clone()))
    }
}

fn arrivals(place: &Place, source: CurveError) -> ScenarioError {
    ScenarioError::Arrivals {
        place: place.clone(),
        source,
    }
}

/// The length that written arrivals have of their own: a ramp ends at its last point.
fn own_length(arrivals: &ArrivalsText) -> Option<f64> {
    match arrivals {
        ArrivalsText::Ramp { points, .. } => points.last().map(|p| p.minute * 60.0),
        _ => None,
    }
}

/// The arrival process of arrivals that need no file.
fn process(text: ArrivalsText) -> Result<ArrivalProcess, CurveError> {
    let curve = match text {
        ArrivalsText::Poisson { rps } => RateCurve::constant(rps, 1.0),
        ArrivalsText::Gamma { rps, cv } => RateCurve::constant(rps, cv),
        ArrivalsText::Mmpp { states } => return switching(&states),
        ArrivalsText::Steps { points, cv } => through(&points, cv, Between::Held),
        ArrivalsText::Ramp { points, cv } => through(&points, cv, Between::Joined),
        ArrivalsText::Diurnal {
            mean_rps,
            peak_to_mean,
            peak_hour,
            weekend_to_weekday,
            cv,
        } => Diurnal {
            mean_rate: mean_rps,
            peak_to_mean,
            peak_hour,
            weekend_to_weekday,
            cv,
        }
        .curve(),
        ArrivalsText::RateFile(_) | ArrivalsText::Trace(_) => Err(CurveError::Empty),
    };
    curve.map(ArrivalProcess::Renewal)
}

fn switching(states: &[StateText]) -> Result<ArrivalProcess, CurveError> {
    let state = |s: &StateText| State {
        rate: s.rps,
        mean_stay: s.mean_seconds,
    };
    ArrivalProcess::switching(states.iter().map(state).collect())
}

fn through(points: &[PointText], cv: f64, between: Between) -> Result<RateCurve, CurveError> {
    let knot = |p: &PointText| Knot {
        at: p.minute * 60.0,
        rate: p.rps,
        cv,
    };
    RateCurve::new(points.iter().map(knot).collect(), between, Beyond::Lasts)
}
