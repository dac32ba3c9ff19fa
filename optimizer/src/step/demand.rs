//! From remembered streams to the workloads that the fleet is planned for.

use std::collections::BTreeSet;

use wva_models::catalogue::Catalogue;
use wva_models::forecast::Forecast;
use wva_models::units::RequestsPerSecond;

use super::Autoscaler;
use super::beliefs::Samples;
use crate::planner::Workload;
use crate::snapshot::{Snapshot, StreamSample};
use crate::state::{State, stream_key};

/// Smallest rate that keeps a model's cheapest replica in the plan.
const TRICKLE: f64 = 1e-3;
/// Time in which requests held at the gateway should be worked off, seconds.
const WORK_OFF_S: f64 = 60.0;

/// What to plan for, and what is not known.
pub(super) struct Demand {
    pub workloads: Vec<Workload>,
    /// Models of which some stream is missing, stale or not yet understood, with the reason: they are held.
    pub unknown: Vec<(String, String)>,
    /// (key, planned rate, forecast mean, headroom factor) per stream.
    pub beliefs: Vec<(String, f64, f64, f64)>,
}

impl Demand {
    /// Why the model is held, if it is.
    pub fn held(&self, model: &str) -> Option<&str> {
        self.unknown
            .iter()
            .find(|(m, _)| m == model)
            .map(|(_, why)| why.as_str())
    }
}

pub(super) fn of(autoscaler: &Autoscaler, snapshot: &Snapshot, state: &State) -> Demand {
    let mut demand = Demand {
        workloads: Vec::new(),
        unknown: Vec::new(),
        beliefs: Vec::new(),
    };
    let samples = Samples::of(snapshot);
    for sample in &snapshot.streams {
        if autoscaler
            .catalogue
            .variants_of(&sample.model)
            .next()
            .is_none()
        {
            continue;
        }
        match workload(autoscaler, (snapshot, &samples), state, sample) {
            Ok((workload, mean, factor)) => {
                demand.beliefs.push((
                    stream_key(&sample.model, &sample.class),
                    workload.rate,
                    mean,
                    factor,
                ));
                demand.workloads.push(workload);
            }
            Err(why) => demand.unknown.push((sample.model.clone(), why)),
        }
    }
    let heard: BTreeSet<&str> = snapshot.streams.iter().map(|s| s.model.as_str()).collect();
    for variant in &autoscaler.catalogue.variants {
        if !heard.contains(variant.model.as_str()) && demand.held(&variant.model).is_none() {
            demand.unknown.push((
                variant.model.clone(),
                "no arrival metrics for this model".into(),
            ));
        }
    }
    let sleepless =
        |model: &str| !autoscaler.settings.scale_to_zero || snapshot.warm.contains(model);
    keep_one(&autoscaler.catalogue, &mut demand, sleepless);
    demand
}

fn workload(
    autoscaler: &Autoscaler,
    (snapshot, samples): (&Snapshot, &Samples<'_>),
    state: &State,
    sample: &StreamSample,
) -> Result<(Workload, f64, f64), String> {
    let settings = &autoscaler.settings;
    let stream = state
        .streams
        .get(&stream_key(&sample.model, &sample.class))
        .ok_or("never sampled")?;
    let age = snapshot.at - stream.sampled.ok_or("never sampled")?;
    if age.is_nan() || age > settings.stale_after_seconds {
        return Err(format!(
            "{} metrics are {age:.0} s old (limit {:.0} s)",
            sample.class, settings.stale_after_seconds
        ));
    }
    let class = autoscaler.catalogue.class(&sample.class);
    let shape = match stream.shape() {
        Some(shape) => shape.clone(),
        // Nothing finishes where nothing serves: waiting to know the shape would be waiting forever.
        None if stream.held > 0.0 && asleep(autoscaler, samples, &sample.model) => {
            stream.presumed_shape().map_err(|e| e.to_string())?
        }
        None => {
            return Err(format!(
                "too few {} requests to know their shape",
                sample.class
            ));
        }
    };
    let horizon = horizon(autoscaler, state, &sample.model);
    let (now, ahead) = (
        stream.forecast(0.0).ok_or("no arrival rate yet")?,
        stream.forecast(horizon).ok_or("no arrival rate yet")?,
    );
    let factor = stream.headroom.factor(&settings.headroom);
    let rate = if class.is_some_and(|c| c.is_batch()) {
        stream.due_rate(snapshot.at, settings.batch_slack_seconds + horizon)
    } else {
        let promised = super::promised_share(autoscaler, &sample.class);
        let planned = |forecast: &Forecast| {
            let base = settings.forecast_quantile;
            stream.headroom.planned_rate(forecast, base, promised)
        };
        planned(&now).max(planned(&ahead)) + stream.held / WORK_OFF_S
    };
    RequestsPerSecond::new(rate).map_err(|e| e.to_string())?;
    let workload = Workload {
        model: sample.model.clone(),
        class: sample.class.clone(),
        bucket: 0,
        rate,
        shape,
        dispersion: stream.dispersion(),
        capacity_factor: factor,
        doubt: stream.headroom.doubt(),
    };
    Ok((workload, ahead.mean, factor))
}

/// Whether no replica of the model serves, loads or waits for a device.
fn asleep(autoscaler: &Autoscaler, samples: &Samples<'_>, model: &str) -> bool {
    let asked_for = |name: &str| samples.get(name).map(super::beliefs::asked_for);
    autoscaler
        .catalogue
        .variants_of(model)
        .all(|v| asked_for(&v.name) == Some(0))
}

/// How far ahead to plan: the longest learned start-up time among the model's variants, plus one cycle.
pub(super) fn horizon(autoscaler: &Autoscaler, state: &State, model: &str) -> f64 {
    let start_up = autoscaler
        .catalogue
        .variants_of(model)
        .map(|v| {
            state
                .variants
                .get(&v.name)
                .map_or(v.start_up.get(), |s| s.start_up)
        })
        .fold(0.0, f64::max);
    start_up + autoscaler.settings.cycle_seconds
}

/// A sleepless model with an interactive class keeps a trickle of demand, so that its cheapest feasible replica stays.
fn keep_one(catalogue: &Catalogue, demand: &mut Demand, sleepless: impl Fn(&str) -> bool) {
    let awake = |w: &&mut Workload| sleepless(&w.model);
    for workload in demand.workloads.iter_mut().filter(awake) {
        if catalogue
            .class(&workload.class)
            .is_none_or(|c| !c.is_batch())
        {
            workload.rate = workload.rate.max(TRICKLE);
        }
    }
}
