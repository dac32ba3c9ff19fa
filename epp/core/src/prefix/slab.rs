//! Items by number; the numbers of those that are gone are given again.

use std::ops::{Index, IndexMut};

/// No item.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Default)]
pub(super) struct Slab<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Slab<T> {
    /// Keeps an item; its number.
    pub(super) fn add(&mut self, item: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self[place] = item;
            return place;
        }
        self.items.push(item);
        (self.items.len() - 1) as u32
    }

    /// Gives an item back, and its number up.
    pub(super) fn take(&mut self, place: u32) -> T {
        self.free.push(place);
        std::mem::take(&mut self[place])
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.items.get_mut(place as usize)
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        &self.items[place as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.items[place as usize]
    }
}
