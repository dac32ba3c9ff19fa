//! Blocks: the parts of a problem that share no variant and no demand, and the limits that join them.
//!
//! Models rarely share variants, so a fleet falls into one block a model. Where stock is slack the blocks are solved
//! alone; a limit joins blocks only when their lone optima exceed it together.

use crate::levels::Candidate;
use crate::problem::{Limit, Problem, Route, Stage};

/// A part of a problem as a problem of its own, with the ordinals it came from.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub problem: Problem,
    pub variants: Vec<usize>,
    pub demands: Vec<usize>,
    pub routes: Vec<usize>,
    /// Ordinals of the limits that the block's problem holds.
    pub limits: Vec<usize>,
}

/// Disjoint sets with path halving.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// Ordinals of a part: variants, demands.
type Part = (Vec<usize>, Vec<usize>);

/// The parts that routes hold together; `joined` limits hold their variants together too.
fn parts(problem: &Problem, joined: &[usize]) -> Vec<Part> {
    let variants = problem.variants.len();
    let mut sets = Sets((0..variants + problem.demands.len()).collect());
    for route in &problem.routes {
        for stage in &route.stages {
            sets.join(stage.variant, variants + route.demand);
        }
    }
    for &l in joined {
        let members: Vec<usize> = members(problem, &problem.limits[l]).collect();
        for pair in members.windows(2) {
            sets.join(pair[0], pair[1]);
        }
    }
    let mut index = vec![usize::MAX; variants + problem.demands.len()];
    let mut out: Vec<Part> = Vec::new();
    for node in 0..index.len() {
        let root = sets.root(node);
        if index[root] == usize::MAX {
            index[root] = out.len();
            out.push(Part::default());
        }
        let part = &mut out[index[root]];
        if node < variants {
            part.0.push(node);
        } else {
            part.1.push(node - variants);
        }
    }
    out
}

/// Variants whose replicas or flows a limit counts.
fn members<'a>(problem: &'a Problem, limit: &'a Limit) -> impl Iterator<Item = usize> + 'a {
    let flows = limit
        .flows
        .iter()
        .flat_map(|&(r, _)| problem.routes[r].stages.iter().map(|s| s.variant));
    limit.replicas.iter().map(|&(v, _)| v).chain(flows)
}

/// The blocks of a problem when the limits in `joined` hold theirs together. Every block holds the limits that touch
/// only it; the others are returned as ordinals: they are joint.
pub(crate) fn split(problem: &Problem, joined: &[usize]) -> (Vec<Block>, Vec<usize>) {
    let parts = parts(problem, joined);
    let mut part_of_variant = vec![0; problem.variants.len()];
    let mut part_of_demand = vec![0; problem.demands.len()];
    let mut local_variant = vec![0; problem.variants.len()];
    let mut local_demand = vec![0; problem.demands.len()];
    for (p, (variants, demands)) in parts.iter().enumerate() {
        for (local, &v) in variants.iter().enumerate() {
            (part_of_variant[v], local_variant[v]) = (p, local);
        }
        for (local, &d) in demands.iter().enumerate() {
            (part_of_demand[d], local_demand[d]) = (p, local);
        }
    }
    let mut blocks: Vec<Block> = parts
        .into_iter()
        .map(|(variants, demands)| empty_block(problem, variants, demands))
        .collect();
    let mut local_route = vec![0; problem.routes.len()];
    for (r, route) in problem.routes.iter().enumerate() {
        let block = &mut blocks[part_of_demand[route.demand]];
        local_route[r] = block.routes.len();
        block.routes.push(r);
        block.problem.routes.push(Route {
            demand: local_demand[route.demand],
            stages: route
                .stages
                .iter()
                .map(|s| Stage {
                    variant: local_variant[s.variant],
                    load: s.load,
                })
                .collect(),
        });
    }
    let mut joint = Vec::new();
    for (l, limit) in problem.limits.iter().enumerate() {
        let mut owners = members(problem, limit).map(|v| part_of_variant[v]);
        let Some(owner) = owners.next() else { continue };
        if owners.any(|other| other != owner) {
            joint.push(l);
            continue;
        }
        blocks[owner].limits.push(l);
        blocks[owner].problem.limits.push(Limit {
            name: limit.name.clone(),
            at_most: limit.at_most,
            replicas: relabel(&limit.replicas, &local_variant),
            flows: relabel(&limit.flows, &local_route),
        });
    }
    (blocks, joint)
}

fn empty_block(problem: &Problem, variants: Vec<usize>, demands: Vec<usize>) -> Block {
    Block {
        problem: Problem {
            variants: variants
                .iter()
                .map(|&v| problem.variants[v].clone())
                .collect(),
            demands: demands
                .iter()
                .map(|&d| problem.demands[d].clone())
                .collect(),
            routes: Vec::new(),
            limits: Vec::new(),
            change_price: problem.change_price,
        },
        variants,
        demands,
        routes: Vec::new(),
        limits: Vec::new(),
    }
}

fn relabel(entries: &[(usize, f64)], local: &[usize]) -> Vec<(usize, f64)> {
    entries.iter().map(|&(i, c)| (local[i], c)).collect()
}

impl Block {
    /// Writes a candidate of this block into one of the whole problem.
    pub fn write(&self, own: &Candidate, whole: &mut Candidate) {
        for (&v, &y) in self.variants.iter().zip(&own.replicas) {
            whole.replicas[v] = y;
        }
        for (&r, &x) in self.routes.iter().zip(&own.shares) {
            whole.shares[r] = x;
        }
        for (&d, &s) in self.demands.iter().zip(&own.unmet) {
            whole.unmet[d] = s;
        }
    }

    /// This block's part of a candidate of the whole problem.
    pub fn read(&self, whole: &Candidate) -> Candidate {
        Candidate {
            replicas: self.variants.iter().map(|&v| whole.replicas[v]).collect(),
            shares: self.routes.iter().map(|&r| whole.shares[r]).collect(),
            unmet: self.demands.iter().map(|&d| whole.unmet[d]).collect(),
        }
    }
}
