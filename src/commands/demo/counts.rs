//! What became of the requests of one model and class: the counters that an endpoint picker pushes, and the latencies
//! that the summary is made of.

use wva_models::service_class::Slo;
use wva_optimizer::snapshot::{Histogram, StreamSample};

/// Bounds of token counts.
const TOKENS: [f64; 14] = [
    16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 1536.0, 2048.0, 3072.0, 4096.0, 8192.0,
    16_384.0, 65_536.0,
];
/// Bounds of latencies, seconds.
const SECONDS: [f64; 16] = [
    0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0,
];

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// Input tokens.
    pub input: u32,
    /// Output tokens.
    pub output: u32,
    /// Arrival to first token, seconds.
    pub ttft: f64,
    /// Mean gap between its tokens, seconds; 0 with one token.
    pub itl: f64,
    /// Arrival to last token, seconds.
    pub e2e: f64,
}

/// Counters of one stream.
#[derive(Debug, Clone)]
pub struct Counts {
    sample: StreamSample,
    slo: Slo,
    /// Every finished request.
    pub finished: Vec<Finished>,
    /// Requests that were refused, lost or given up.
    pub lost: u64,
}

impl Counts {
    /// Nothing yet.
    pub fn new(model: &str, class: &str, slo: Slo) -> Self {
        let histogram = |bounds: &[f64]| Histogram {
            bounds: bounds.to_vec(),
            counts: vec![0.0; bounds.len()],
            ..Histogram::default()
        };
        Self {
            sample: StreamSample {
                model: model.to_owned(),
                class: class.to_owned(),
                input_tokens: histogram(&TOKENS),
                output_tokens: histogram(&TOKENS),
                ttft: histogram(&SECONDS),
                tpot: histogram(&SECONDS),
                ..StreamSample::default()
            },
            slo,
            finished: Vec::new(),
            lost: 0,
        }
    }

    /// A request came, and waits for a server.
    pub fn arrive(&mut self, input: u32) {
        self.sample.arrivals += 1.0;
        self.sample.held += 1.0;
        add(&mut self.sample.input_tokens, f64::from(input));
    }

    /// It is with a server now.
    pub fn forward(&mut self) {
        self.sample.held -= 1.0;
        self.sample.running += 1.0;
    }

    /// It waited in vain.
    pub fn give_up(&mut self) {
        self.sample.held -= 1.0;
        self.sample.missed += 1.0;
        self.lost += 1;
    }

    /// The server has answered, or lost it.
    pub fn end(&mut self, outcome: Option<Finished>) {
        self.sample.running -= 1.0;
        let Some(finished) = outcome else {
            self.sample.missed += 1.0;
            self.lost += 1;
            return;
        };
        add(&mut self.sample.output_tokens, f64::from(finished.output));
        add(&mut self.sample.ttft, finished.ttft);
        if finished.output > 1 {
            add(&mut self.sample.tpot, finished.itl);
        }
        if self.met(&finished) {
            self.sample.met += 1.0;
        } else {
            self.sample.missed += 1.0;
        }
        self.finished.push(finished);
    }

    /// Whether every bound of the class holds for it.
    pub fn met(&self, f: &Finished) -> bool {
        self.slo.met_by(f64::from(f.input), f.ttft, f.itl, f.e2e)
    }

    /// What is pushed at `at`.
    pub fn sample(&self, at: f64) -> StreamSample {
        StreamSample {
            at,
            ..self.sample.clone()
        }
    }

    /// Requests so far: (arrived, met, missed).
    pub fn totals(&self) -> (f64, f64, f64) {
        (self.sample.arrivals, self.sample.met, self.sample.missed)
    }

    /// Requests that wait for a server, and that are with one.
    pub fn open(&self) -> (f64, f64) {
        (self.sample.held, self.sample.running)
    }
}

fn add(histogram: &mut Histogram, value: f64) {
    histogram.count += 1.0;
    histogram.sum += value;
    let bounds = histogram.bounds.iter().zip(&mut histogram.counts);
    bounds
        .filter(|(bound, _)| value <= **bound)
        .for_each(|(_, count)| *count += 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_counted_once_wherever_it_ends() {
        let mut c = Counts::new("m", "c", Slo::default());
        for _ in 0..3 {
            c.arrive(100);
        }
        c.forward();
        c.forward();
        c.give_up();
        let finished = Finished {
            input: 100,
            output: 10,
            ttft: 0.2,
            itl: 0.03,
            e2e: 0.5,
        };
        c.end(Some(finished));
        c.end(None);
        assert_eq!(
            (c.totals(), c.open(), c.lost),
            ((3.0, 1.0, 2.0), (0.0, 0.0), 2)
        );
        let s = c.sample(7.0);
        assert_eq!(
            (s.at, s.input_tokens.count, s.input_tokens.sum),
            (7.0, 3.0, 300.0)
        );
        assert_eq!(s.ttft.counts[9..11], [1.0, 1.0]);
    }
}
