//! The event queue: a four-ary heap ordered by time, then rank, then the order in which events were put in.
//!
//! Ties must not depend on the heap's shape, or the smallest change anywhere would reorder a whole run. The rank lets
//! events that observe (a scrape, a decision) come after everything else of the same nanosecond. Four children per node
//! instead of two halve the depth, and the children of a node share a cache line or two.

use crate::time::Time;

#[derive(Debug, Clone, Copy)]
struct Entry<E> {
    time: Time,
    /// Rank in the top byte, sequence number below.
    order: u64,
    event: E,
}

impl<E> Entry<E> {
    #[inline]
    const fn key(&self) -> (u64, u64) {
        (self.time.0, self.order)
    }
}

/// Events to come.
#[derive(Debug, Clone)]
pub struct EventQueue<E> {
    heap: Vec<Entry<E>>,
    pushed: u64,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            pushed: 0,
        }
    }
}

const ARITY: usize = 4;

impl<E: Copy> EventQueue<E> {
    /// Adds an event. Among events of one time the lower rank comes first, and within a rank the one added earlier.
    pub fn push(&mut self, time: Time, rank: u8, event: E) {
        let order = u64::from(rank) << 56 | self.pushed;
        self.pushed += 1;
        self.heap.push(Entry { time, order, event });
        self.rise(self.heap.len() - 1);
    }

    /// Time of the next event; [`Time::NEVER`] when there is none.
    #[must_use]
    #[inline]
    pub fn next_time(&self) -> Time {
        self.heap.first().map_or(Time::NEVER, |e| e.time)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        let last = self.heap.pop()?;
        let Some(root) = self.heap.first_mut() else {
            return Some((last.time, last.event));
        };
        let first = std::mem::replace(root, last);
        self.sink();
        Some((first.time, first.event))
    }

    fn rise(&mut self, mut i: usize) {
        let entry = self.heap[i];
        while i > 0 {
            let parent = (i - 1) / ARITY;
            if self.heap[parent].key() <= entry.key() {
                break;
            }
            self.heap[i] = self.heap[parent];
            i = parent;
        }
        self.heap[i] = entry;
    }

    fn sink(&mut self) {
        let entry = self.heap[0];
        let mut i = 0;
        loop {
            let first = i * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(least) = children.min_by_key(|&c| self.heap[c].key()) else {
                break;
            };
            if entry.key() <= self.heap[least].key() {
                break;
            }
            self.heap[i] = self.heap[least];
            i = least;
        }
        self.heap[i] = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pops_by_time_then_rank_then_order(events in prop::collection::vec((0..20u64, 0..3u8), 0..200)) {
            let mut queue = EventQueue::default();
            for (i, &(time, rank)) in events.iter().enumerate() {
                queue.push(Time(time), rank, i);
            }
            let mut expected: Vec<_> = events.iter().enumerate().map(|(i, &(t, r))| (t, r, i)).collect();
            expected.sort_unstable();
            let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, i)| (events[i].0, events[i].1, i)).collect();
            prop_assert_eq!(popped, expected);
            prop_assert_eq!(queue.next_time(), Time::NEVER);
        }
    }
}
