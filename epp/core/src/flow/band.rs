//! One priority: a queue for each flow, and whose turn it is.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{Arrival, BandSettings, Drain, Fairness, Ordering};

/// Order within a flow: when due (or nothing), then arrival. Deadlines are compared as the bits of positive floats,
/// which order alike.
type Key = (u64, u64);

#[derive(Debug, Clone)]
pub(super) struct Band {
    settings: BandSettings,
    pub requests: usize,
    pub bytes: u64,
    /// How fast its requests are let through.
    pub drain: Drain,
    /// When the last who was refused was told to come back.
    pub promised: f64,
    flows: HashMap<u64, BTreeSet<Key>>,
    /// Flows with something waiting, in turn.
    turn: VecDeque<u64>,
}

impl Band {
    pub(super) fn new(settings: BandSettings) -> Self {
        Self {
            settings,
            requests: 0,
            bytes: 0,
            drain: Drain::default(),
            promised: f64::NEG_INFINITY,
            flows: HashMap::new(),
            turn: VecDeque::new(),
        }
    }

    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.requests < self.settings.max_requests
            && self.bytes.saturating_add(bytes) <= self.settings.max_bytes
    }

    fn flow(&self, arrival: &Arrival) -> u64 {
        match self.settings.fairness {
            Fairness::GlobalStrict => 0,
            Fairness::RoundRobin => arrival.flow,
        }
    }

    fn key(&self, arrival: &Arrival, place: u64) -> Key {
        let due = match self.settings.ordering {
            Ordering::FirstCome => 0,
            Ordering::EarliestDeadline => {
                arrival.deadline.map_or(u64::MAX, |d| d.max(0.0).to_bits())
            }
        };
        (due, place)
    }

    pub(super) fn push(&mut self, arrival: &Arrival, place: u64) {
        let (flow, key) = (self.flow(arrival), self.key(arrival, place));
        let queue = self.flows.entry(flow).or_default();
        if queue.is_empty() {
            self.turn.push_back(flow);
        }
        queue.insert(key);
        self.requests += 1;
        self.bytes += arrival.bytes;
    }

    /// The place of the first of the flow whose turn it is; the turn passes on.
    pub(super) fn first(&mut self) -> Option<u64> {
        self.turn.rotate_left(usize::from(self.turn.len() > 1));
        let flow = self.turn.back()?;
        self.flows.get(flow)?.first().map(|key| key.1)
    }

    pub(super) fn remove(&mut self, arrival: &Arrival, place: u64) {
        let (flow, key) = (self.flow(arrival), self.key(arrival, place));
        let Some(queue) = self.flows.get_mut(&flow) else {
            return;
        };
        if !queue.remove(&key) {
            return;
        }
        self.requests -= 1;
        self.bytes -= arrival.bytes;
        if queue.is_empty() {
            self.flows.remove(&flow);
            // The flow that just went is at the back, where the search starts.
            if let Some(at) = self.turn.iter().rposition(|f| *f == flow) {
                self.turn.remove(at);
            }
        }
    }

    pub(super) const fn most_bytes(&self) -> u64 {
        self.settings.max_bytes
    }

    fn longest(&self) -> Option<&BTreeSet<Key>> {
        let flows = self.turn.iter().filter_map(|f| self.flows.get(f));
        flows.max_by_key(|flow| flow.len())
    }

    /// The place of the one to shed first: the last of the longest flow.
    pub(super) fn sheds(&self) -> Option<u64> {
        self.longest()?.last().map(|key| key.1)
    }

    /// The same where its flow has more than the arrival's will have when they have changed places.
    pub(super) fn gives_way(&self, arrival: &Arrival) -> Option<u64> {
        let own = self.flows.get(&self.flow(arrival)).map_or(0, BTreeSet::len);
        let longest = self.longest().filter(|flow| flow.len() > own + 1)?;
        longest.last().map(|key| key.1)
    }
}
