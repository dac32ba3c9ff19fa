//! Paths that requests have to take in shares: prefill and decode on pairs of variants, as the plan has it.
//!
//! Where any endpoint will do there are no paths, since a router that sees load balances better than weights. Where a path is
//! a pair, load at its second stage is not seen when the first is chosen; then the request goes to the path that is
//! furthest behind its share, among those that have an endpoint of each of their variants.

use crate::endpoint::Slot;
use crate::pool::Pool;

/// A path and its share.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// Its variants, by number: one, or prefill then decode.
    pub variants: Vec<u32>,
    /// Share of requests, relative to those of other paths.
    pub share: f64,
}

/// What is forgotten with each request of those sent before.
const FORGET: f64 = 0.002;

/// How many requests took each path lately.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(Vec<(Vec<u32>, f64)>);

impl Taken {
    /// Leaves the candidates of the path whose turn it is; all of them where there are no paths, or none can be taken.
    pub fn restrict(&mut self, pool: &Pool, base: &mut Vec<Slot>) {
        let paths = pool.paths();
        if paths.is_empty() {
            return;
        }
        let variant = |slot: &Slot| pool.members.variant[slot.index()];
        let present = |number: &u32| base.iter().any(|s| variant(s) == Some(*number));
        let open = |path: &&Path| path.share > 0.0 && path.variants.iter().all(present);
        let open: Vec<&Path> = paths.iter().filter(open).collect();
        let shares: f64 = open.iter().map(|p| p.share).sum();
        let taken: f64 = open.iter().map(|p| self.of(p)).sum();
        let behind = |path: &Path| path.share / shares * (taken + 1.0) - self.of(path);
        let next = open.iter().max_by(|a, b| behind(a).total_cmp(&behind(b)));
        let Some(next) = next else { return };
        self.note(next, paths);
        base.retain(|slot| variant(slot).is_some_and(|v| next.variants.contains(&v)));
    }

    fn of(&self, path: &Path) -> f64 {
        let known = self
            .0
            .iter()
            .find(|(variants, _)| *variants == path.variants);
        known.map_or(0.0, |(_, taken)| *taken)
    }

    fn note(&mut self, next: &Path, paths: &[Path]) {
        self.0
            .retain(|(known, _)| paths.iter().any(|p| p.variants == *known));
        for (_, taken) in &mut self.0 {
            *taken *= 1.0 - FORGET;
        }
        match self.0.iter_mut().find(|(known, _)| *known == next.variants) {
            Some((_, taken)) => *taken += 1.0,
            None => self.0.push((next.variants.clone(), 1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::endpoint::Endpoint;
    use crate::pool::Directory;

    fn pool(variants: &[u32], paths: Vec<Path>) -> Pool {
        let mut directory = Directory::new();
        for (i, variant) in (1..).zip(variants) {
            directory.apply(Endpoint {
                variant: Some(*variant),
                ..Endpoint::new(SocketAddr::from(([10, 0, 0, i], 80)), "ns", &i.to_string())
            });
        }
        directory.set_paths(paths);
        directory.pool()
    }

    fn path(variants: &[u32], share: f64) -> Path {
        Path {
            variants: variants.to_vec(),
            share,
        }
    }

    /// Variants of the candidates that are left, request by request.
    fn left(pool: &Pool, requests: usize) -> Vec<Vec<u32>> {
        let mut taken = Taken::default();
        let one = |_| {
            let mut base: Vec<Slot> = pool.slots().collect();
            taken.restrict(pool, &mut base);
            base.iter()
                .filter_map(|s| pool.members.variant[s.index()])
                .collect()
        };
        (0..requests).map(one).collect()
    }

    #[test]
    fn paths_get_their_shares_at_once() {
        let pool = pool(
            &[0, 1, 2, 3],
            vec![path(&[0, 1], 0.75), path(&[2, 3], 0.25)],
        );
        let left = left(&pool, 400);
        for (n, window) in left.chunks(4).enumerate() {
            let first = window.iter().filter(|l| **l == [0, 1]).count();
            assert!((2..=4).contains(&first), "{n}: {window:?}");
        }
        let first = left.iter().filter(|l| **l == [0, 1]).count();
        assert!((296..=304).contains(&first), "{first}");
        assert!(left.iter().all(|l| *l == [0, 1] || *l == [2, 3]));
    }

    #[test]
    fn a_path_without_one_of_its_variants_is_left_to_others() {
        let missing = pool(&[0, 2, 3], vec![path(&[0, 1], 0.9), path(&[2, 3], 0.1)]);
        assert!(left(&missing, 20).iter().all(|l| *l == [2, 3]));
        let none = pool(&[0, 2], vec![path(&[0, 1], 0.9)]);
        assert_eq!(left(&none, 1), [[0, 2]]);
        let free = pool(&[0, 2], Vec::new());
        assert_eq!(left(&free, 1), [[0, 2]]);
    }
}
