//! The endpoints that hold one hash: few of them as a list, many as a bit each, whichever is smaller.

use crate::endpoint::Slot;

/// A set of places.
#[derive(Debug, Clone)]
pub(super) enum Holders {
    One(Slot),
    Few(Vec<Slot>),
    Many(Box<[u64]>),
}

impl Holders {
    /// Adds a place that is not in the set, of `places` there are.
    pub(super) fn add(&mut self, slot: Slot, places: usize) {
        match self {
            Self::One(other) => *self = Self::Few(vec![*other, slot]),
            Self::Few(slots) if slots.len() * 4 < places.div_ceil(64) * 8 => slots.push(slot),
            Self::Few(slots) => {
                let mut bits = vec![0; places.div_ceil(64)].into_boxed_slice();
                slots.push(slot);
                slots.iter().for_each(|s| set(&mut bits, *s));
                *self = Self::Many(bits);
            }
            Self::Many(bits) => {
                if bits.len() <= slot.index() / 64 {
                    let mut wider = std::mem::take(bits).into_vec();
                    wider.resize(places.div_ceil(64).max(slot.index() / 64 + 1), 0);
                    *bits = wider.into_boxed_slice();
                }
                set(bits, slot);
            }
        }
    }

    /// Takes a place out; whether the set is empty now.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        match self {
            Self::One(only) => *only == slot,
            Self::Few(slots) => {
                slots.retain(|s| *s != slot);
                slots.is_empty()
            }
            Self::Many(bits) => {
                if let Some(word) = bits.get_mut(slot.index() / 64) {
                    *word &= !(1 << (slot.index() % 64));
                }
                bits.iter().all(|w| *w == 0)
            }
        }
    }

    /// Calls `each` with every place in `alive` that is not in the set, and takes it out of `alive`; whether any is left.
    pub(super) fn thin(
        &self,
        alive: &mut [u64],
        scratch: &mut Vec<u64>,
        mut each: impl FnMut(Slot),
    ) -> bool {
        let bits: &[u64] = match self {
            Self::Many(bits) => bits,
            Self::One(slot) => spread(scratch, alive.len(), std::slice::from_ref(slot)),
            Self::Few(slots) => spread(scratch, alive.len(), slots),
        };
        let mut left = 0;
        for (i, word) in alive.iter_mut().enumerate() {
            let held = bits.get(i).copied().unwrap_or(0);
            let mut gone = *word & !held;
            *word &= held;
            left |= *word;
            while gone != 0 {
                each(Slot((i * 64) as u32 + gone.trailing_zeros()));
                gone &= gone - 1;
            }
        }
        left != 0
    }
}

fn set(bits: &mut [u64], slot: Slot) {
    if let Some(word) = bits.get_mut(slot.index() / 64) {
        *word |= 1 << (slot.index() % 64);
    }
}

fn spread<'s>(scratch: &'s mut Vec<u64>, words: usize, slots: &[Slot]) -> &'s [u64] {
    scratch.clear();
    scratch.resize(words, 0);
    slots.iter().for_each(|s| set(scratch, *s));
    scratch
}
