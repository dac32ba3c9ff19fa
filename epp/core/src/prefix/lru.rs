//! The prefixes that one endpoint is taken to hold: hashes in order of last use.

use std::collections::HashMap;

use super::index::ByHash;

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
struct Node {
    hash: u64,
    older: u32,
    newer: u32,
}

/// A list of hashes, the least recently used of which goes when there are too many.
#[derive(Debug, Clone)]
pub(super) struct Lru {
    nodes: Vec<Node>,
    index: HashMap<u64, u32, ByHash>,
    oldest: u32,
    newest: u32,
}

impl Default for Lru {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            index: HashMap::default(),
            oldest: NONE,
            newest: NONE,
        }
    }
}

/// What a touch did.
pub(super) enum Touched {
    /// It was there.
    Known,
    /// It is new.
    New,
    /// It is new, and this one had to go.
    Instead(u64),
}

impl Lru {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> + '_ {
        self.nodes.iter().map(|n| n.hash)
    }

    /// Makes a hash the most recently used; `capacity` is at least 1.
    pub(super) fn touch(&mut self, hash: u64, capacity: usize) -> Touched {
        if let Some(&node) = self.index.get(&hash) {
            if node != self.newest {
                self.unlink(node);
                self.append(node);
            }
            return Touched::Known;
        }
        if self.nodes.len() < capacity {
            let node = self.nodes.len() as u32;
            self.nodes.push(Node {
                hash,
                older: NONE,
                newer: NONE,
            });
            self.index.insert(hash, node);
            self.append(node);
            return Touched::New;
        }
        let node = self.oldest;
        self.unlink(node);
        let gone = std::mem::replace(&mut self.nodes[node as usize].hash, hash);
        self.index.remove(&gone);
        self.index.insert(hash, node);
        self.append(node);
        Touched::Instead(gone)
    }

    /// Takes out the least recently used.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let node = self.oldest;
        let hash = self.nodes.get(node as usize)?.hash;
        self.unlink(node);
        self.index.remove(&hash);
        // The last node moves into the hole.
        let last = self.nodes.len() as u32 - 1;
        let moved = self.nodes.swap_remove(node as usize);
        debug_assert_eq!(moved.hash, hash);
        if node != last {
            let Node { hash, older, newer } = self.nodes[node as usize];
            self.index.insert(hash, node);
            self.link(older, newer, node);
        }
        Some(hash)
    }

    /// Makes `node` the neighbour that `older` and `newer` see.
    fn link(&mut self, older: u32, newer: u32, node: u32) {
        match self.nodes.get_mut(older as usize) {
            Some(n) => n.newer = node,
            None => self.oldest = node,
        }
        match self.nodes.get_mut(newer as usize) {
            Some(n) => n.older = node,
            None => self.newest = node,
        }
    }

    fn unlink(&mut self, node: u32) {
        let Node { older, newer, .. } = self.nodes[node as usize];
        match self.nodes.get_mut(older as usize) {
            Some(n) => n.newer = newer,
            None => self.oldest = newer,
        }
        match self.nodes.get_mut(newer as usize) {
            Some(n) => n.older = older,
            None => self.newest = older,
        }
    }

    fn append(&mut self, node: u32) {
        let last = self.newest;
        self.nodes[node as usize].older = last;
        self.nodes[node as usize].newer = NONE;
        self.link(last, NONE, node);
    }
}
