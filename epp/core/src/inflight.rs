//! What this picker has sent and not yet seen end: the truth between scrapes.
//!
//! A scrape is old when it arrives. Counting what one sent is free, exact and at once, so every scorer sees the scrape
//! corrected by what was sent after it. This is what lets scrapes be slow: at 50 ms between scrapes instead of a second
//! the numbers would still be older than the last request.

use crate::endpoint::{Sent, Slot};
use crate::pool::Pool;
use crate::predict::{Predicted, Queue};

/// Names one request in flight. Given back by [`Inflight::finish`]; a second time it names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    place: u32,
    serial: u32,
}

/// One request on its way through the servers that were picked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flight {
    /// Where it generates.
    pub decode: Ticket,
    /// Where its prompt is computed, if elsewhere.
    pub prefill: Option<Ticket>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    serial: u32,
    slot: Slot,
    generation: u32,
    /// Prompt tokens to compute.
    uncached: f64,
    /// Prompt and expected output.
    tokens: f64,
    /// Time that computing the prompt was expected to take.
    seconds: f64,
    /// Whether the first token is still to come.
    pending: bool,
    open: bool,
}

/// Counts of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Requests that have not ended.
    pub requests: u32,
    /// Those of them without a first token.
    pub pending: u32,
    /// Prompt tokens that those without a first token have to compute.
    pub pending_tokens: f64,
    /// Prompt and expected output tokens of all.
    pub tokens: f64,
    /// Time that computing the prompts of those without a first token takes, as far as it was predicted, seconds.
    expected: f64,
    /// When the last iteration with these prompts begins and ends, and the tokens that it has room for.
    begins: f64,
    ends: f64,
    room: f64,
    /// Share of the time that prompts take, lately, and when that was updated, seconds.
    share: f64,
    share_at: f64,
    sent: Sent,
    generation: u32,
}

/// Time over which the share that prompts take is averaged, seconds.
const SHARE_OVER_S: f64 = 10.0;

/// Share of the expected time of unanswered prompts that is always taken to be ahead still.
const UNPROVEN: f64 = 0.2;

impl Load {
    /// What is left of the prompts sent so far: progress is reckoned by the clock, since no answer tells of it, but never
    /// believed beyond a share of what has not been answered.
    pub(crate) fn queue(&self, now: f64) -> Queue {
        Queue {
            begins_s: (self.begins - now).max(0.0),
            ends_s: (self.ends - now).clamp(UNPROVEN * self.expected, self.expected),
            room: self.room,
        }
    }

    /// What was sent, and what of it is in flight.
    pub(crate) fn sent(&self) -> Sent {
        Sent {
            pending: f64::from(self.pending),
            running: f64::from(self.requests - self.pending),
            held: self.tokens,
            ..self.sent
        }
    }

    /// Share of the time that prompts sent from here take, averaged over about ten seconds.
    pub(crate) fn prefill_share(&self, now: f64) -> f64 {
        self.share * (-(now - self.share_at).max(0.0) / SHARE_OVER_S).exp()
    }
}

/// Requests in flight, by endpoint.
#[derive(Debug, Clone, Default)]
pub struct Inflight {
    loads: Vec<Load>,
    open: Vec<Open>,
    free: Vec<u32>,
    version: u64,
}

impl Inflight {
    /// Follows the pool's members: grows, and forgets what was counted for endpoints that are gone.
    pub(crate) fn follow(&mut self, pool: &Pool) {
        let members = &pool.members;
        if self.version == members.version && self.loads.len() >= pool.places() {
            return;
        }
        self.version = members.version;
        self.loads
            .resize(pool.places().max(self.loads.len()), Load::default());
        for (load, &generation) in self.loads.iter_mut().zip(&members.generation) {
            if load.generation != generation {
                *load = Load {
                    generation,
                    ..Load::default()
                };
            }
        }
    }

    /// Counts of an endpoint; zeros for one never picked.
    #[must_use]
    pub fn load(&self, slot: Slot) -> Load {
        self.loads.get(slot.index()).copied().unwrap_or_default()
    }

    pub(crate) fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// Requests and prompt tokens ever sent to an endpoint: to be put into the [`crate::endpoint::Metrics`] of a scrape
    /// when it is answered.
    #[must_use]
    pub fn sent(&self, slot: Slot) -> Sent {
        self.load(slot).sent()
    }

    /// Requests in flight, everywhere.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.open.len() - self.free.len()
    }

    /// Counts a request that is being sent: `uncached` of its `prompt` tokens are to be computed, and `output` tokens
    /// are expected.
    pub fn begin(&mut self, slot: Slot, uncached: f64, prompt: f64, output: f64) -> Ticket {
        if self.loads.len() <= slot.index() {
            self.loads.resize(slot.index() + 1, Load::default());
        }
        let load = &mut self.loads[slot.index()];
        let tokens = prompt + output;
        load.requests += 1;
        load.pending += 1;
        load.pending_tokens += uncached;
        load.tokens += tokens;
        load.sent.requests += 1;
        load.sent.tokens += prompt as u64;
        let open = Open {
            serial: 0,
            slot,
            generation: load.generation,
            uncached,
            tokens,
            seconds: 0.0,
            pending: true,
            open: true,
        };
        self.enter(open)
    }

    /// Notes how the prompt of a request is expected to pass.
    pub(crate) fn expect(&mut self, ticket: Ticket, predicted: &Predicted, now: f64) {
        let Some((open, Some(load))) = self.find(ticket) else {
            return;
        };
        let queue = &predicted.queue;
        open.seconds = queue.ends_s - load.queue(now).ends_s;
        load.expected += open.seconds;
        (load.begins, load.ends) = (now + queue.begins_s, now + queue.ends_s);
        load.room = queue.room;
        load.share = load.prefill_share(now) + predicted.prefill / SHARE_OVER_S;
        load.share_at = now;
    }

    fn enter(&mut self, open: Open) -> Ticket {
        let Some(place) = self.free.pop() else {
            self.open.push(open);
            let place =
                u32::try_from(self.open.len() - 1).expect("fewer than 2^32 requests in flight");
            return Ticket { place, serial: 0 };
        };
        let serial = self.open[place as usize].serial.wrapping_add(1);
        self.open[place as usize] = Open { serial, ..open };
        Ticket { place, serial }
    }

    fn find(&mut self, ticket: Ticket) -> Option<(&mut Open, Option<&mut Load>)> {
        let open = self.open.get_mut(ticket.place as usize)?;
        if open.serial != ticket.serial || !open.open {
            return None;
        }
        let load = self.loads.get_mut(open.slot.index());
        let load = load.filter(|l| l.generation == open.generation);
        Some((open, load))
    }

    /// Notes the first token (or any byte of the answer). Does nothing the second time.
    pub fn first_token(&mut self, ticket: Ticket) {
        if let Some((open, load)) = self.find(ticket) {
            let was_pending = std::mem::take(&mut open.pending);
            if let (true, Some(load)) = (was_pending, load) {
                load.answered(open);
            }
        }
    }

    /// Notes the end of a request, well or not. Does nothing the second time.
    pub fn finish(&mut self, ticket: Ticket) {
        let Some((open, load)) = self.find(ticket) else {
            return;
        };
        open.open = false;
        if let Some(load) = load {
            if open.pending {
                load.answered(open);
            }
            load.requests -= 1;
            load.tokens = if load.requests == 0 {
                0.0
            } else {
                (load.tokens - open.tokens).max(0.0)
            };
        }
        self.free.push(ticket.place);
    }

    /// Notes the first token of a request: its prompt is computed, wherever that was.
    pub fn answered(&mut self, flight: &Flight) {
        self.first_token(flight.decode);
        if let Some(prefill) = flight.prefill {
            self.finish(prefill);
        }
    }

    /// Notes the end of a request at all its servers.
    pub fn ended(&mut self, flight: &Flight) {
        self.finish(flight.decode);
        if let Some(prefill) = flight.prefill {
            self.finish(prefill);
        }
    }

    /// Moves a request that another endpoint turned out to serve (a fallback): its prompt is counted whole there.
    pub fn moved(&mut self, ticket: Ticket, to: Slot, now: f64) -> Ticket {
        let Some((open, _)) = self.find(ticket) else {
            return ticket;
        };
        if open.slot == to {
            return ticket;
        }
        let (uncached, seconds) = (open.uncached, open.seconds);
        let output = open.tokens - uncached;
        self.finish(ticket);
        let ticket = self.begin(to, uncached, uncached, output);
        if let Some((open, Some(load))) = self.find(ticket) {
            open.seconds = seconds;
            load.expected += seconds;
            load.ends = load.ends.max(now) + seconds;
        }
        ticket
    }
}

impl Load {
    fn answered(&mut self, open: &Open) {
        self.pending -= 1;
        // Sums of differences drift; where nothing is left, nothing is left.
        if self.pending == 0 {
            (self.pending_tokens, self.expected) = (0.0, 0.0);
            (self.begins, self.ends) = (0.0, 0.0);
            return;
        }
        self.pending_tokens = (self.pending_tokens - open.uncached).max(0.0);
        self.expected = (self.expected - open.seconds).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_return_to_nothing() {
        let mut inflight = Inflight::default();
        let slot = Slot(3);
        let a = inflight.begin(slot, 80.0, 100.0, 20.0);
        let b = inflight.begin(slot, 50.0, 50.0, 10.0);
        assert_eq!(inflight.load(slot).pending_tokens, 130.0);
        inflight.first_token(a);
        inflight.first_token(a);
        let load = inflight.load(slot);
        assert_eq!(
            (
                load.requests,
                load.pending,
                load.pending_tokens,
                load.tokens
            ),
            (2, 1, 50.0, 180.0)
        );
        inflight.finish(b);
        inflight.finish(b);
        inflight.finish(a);
        let load = inflight.load(slot);
        assert_eq!(
            (
                load.requests,
                load.pending,
                load.pending_tokens,
                load.tokens
            ),
            (0, 0, 0.0, 0.0)
        );
        assert_eq!(
            inflight.sent(slot),
            Sent {
                requests: 2,
                tokens: 150,
                ..Sent::default()
            }
        );
        assert_eq!(inflight.requests(), 0);
    }

    #[test]
    fn a_ticket_is_good_once() {
        let mut inflight = Inflight::default();
        let a = inflight.begin(Slot(0), 1.0, 1.0, 1.0);
        inflight.finish(a);
        let b = inflight.begin(Slot(0), 1.0, 1.0, 1.0);
        inflight.finish(a);
        inflight.first_token(a);
        assert_eq!(
            (
                inflight.load(Slot(0)).requests,
                inflight.load(Slot(0)).pending
            ),
            (1, 1)
        );
        let c = inflight.moved(b, Slot(1), 0.0);
        assert_eq!(
            (
                inflight.load(Slot(0)).requests,
                inflight.load(Slot(1)).requests
            ),
            (0, 1)
        );
        inflight.finish(c);
        assert_eq!(inflight.requests(), 0);
    }

    #[test]
    fn the_share_of_prompts_follows_and_fades() {
        let mut inflight = Inflight::default();
        let predicted = Predicted {
            prefill: 0.3,
            ..Predicted::default()
        };
        for second in 0..100 {
            let now = f64::from(second);
            let ticket = inflight.begin(Slot(0), 500.0, 500.0, 1.0);
            inflight.expect(ticket, &predicted, now);
        }
        let share = inflight.load(Slot(0)).prefill_share(99.5);
        assert!((0.27..0.33).contains(&share), "{share}");
        assert!(inflight.load(Slot(0)).prefill_share(200.0) < 1e-3);
    }

    #[test]
    fn progress_is_reckoned_but_not_believed_to_the_end() {
        let mut inflight = Inflight::default();
        let queue = Queue {
            begins_s: 1.0,
            ends_s: 2.0,
            room: 100.0,
        };
        let predicted = Predicted {
            queue,
            ..Predicted::default()
        };
        let ticket = inflight.begin(Slot(0), 500.0, 500.0, 1.0);
        inflight.expect(ticket, &predicted, 10.0);
        let at = |inflight: &Inflight, now| inflight.load(Slot(0)).queue(now);
        assert_eq!(at(&inflight, 10.0), queue);
        assert_eq!(
            (at(&inflight, 11.5).begins_s, at(&inflight, 11.5).ends_s),
            (0.0, 0.5)
        );
        assert_eq!(at(&inflight, 99.0).ends_s, UNPROVEN * 2.0);
        inflight.first_token(ticket);
        assert_eq!(at(&inflight, 10.0).ends_s, 0.0);
    }
}
