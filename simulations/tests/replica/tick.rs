//! The same engine written the slow way: one iteration at a time, no closed forms, no heaps. It must agree.

use std::collections::VecDeque;

use proptest::prelude::*;
use wva_models::iteration::{Composition, IterationLaw, ReplicaModel};
use wva_simulations::replica::ReplicaSpec;

use super::{Ask, Times, drive, limits};

struct Running {
    ask: usize,
    prompt: u64,
    computed: u64,
    emitted: u64,
    transferred: bool,
}

struct Ticker<'a> {
    spec: ReplicaSpec,
    asks: &'a [Ask],
    waiting: Vec<VecDeque<Running>>,
    running: Vec<Running>,
    next: usize,
    /// Nanoseconds.
    now: f64,
    times: Vec<Times>,
    preemptions: u64,
}

impl Ticker<'_> {
    fn held(&self) -> u64 {
        let held = |r: &Running| {
            if r.computed < r.prompt {
                r.prompt
            } else {
                self.context(r)
            }
        };
        self.running.iter().map(held).sum()
    }

    fn context(&self, r: &Running) -> u64 {
        u64::from(self.asks[r.ask].input) + r.emitted
    }

    fn arrivals(&mut self) {
        if self.running.is_empty() && self.waiting.iter().all(VecDeque::is_empty) {
            self.now = self.now.max(self.asks[self.next].at as f64);
        }
        while self.next < self.asks.len() && self.asks[self.next].at <= (self.now + 0.5) as u64 {
            let a = &self.asks[self.next];
            self.waiting[usize::from(a.level)].push_back(Running {
                ask: self.next,
                prompt: a.input.into(),
                computed: 0,
                emitted: 0,
                transferred: a.transferred,
            });
            self.next += 1;
        }
    }

    fn make_room(&mut self) -> bool {
        let capacity = self.spec.model.limits.kv_tokens as u64;
        let mut preempted = false;
        while self.held() > capacity {
            let victim = (0..self.running.len())
                .max_by_key(|&i| (self.asks[self.running[i].ask].level, self.running[i].ask))
                .expect("something holds memory");
            let mut r = self.running.remove(victim);
            r.prompt = self.context(&r);
            r.computed = 0;
            r.transferred = false;
            self.waiting[usize::from(self.asks[r.ask].level)].push_front(r);
            self.preemptions += 1;
            preempted = true;
        }
        preempted
    }

    /// (index into running, tokens) of the prefill chunks.
    fn chunks(&mut self, mut admitting: bool) -> Vec<(usize, u64)> {
        let model = self.spec.model.limits;
        let decoding = self
            .running
            .iter()
            .filter(|r| r.computed == r.prompt)
            .count() as u64;
        let mut budget = (model.token_budget as u64).saturating_sub(decoding);
        let mut batch_budget = u64::from(self.spec.batch_chunk);
        let mut chunks = Vec::new();
        for level in 0..self.waiting.len() {
            let batch = level >= usize::from(self.spec.interactive_levels);
            let mut i = 0;
            loop {
                let limit = if batch {
                    budget.min(batch_budget)
                } else {
                    budget
                };
                if limit == 0 {
                    break;
                }
                if i == self.running.len() {
                    let Some(head) = self.waiting[level].front() else {
                        break;
                    };
                    let fits = self.held() + head.prompt <= model.kv_tokens as u64
                        && self.running.len() < model.max_sequences as usize;
                    admitting &= fits;
                    if !admitting {
                        break;
                    }
                    let mut r = self.waiting[level].pop_front().expect("has a head");
                    let hit = if r.transferred {
                        r.prompt
                    } else {
                        self.asks[r.ask].hit.into()
                    };
                    r.computed = hit.min(r.prompt - 1);
                    self.running.push(r);
                }
                let r = &self.running[i];
                if usize::from(self.asks[r.ask].level) == level && r.computed < r.prompt {
                    let tokens = (r.prompt - r.computed).min(limit);
                    chunks.push((i, tokens));
                    budget -= tokens;
                    if batch {
                        batch_budget -= tokens;
                    }
                }
                i += 1;
            }
        }
        chunks
    }

    fn duration(&self, chunks: &[(usize, u64)]) -> f64 {
        let mut c = Composition::default();
        for r in self.running.iter().filter(|r| r.computed == r.prompt) {
            c.tokens += 1.0;
            c.sequences += 1.0;
            c.kv_tokens += self.context(r) as f64;
        }
        for &(i, tokens) in chunks {
            let (done, tokens) = (self.running[i].computed as f64, tokens as f64);
            c.tokens += tokens;
            c.sequences += 1.0;
            c.kv_tokens += done + tokens;
            if !self.running[i].transferred {
                c.chunk_context += tokens * (done + tokens / 2.0);
                c.any_prefill = true;
            }
        }
        self.spec.model.law.seconds(&c) * 1e9
    }

    fn tick(&mut self) {
        let preempted = self.make_room();
        let chunks = self.chunks(!preempted);
        self.now += self.duration(&chunks);
        for r in self.running.iter_mut().filter(|r| r.computed == r.prompt) {
            r.emitted += 1;
        }
        for (i, tokens) in chunks {
            let r = &mut self.running[i];
            r.computed += tokens;
            r.emitted += u64::from(r.computed == r.prompt);
        }
        let now = (self.now + 0.5) as u64;
        let (asks, times) = (self.asks, &mut self.times);
        self.running.retain(|r| {
            if r.emitted >= 1 {
                times[r.ask].0 = times[r.ask].0.min(now);
            }
            let done = r.emitted == u64::from(asks[r.ask].output);
            if done {
                times[r.ask].1 = now;
            }
            !done
        });
    }
}

fn ticked(spec: ReplicaSpec, asks: &[Ask]) -> (Vec<Times>, u64) {
    let levels = spec.interactive_levels + spec.batch_levels;
    let mut ticker = Ticker {
        spec,
        asks,
        waiting: (0..levels).map(|_| VecDeque::new()).collect(),
        running: Vec::new(),
        next: 0,
        now: 0.0,
        times: vec![(u64::MAX, u64::MAX); asks.len()],
        preemptions: 0,
    };
    while ticker.times.iter().any(|t| t.1 == u64::MAX) {
        ticker.arrivals();
        ticker.tick();
    }
    (ticker.times, ticker.preemptions)
}

prop_compose! {
    fn any_law()(a in 1e-4..5e-3, floor in 0.0..1e-2, b in 1e-6..1e-4, g in 1e-9..1e-6, s in 0.0..1e-4, p in 0.0..1e-8, e in 0.0..1e-3) -> IterationLaw {
        IterationLaw {
            overhead_s: a, floor_s: floor, per_token_s: b, per_kv_token_s: g, per_sequence_s: s,
            per_chunk_context_s: p, prefill_overhead_s: e, front_end_s: 0.0,
        }
    }
}

prop_compose! {
    pub(super) fn any_ask()(gap in 0..80_000_000u64, level in 0..3u8, input in 1..300u32, output in 1..200u32, hit in 0..4u32, transferred in prop::bool::weighted(0.1)) -> Ask {
        Ask { at: gap, level, input, output, hit: input * hit / 5, transferred, blocks: Vec::new() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn jumping_equals_ticking(
        law in any_law(),
        (m, s, c) in (16..600u32, 1..12u32, 500..3000u32),
        chunk in 1..200u32,
        mut asks in prop::collection::vec(any_ask(), 1..60),
    ) {
        let mut at = 0;
        for a in &mut asks {
            at += a.at;
            a.at = at;
        }
        let spec = ReplicaSpec {
            interactive_levels: 2,
            batch_levels: 1,
            batch_chunk: chunk,
            ..ReplicaSpec::plain(ReplicaModel { law, limits: limits(m, s, c) })
        };
        let (jumped, counters) = drive(spec, &asks);
        let (reference, preemptions) = ticked(spec, &asks);
        prop_assert_eq!(counters.preemptions, preemptions);
        for (j, t) in jumped.iter().zip(&reference) {
            prop_assert!(j.0.abs_diff(t.0) <= 1 && j.1.abs_diff(t.1) <= 1, "{:?} {:?}", j, t);
        }
    }
}
