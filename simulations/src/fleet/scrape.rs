//! What Prometheus and the Kubernetes API show of the fleet.

use wva_optimizer::snapshot::{DueWork, ReplicaSample, Snapshot, StreamSample, VariantSample};

use super::Fleet;
use super::endpoints::gauges;
use super::stream::StreamState;
use crate::fault::Fault;
use crate::request::Stream;
use wva_models::iteration::ReplicaModel;

/// What was scraped last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scraped {
    streams: Vec<StreamSample>,
    /// Per variant.
    replicas: Vec<Vec<ReplicaSample>>,
}

impl Fleet<'_> {
    /// Scrapes the gateway and every ready replica, except where an outage keeps the old samples.
    pub(crate) fn scrape(&self, scraped: &mut Scraped) {
        let now = self.now.seconds();
        let (all, out) = self.outage();
        scraped.replicas.resize_with(self.variants.len(), Vec::new);
        if all {
            return;
        }
        let streams = self.setup.source.streams().iter().zip(&self.streams);
        scraped.streams = streams.map(|(s, state)| sample(s, state, now)).collect();
        for (v, variant) in self.variants.iter().enumerate() {
            if out[v] {
                continue;
            }
            let mut ready = variant.ready.clone();
            ready.sort_unstable();
            let sample = |&p: &u32| self.pods[p as usize].engine.sample(u64::from(p), self.now);
            scraped.replicas[v] = ready.iter().map(sample).collect();
        }
    }

    /// The Endpoint Picker scrapes its endpoints, under the same outages.
    pub(crate) fn probe(&mut self) {
        let (all, out) = self.outage();
        let (now, pods, variants) = (self.now, &self.pods, &self.variants);
        if let Some(endpoints) = self.endpoints.as_mut().filter(|_| !all) {
            endpoints.scrape(|pod| {
                let p = &pods[pod as usize];
                let kv_tokens = variants[p.variant].capacity as f64;
                (!out[p.variant]).then(|| gauges(&p.engine, kv_tokens, now))
            });
        }
    }

    /// Tells the Endpoint Picker which law the policy believes of each variant, and how large requests are.
    pub(crate) fn learn(&mut self, learned: impl Fn(usize) -> Option<ReplicaModel>) {
        let Some(endpoints) = &mut self.endpoints else {
            return;
        };
        let streams = &self.streams;
        let sizes = |model: usize| {
            let own = streams.iter().filter(|s| s.model == model);
            let exported = own.map(|s| (s.exported.input.total(), s.exported.output.total()));
            let (input, output) = exported.fold(((0, 0.0), (0, 0.0)), |a, b| {
                let add = |a: (u64, f64), b: (u64, f64)| (a.0 + b.0, a.1 + b.1);
                (add(a.0, b.0), add(a.1, b.1))
            });
            let mean = |(count, sum): (u64, f64)| (count > 0).then(|| sum / count as f64);
            mean(input).zip(mean(output))
        };
        endpoints.learn(&self.variants, learned, sizes);
    }

    /// Whether nothing can be scraped now, and which variants cannot.
    fn outage(&self) -> (bool, Vec<bool>) {
        let now = self.now.seconds();
        let mut all = false;
        let mut out = vec![false; self.variants.len()];
        for fault in &self.setup.faults {
            if let Fault::ScrapeOutage {
                from,
                until,
                variant,
            } = fault
                && (*from..*until).contains(&now)
            {
                match variant {
                    Some(v) => out[*v] = true,
                    None => all = true,
                }
            }
        }
        (all, out)
    }

    /// A snapshot now: replica states as the Kubernetes API shows them, metrics as scraped last.
    pub(crate) fn snapshot(&mut self, scraped: &Scraped) -> Snapshot {
        let now = self.now;
        let pods = &self.pods;
        let ages = |list: &[u32]| -> Vec<f64> {
            list.iter()
                .map(|&p| (now - pods[p as usize].asked).seconds())
                .collect()
        };
        let variants = self
            .variants
            .iter_mut()
            .zip(&self.setup.catalogue.variants)
            .enumerate()
            .map(|(i, (v, named))| VariantSample {
                name: named.name.clone(),
                desired: v.desired,
                ready: v.ready.len() as u32,
                starting: ages(&v.starting),
                pending: ages(&v.pending),
                draining: v.draining.len() as u32,
                start_ups: std::mem::take(&mut v.start_ups),
                replicas: scraped.replicas.get(i).cloned().unwrap_or_default(),
            })
            .collect();
        Snapshot {
            at: now.seconds(),
            streams: scraped.streams.clone(),
            variants,
            stock: self
                .stock
                .limited()
                .map(|(name, devices)| (name.to_owned(), devices))
                .collect(),
            ..Snapshot::default()
        }
    }
}

fn sample(stream: &Stream, state: &StreamState, now: f64) -> StreamSample {
    let e = &state.exported;
    let backlog = state.backlog.iter().map(|(&minute, &requests)| DueWork {
        due: minute as f64 * 60.0,
        requests: requests as f64,
    });
    StreamSample {
        model: stream.model.clone(),
        class: stream.class.clone(),
        at: now,
        arrivals: state.counts.requests as f64,
        input_tokens: e.input.scrape(),
        output_tokens: e.output.scrape(),
        prefix_hit: e.prefix_hit(),
        ttft: e.ttft.scrape(),
        tpot: e.tpot.scrape(),
        met: state.counts.attained as f64,
        missed: state.counts.missed as f64,
        held: state.held as f64,
        running: state.running as f64,
        backlog: backlog.collect(),
    }
}
