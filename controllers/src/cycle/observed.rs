//! Latencies that replicas measured between two cycles: means over what finished in between.

use std::collections::BTreeMap;

use wva_optimizer::snapshot::SumCount;

use crate::published::Latencies;
use crate::telemetry::Gathered;

/// TTFT and gaps per replica as last seen.
pub(super) type Counters = BTreeMap<u64, (SumCount, SumCount)>;

/// Fewest observations that make a mean.
const FEWEST: f64 = 3.0;

/// What finished since the last cycle, per variant.
pub(super) struct Observed {
    sums: BTreeMap<String, (SumCount, SumCount)>,
}

impl Observed {
    /// Takes differences to `before`, and leaves the present counters there.
    pub fn new(gathered: &Gathered, before: &mut Counters) -> Self {
        let mut now = Counters::new();
        let mut sums: BTreeMap<String, (SumCount, SumCount)> = BTreeMap::new();
        for pod in &gathered.pods {
            let Some(sample) = pod.outcome.sample() else {
                continue;
            };
            now.insert(sample.id, (sample.ttft, sample.gap));
            if let Some((ttft, gap)) = before.get(&sample.id) {
                let entry = sums.entry(pod.variant.clone()).or_default();
                add(&mut entry.0, sample.ttft, *ttft);
                add(&mut entry.1, sample.gap, *gap);
            }
        }
        *before = now;
        Self { sums }
    }

    pub fn of(&mut self, variant: &str) -> Latencies {
        let (ttft, gap) = self.sums.remove(variant).unwrap_or_default();
        Latencies {
            ttft: mean(ttft),
            itl: mean(gap),
        }
    }
}

fn add(sum: &mut SumCount, now: SumCount, before: SumCount) {
    // A counter that fell belongs to a replica that restarted.
    if now.count >= before.count && now.sum >= before.sum {
        sum.sum += now.sum - before.sum;
        sum.count += now.count - before.count;
    }
}

fn mean(sum: SumCount) -> Option<f64> {
    let mean = sum.sum / sum.count;
    (sum.count >= FEWEST && mean.is_finite()).then_some(mean)
}
