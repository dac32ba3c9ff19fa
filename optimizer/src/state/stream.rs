//! What is remembered of one (model, class): arrivals, shapes, forecast, headroom, batch backlog.

use serde::{Deserialize, Serialize};
use wva_models::forecast::{Forecast, ForecastSettings, Forecaster};
use wva_models::shape::CumulativeHistogram;
use wva_models::shape::{RequestShape, ShapeError};
use wva_models::windows::{CounterWindow, Observed, RecentHistogram, Scraped, dispersion};

use super::answers::Answers;
use super::headroom::{Headroom, HeadroomSettings};
use crate::snapshot::{DueWork, Histogram, StreamSample};

/// Span of remembered arrivals, outcomes of the forecast: an hour of minutes.
const SPAN: f64 = 60.0;
/// What wanders more slowly than this many outcomes is no burst: the forecast follows it.
const SEGMENT: f64 = 2.5;
/// Slots that bursts are measured in, outcomes.
const SLOT: f64 = 0.25;
/// Half-life of shapes, seconds: as slow as shapes drift, and thousands of requests at a few per second.
pub(super) const SHAPE_HALF_LIFE_S: f64 = 900.0;
/// Finished requests before a shape is trusted.
const FEWEST: f64 = 20.0;
/// Mean lengths of prompts and answers of which none was seen yet: those of a chat service (Azure's trace of 2023 has
/// 1155 and 211).
const PRESUMED_INPUT: f64 = 1155.0;
const PRESUMED_OUTPUT: f64 = 211.0;
/// Age at which a shape is made anew, seconds.
const SHAPE_AGE_S: f64 = 60.0;
/// Time scale of burstiness that the queueing model takes: about one end-to-end time.
const BURST_S: f64 = 10.0;

/// Memory of one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamState {
    arrivals: CounterWindow,
    forecaster: Forecaster,
    input: RecentHistogram,
    output: RecentHistogram,
    prefix_hit: f64,
    /// What is known of how long answers are.
    #[serde(default)]
    pub answers: Answers,
    /// Recent shape and when it was made of the histograms.
    shape: Option<(f64, RequestShape)>,
    /// Learned factor on capacity.
    pub headroom: Headroom,
    /// Requests held at the gateway, as last seen.
    pub held: f64,
    backlog: Vec<DueWork>,
    /// When it was last sampled.
    pub sampled: Option<f64>,
}

impl StreamState {
    /// Nothing known yet.
    #[must_use]
    pub fn new(forecast: ForecastSettings) -> Self {
        let forecaster = Forecaster::new(forecast);
        Self {
            arrivals: CounterWindow::new(SPAN * forecaster.settings().outcome_s, 400),
            forecaster,
            input: RecentHistogram::new(SHAPE_HALF_LIFE_S),
            output: RecentHistogram::new(SHAPE_HALF_LIFE_S),
            prefix_hit: 0.0,
            answers: Answers::default(),
            shape: None,
            headroom: Headroom::default(),
            held: 0.0,
            backlog: Vec::new(),
            sampled: None,
        }
    }

    /// Takes a sample; one no later than the last is ignored. `settled` says that no replica waits for a device:
    /// only then do misses speak of the capacity of its replicas. `pressure` is the traffic of its model over what the
    /// serving replicas were expected to carry.
    pub fn observe(
        &mut self,
        sample: &StreamSample,
        promised: f64,
        settled: bool,
        pressure: Option<f64>,
        headroom: &HeadroomSettings,
    ) {
        if !sample.at.is_finite() || self.sampled.is_some_and(|last| sample.at <= last) {
            return;
        }
        match self.arrivals.observe(sample.at, sample.arrivals) {
            Observed::Grew { increase, .. } => self.forecaster.observe(sample.at, increase),
            Observed::Baseline => self.forecaster.observe(sample.at, 0.0),
            Observed::Ignored => return,
        }
        self.sampled = Some(sample.at);
        self.input
            .observe(sample.at, &scraped(&sample.input_tokens));
        self.output
            .observe(sample.at, &scraped(&sample.output_tokens));
        self.answers
            .observe(sample.output_tokens.count, sample.running);
        self.refresh_shape(sample.at);
        if let Some(hit) = sample.prefix_hit.filter(|h| (0.0..=1.0).contains(h)) {
            self.prefix_hit = hit;
        }
        if settled && self.answers.are_known() {
            self.headroom.observe(
                (sample.at, sample.met, sample.missed),
                promised,
                pressure,
                headroom,
            );
        } else {
            self.headroom.skip(sample.at, sample.met, sample.missed);
        }
        self.held = if sample.held.is_finite() {
            sample.held.max(0.0)
        } else {
            0.0
        };
        self.backlog.clone_from(&sample.backlog);
    }

    /// Offered rate over the last outcome time of the forecast (a minute), requests per second.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.arrivals.rate(self.sampled?, self.outcome_s())
    }

    /// Forecast of the rate `horizon` seconds ahead; `None` before anything is known.
    #[must_use]
    pub fn forecast(&self, horizon: f64) -> Option<Forecast> {
        self.forecaster.forecast(horizon)
    }

    /// Recent request shape, at most a minute old; `None` before enough requests have finished.
    #[must_use]
    pub fn shape(&self) -> Option<&RequestShape> {
        self.shape.as_ref().map(|(_, shape)| shape)
    }

    /// Tokens of the recent answers that have ended, faded as the shape is.
    #[must_use]
    pub const fn ended_tokens(&self) -> f64 {
        self.output.sum()
    }

    /// The shape to wake a sleeping model for: prompts as long as those that arrived, as far as they were seen, and answers
    /// of a chat service.
    ///
    /// # Errors
    /// [`ShapeError`] when the histogram's mean is no length.
    pub fn presumed_shape(&self) -> Result<RequestShape, ShapeError> {
        let (_, _, count, sum) = self.input.cumulative();
        let input = if count > 0.0 && sum > 0.0 {
            (sum / count).max(1.0)
        } else {
            PRESUMED_INPUT
        };
        RequestShape::lognormal((input, 1.0), (PRESUMED_OUTPUT, 1.0), None)
    }

    /// Makes the shape of the histograms anew when it is due: shapes drift slowly, and condensing them takes milliseconds.
    fn refresh_shape(&mut self, now: f64) {
        let fresh = self
            .shape
            .as_ref()
            .is_some_and(|(made, _)| now - made < SHAPE_AGE_S);
        if !fresh && let Some(shape) = self.recent_shape() {
            self.shape = Some((now, shape));
        }
    }

    fn recent_shape(&self) -> Option<RequestShape> {
        if self.input.weight() < FEWEST || self.output.weight() < FEWEST {
            return None;
        }
        let (in_bounds, in_counts, in_count, in_sum) = self.input.cumulative();
        let (out_bounds, out_counts, out_count, out_sum) = self.output.cumulative();
        let input = CumulativeHistogram {
            bounds: in_bounds,
            counts: &in_counts,
            count: in_count,
            sum: in_sum,
        };
        let stretch = self.answers.stretch(out_count);
        let out_bounds: Vec<f64> = out_bounds.iter().map(|b| b * stretch).collect();
        let output = CumulativeHistogram {
            bounds: &out_bounds,
            counts: &out_counts,
            count: out_count,
            sum: out_sum * stretch,
        };
        RequestShape::from_histograms(&input, &output, self.prefix_hit).ok()
    }

    /// Index of dispersion of arrivals over about one end-to-end time, at least 1.
    #[must_use]
    pub fn dispersion(&self) -> f64 {
        let outcome_s = self.outcome_s();
        let slots = self.arrivals.slots(SLOT * outcome_s);
        dispersion(&slots, SEGMENT * outcome_s)
            .map_or(1.5, |d| d.at(BURST_S))
            .clamp(1.0, 50.0)
    }

    fn outcome_s(&self) -> f64 {
        self.forecaster.settings().outcome_s
    }

    /// Rate at which held batch work must be served so that every deadline holds (earliest deadline first): the steepest
    /// of the lines from now to what is due by each deadline. `slack` seconds are kept in reserve before each deadline.
    #[must_use]
    pub fn due_rate(&self, now: f64, slack: f64) -> f64 {
        let mut due: Vec<DueWork> = self
            .backlog
            .iter()
            .copied()
            .filter(|d| d.due.is_finite() && d.requests.is_finite() && d.requests > 0.0)
            .collect();
        due.sort_by(|a, b| a.due.total_cmp(&b.due));
        let mut requests = 0.0;
        due.iter().fold(0.0, |rate: f64, d| {
            requests += d.requests;
            rate.max(requests / (d.due - now - slack).max(60.0))
        })
    }
}

fn scraped(h: &Histogram) -> Scraped<'_> {
    Scraped {
        bounds: &h.bounds,
        counts: &h.counts,
        count: h.count,
        sum: h.sum,
    }
}
