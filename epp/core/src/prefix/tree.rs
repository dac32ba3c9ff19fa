//! Chains as a tree: runs of hashes that follow each other without a branch.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::slab::{NONE, Slab};
use crate::endpoint::Slot;

/// Hashes need no hashing again: the run before is mixed in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, run: u32) {
        self.0 = u64::from(run).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 ^= hash;
    }
}

/// An endpoint that holds the beginning of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Holder {
    pub slot: Slot,
    /// How many of the run's hashes, at least one.
    pub held: u32,
    /// Where the run stands in the endpoint's list.
    pub link: u32,
}

/// Those who hold a run, by place. Most runs are held by one.
#[derive(Debug, Clone)]
enum Holders {
    One(Holder),
    Many(Vec<Holder>),
}

impl Default for Holders {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// Hashes that follow each other, held by someone to the end, and by everyone who holds what comes after.
#[derive(Debug, Clone, Default)]
struct Run {
    /// The run before; [`NONE`] at the beginning of prompts.
    before: u32,
    hashes: Box<[u64]>,
    holders: Holders,
}

impl Run {
    fn holders(&self) -> &[Holder] {
        match &self.holders {
            Holders::One(holder) => std::slice::from_ref(holder),
            Holders::Many(holders) => holders,
        }
    }

    fn holder(&mut self, slot: Slot) -> Option<&mut Holder> {
        match &mut self.holders {
            Holders::One(holder) => Some(holder).filter(|h| h.slot == slot),
            Holders::Many(holders) => {
                let at = holders.binary_search_by_key(&slot.0, |h| h.slot.0).ok()?;
                holders.get_mut(at)
            }
        }
    }

    fn add(&mut self, holder: Holder) {
        let mut all = match std::mem::take(&mut self.holders) {
            Holders::Many(all) if all.is_empty() => return self.holders = Holders::One(holder),
            Holders::Many(all) => all,
            Holders::One(other) => vec![other],
        };
        let at = all.partition_point(|h| h.slot.0 < holder.slot.0);
        all.insert(at, holder);
        self.holders = Holders::Many(all);
    }

    fn remove(&mut self, slot: Slot) {
        match &mut self.holders {
            Holders::One(holder) if holder.slot == slot => self.holders = Holders::default(),
            Holders::One(_) => {}
            Holders::Many(holders) => holders.retain(|h| h.slot != slot),
        }
    }
}

/// All runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    runs: Slab<Run>,
    /// Runs by the run before them and their first hash.
    heads: HashMap<(u32, u64), u32, BuildHasherDefault<Mixed>>,
}

/// A run that was cut in two.
pub(super) struct Cut {
    /// Its first part, which nobody holds yet: whoever holds the second part holds all of it too.
    pub head: u32,
    /// Hashes in the first part.
    pub length: u32,
    /// Who held the run: those who held no more than the first part, and those who do not.
    pub holders: Vec<Holder>,
}

impl Tree {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The run that goes on after `before` with the first of these hashes, and how many of them it has.
    fn next(&self, before: u32, rest: &[u64]) -> Option<(u32, usize)> {
        let run = *self.heads.get(&(before, *rest.first()?))?;
        let pairs = self.runs[run].hashes.iter().zip(rest);
        Some((run, pairs.take_while(|(a, b)| a == b).count()))
    }

    /// Calls `each` with every holder along a chain and how many of its leading hashes are held, the longest last.
    pub(super) fn along(&self, chain: &[u64], mut each: impl FnMut(Slot, u32)) {
        let (mut before, mut depth) = (NONE, 0);
        while let Some((run, same)) = self.next(before, &chain[depth..]) {
            for holder in self.runs[run].holders() {
                each(holder.slot, depth as u32 + holder.held.min(same as u32));
            }
            if same < self.runs[run].hashes.len() {
                return;
            }
            depth += same;
            before = run;
        }
    }

    /// Writes the runs that are exactly this chain: the last may be new, and then has no holder yet. `cut` is told of a
    /// run that had to be cut for it, and gives both parts their holders.
    pub(super) fn path(
        &mut self,
        chain: &[u64],
        out: &mut Vec<u32>,
        mut cut: impl FnMut(&mut Self, u32, Cut),
    ) {
        out.clear();
        let (mut before, mut rest) = (NONE, chain);
        while let Some(first) = rest.first() {
            let (run, same) = match self.next(before, rest) {
                None => {
                    let run = self.runs.add(Run {
                        before,
                        hashes: rest.into(),
                        holders: Holders::default(),
                    });
                    self.heads.insert((before, *first), run);
                    (run, rest.len())
                }
                Some((run, same)) if same == self.runs[run].hashes.len() => (run, same),
                Some((run, same)) => {
                    let parts = self.cut(run, same);
                    let head = parts.head;
                    cut(self, run, parts);
                    (head, same)
                }
            };
            out.push(run);
            rest = &rest[same..];
            before = run;
        }
    }

    /// Cuts a run after so many hashes. The second part keeps its number, so that what comes after it need not be told.
    fn cut(&mut self, run: u32, length: usize) -> Cut {
        let Run {
            before,
            hashes,
            holders,
        } = std::mem::take(&mut self.runs[run]);
        let (front, back) = hashes.split_at(length);
        let head = self.runs.add(Run {
            before,
            hashes: front.into(),
            holders: Holders::default(),
        });
        self.heads.insert((before, front[0]), head);
        self.heads.insert((head, back[0]), run);
        self.runs[run] = Run {
            before: head,
            hashes: back.into(),
            holders: Holders::default(),
        };
        let holders = match holders {
            Holders::One(holder) => vec![holder],
            Holders::Many(holders) => holders,
        };
        Cut {
            head,
            length: length as u32,
            holders,
        }
    }

    /// Hashes of a run.
    pub(super) fn length(&self, run: u32) -> u32 {
        self.runs[run].hashes.len() as u32
    }

    /// The holder of a run at a place.
    pub(super) fn holder(&mut self, run: u32, slot: Slot) -> Option<&mut Holder> {
        self.runs.get_mut(run)?.holder(slot)
    }

    /// Adds a holder, of whom the run has none at its place.
    pub(super) fn add(&mut self, run: u32, holder: Holder) {
        self.runs[run].add(holder);
    }

    /// Notes that an endpoint holds only the first `held` hashes of a run any more, and gives up what nobody holds.
    pub(super) fn hold_less(&mut self, run: u32, slot: Slot, held: u32) {
        let this = &mut self.runs[run];
        match this.holder(slot) {
            Some(holder) if held > 0 => holder.held = held,
            _ => this.remove(slot),
        }
        let longest = this.holders().iter().map(|h| h.held).max().unwrap_or(0) as usize;
        if longest == 0 {
            let gone = self.runs.take(run);
            self.heads.remove(&(gone.before, gone.hashes[0]));
        } else if longest < this.hashes.len() {
            let mut hashes = std::mem::take(&mut this.hashes).into_vec();
            hashes.truncate(longest);
            this.hashes = hashes.into_boxed_slice();
        }
    }
}
