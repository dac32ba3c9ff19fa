//! The prefix index against a plain one.

use crate::common::{address, endpoint, idle, slots};
use proptest::prelude::*;
use wva_epp_core::endpoint::{CacheConfig, Metrics};
use wva_epp_core::prefix::{PrefixIndex, PrefixLimits};

/// The same index, as plain as can be: for each endpoint its hashes, least recently used first.
struct Plain {
    held: Vec<Vec<u64>>,
    capacity: usize,
}

impl Plain {
    fn touch(&mut self, pod: usize, chain: &[u64]) {
        for &hash in chain[..chain.len().min(self.capacity)].iter().rev() {
            self.held[pod].retain(|h| *h != hash);
            self.held[pod].push(hash);
            if self.held[pod].len() > self.capacity {
                self.held[pod].remove(0);
            }
        }
    }

    fn matched(&self, chain: &[u64]) -> Vec<u32> {
        let of = |held: &Vec<u64>| chain.iter().take_while(|h| held.contains(h)).count() as u32;
        self.held.iter().map(of).collect()
    }
}

fn limits(blocks: usize) -> PrefixLimits {
    PrefixLimits {
        default_blocks: blocks,
        learn_capacity: false,
        ..PrefixLimits::default()
    }
}

/// A path in a small tree of prompts: `branch` says where prompts part.
fn chain(steps: &[u8]) -> Vec<u64> {
    let mut hash = 1_u64;
    let step = |s: &u8| {
        hash = hash
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(u64::from(*s) + 1);
        hash
    };
    steps.iter().map(step).collect()
}

proptest! {
    #[test]
    fn matches_the_plain_index(
        pods in 1_usize..80,
        capacity in 1_usize..12,
        steps in proptest::collection::vec((0_usize..80, proptest::collection::vec(0_u8..3, 0..8)), 1..200),
    ) {
        let (_, pool) = idle(pods);
        let mut index = PrefixIndex::new(limits(capacity));
        index.follow(&pool);
        let mut plain = Plain { held: vec![Vec::new(); pods], capacity };
        let (slots, mut matched) = (slots(&pool), Vec::new());
        for (pod, path) in steps {
            let chain = chain(&path);
            index.matched(&chain, &mut matched);
            prop_assert_eq!(&matched, &plain.matched(&chain));
            index.touch(slots[pod % pods], &chain);
            plain.touch(pod % pods, &chain);
            prop_assert!(index.len() <= capacity * pods);
        }
    }
}

#[test]
fn endpoints_that_are_gone_are_forgotten() {
    let (mut directory, pool) = idle(70);
    let mut index = PrefixIndex::new(limits(100));
    index.follow(&pool);
    let chain = chain(&[1, 2, 3]);
    slots(&pool).iter().for_each(|s| index.touch(*s, &chain));
    assert_eq!(index.len(), 210);
    for i in 0..69 {
        directory.remove(&address(i));
    }
    directory.apply(endpoint(0));
    index.follow(&directory.pool());
    let mut matched = Vec::new();
    index.matched(&chain, &mut matched);
    assert_eq!((index.len(), matched.iter().sum::<u32>()), (3, 3));
    directory.remove(&address(69));
    index.follow(&directory.pool());
    assert!(index.is_empty());
}

#[test]
fn capacity_follows_the_kv_cache_within_the_bound_on_all() {
    let (mut directory, pool) = idle(4);
    let limits = PrefixLimits {
        total_blocks: 400,
        default_blocks: 1000,
        ..PrefixLimits::default()
    };
    let mut index = PrefixIndex::new(limits);
    index.follow(&pool);
    let chain: Vec<u64> = (1..=300).collect();
    slots(&pool).iter().for_each(|s| index.touch(*s, &chain));
    assert_eq!(index.len(), 400, "a quarter of 400 each");
    let cache = Some(CacheConfig {
        block_tokens: 16,
        blocks: 40,
    });
    directory.observe(
        &address(2),
        &Metrics {
            cache,
            ..Metrics::default()
        },
    );
    index.follow(&directory.pool());
    let mut matched = Vec::new();
    index.matched(&chain, &mut matched);
    assert_eq!(
        matched,
        [100, 100, 10, 100],
        "640 tokens are ten blocks; what goes is the end"
    );
}
