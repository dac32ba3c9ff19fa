//! Replicas coming and going: scale targets, devices, start-up, drain.

use rand_distr::{Distribution, Gamma};

use super::endpoints::gauges;
use super::pod::{Load, Pod, PodState};
use super::{Event, Fleet};
use crate::replica::Replica;
use crate::time::Time;

impl Fleet<'_> {
    /// The initial replicas, ready at once as far as there are devices, and the events of the stock.
    pub(super) fn populate(&mut self) {
        for variant in 0..self.variants.len() {
            let wanted = self.setup.initial[variant];
            self.variants[variant].desired = wanted;
            for _ in 0..wanted {
                let pod = self.ask(variant);
                if self.stock.take(variant, self.now) {
                    self.hold(pod);
                    self.serve(pod);
                } else {
                    self.variants[variant].pending.push(pod);
                }
            }
        }
        for time in self.stock.changes() {
            self.push(time, Event::StockChange);
        }
    }

    /// Sets a variant's scale target, within the variant's bounds.
    pub(crate) fn scale(&mut self, variant: usize, replicas: u32) {
        let v = &mut self.variants[variant];
        let wanted = replicas.max(v.bounds.0).min(v.bounds.1);
        if wanted == v.desired {
            return;
        }
        v.desired = wanted;
        v.scalings += 1;
        let alive = (v.pending.len() + v.starting.len() + v.ready.len()) as u32;
        for _ in alive..wanted {
            let pod = self.ask(variant);
            self.variants[variant].pending.push(pod);
        }
        for _ in wanted..alive {
            self.remove_one(variant);
        }
        self.schedule_pending();
    }

    /// Gives devices to replicas that wait for them, the longest waiting first; one that needs more than there is does
    /// not hold up the others.
    pub(crate) fn schedule_pending(&mut self) {
        let mut waiting: Vec<u32> = self
            .variants
            .iter()
            .flat_map(|v| v.pending.iter().copied())
            .collect();
        waiting.sort_unstable(); // Ordinals ascend with the time of asking.
        for pod in waiting {
            let variant = self.pods[pod as usize].variant;
            if self.stock.take(variant, self.now) {
                self.variants[variant].pending.retain(|&p| p != pod);
                self.variants[variant].starting.push(pod);
                self.pods[pod as usize].state = PodState::Starting;
                self.hold(pod);
                let start_up = self.start_up_time(variant);
                self.push(self.now + start_up, Event::Ready(pod));
            }
        }
    }

    /// A replica has loaded, unless it was removed meanwhile.
    pub(crate) fn loaded(&mut self, pod: u32) {
        let p = &self.pods[pod as usize];
        if p.state != PodState::Starting {
            return;
        }
        let (variant, asked) = (p.variant, p.asked);
        let v = &mut self.variants[variant];
        v.starting.retain(|&s| s != pod);
        v.start_ups.push((self.now - asked).seconds());
        self.serve(pod);
        self.flush_held(self.variants[variant].model);
        self.pull_batch(pod);
    }

    /// A draining replica without requests leaves.
    pub(super) fn leave_if_drained(&mut self, pod: u32) {
        let p = &self.pods[pod as usize];
        if p.state == PodState::Draining && p.requests == 0 {
            let variant = p.variant;
            let v = &mut self.variants[variant];
            v.draining.retain(|&d| d != pod);
            v.serving.change(-1, self.now, self.end);
            let c = p.engine.counters();
            v.past.0 += c.busy_s;
            v.past.1 += c.finished;
            v.past.2 += c.preemptions;
            self.gone(pod);
            self.schedule_pending();
        }
    }

    /// Ends accounting: integrals and busy seconds as of now.
    pub(crate) fn close(&mut self) {
        for v in &mut self.variants {
            v.held.settle(self.now, self.end);
            v.serving.settle(self.now, self.end);
            let alive = v.ready.iter().chain(&v.draining);
            let busy = alive.map(|&p| self.pods[p as usize].engine.counters().busy_s);
            v.busy_s = v.past.0 + busy.sum::<f64>();
        }
    }

    /// Requests finished and sequences preempted on a variant so far.
    pub(crate) fn served(&self, variant: usize) -> (u64, u64) {
        let v = &self.variants[variant];
        let alive = v.ready.iter().chain(&v.draining);
        alive.fold((v.past.1, v.past.2), |sum, &p| {
            let c = self.pods[p as usize].engine.counters();
            (sum.0 + c.finished, sum.1 + c.preemptions)
        })
    }

    fn ask(&mut self, variant: usize) -> u32 {
        self.pods.push(Pod {
            variant,
            state: PodState::Pending,
            asked: self.now,
            engine: Replica::new(self.variants[variant].spec),
            wake: Time::NEVER,
            place: 0,
            requests: 0,
            batch_prefill: 0,
            link_free: Time::ZERO,
        });
        (self.pods.len() - 1) as u32
    }

    fn start_up_time(&mut self, variant: usize) -> Time {
        let mean = self.setup.catalogue.variants[variant].start_up.get();
        let variance = self.setup.start_up_cv.powi(2);
        // Gamma of mean 1; without spread, or absurd spread, the mean itself.
        let factor = Gamma::new(1.0 / variance, variance)
            .ok()
            .filter(|_| variance > 0.0)
            .map_or(1.0, |g| g.sample(&mut self.start_up));
        Time::from_seconds(mean * factor)
    }

    /// Devices are held from now on.
    fn hold(&mut self, pod: u32) {
        let variant = self.pods[pod as usize].variant;
        self.variants[variant].held.change(1, self.now, self.end);
        self.holding.0 += 1;
        if self.now <= self.end {
            self.holding.1 = self.holding.1.max(self.holding.0);
        }
    }

    fn serve(&mut self, pod: u32) {
        let p = &mut self.pods[pod as usize];
        let v = &mut self.variants[p.variant];
        p.state = PodState::Ready;
        p.place = v.ready.len();
        v.ready.push(pod);
        v.loads.push(Load::default());
        v.serving.change(1, self.now, self.end);
        if let Some(endpoints) = &mut self.endpoints {
            let metrics = gauges(&p.engine, v.capacity as f64, self.now);
            endpoints.join(pod, p.variant, v, metrics);
        }
    }

    fn gone(&mut self, pod: u32) {
        let p = &mut self.pods[pod as usize];
        p.state = PodState::Gone;
        let variant = p.variant;
        self.stock.give_back(variant);
        self.variants[variant].held.change(-1, self.now, self.end);
        self.holding.0 -= 1;
    }

    /// Removes one replica of a variant; see the module of the fleet for which.
    fn remove_one(&mut self, variant: usize) {
        let v = &mut self.variants[variant];
        if let Some(pod) = v.pending.pop() {
            self.pods[pod as usize].state = PodState::Gone;
        } else if let Some(pod) = v.starting.pop() {
            self.gone(pod);
        } else {
            let idlest = v.ready.iter().zip(&v.loads);
            let Some(pod) = idlest
                .min_by_key(|(pod, load)| (load.requests, u32::MAX - **pod))
                .map(|(pod, _)| *pod)
            else {
                return;
            };
            self.drain(pod);
        }
    }

    fn drain(&mut self, pod: u32) {
        let p = &mut self.pods[pod as usize];
        p.state = PodState::Draining;
        let (variant, place) = (p.variant, p.place);
        if let Some(endpoints) = &mut self.endpoints {
            endpoints.leave(pod);
        }
        let v = &mut self.variants[variant];
        v.ready.swap_remove(place);
        v.loads.swap_remove(place);
        v.draining.push(pod);
        if let Some(&moved) = self.variants[variant].ready.get(place) {
            self.pods[moved as usize].place = place;
        }
        self.leave_if_drained(pod);
    }
}
