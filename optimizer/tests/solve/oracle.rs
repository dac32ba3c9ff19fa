//! Brute force: every fleet within the bounds, and for each the lexicographic division of traffic by a textbook dense
//! simplex that shares no code with the solver under test.

use wva_models::units::Seconds;
use wva_optimizer::problem::Problem;
use wva_optimizer::solve::{SolveSettings, solve};
use wva_optimizer::verify::verify;

use crate::instances::small;

/// max c·x subject to A·x ≤ b, x ≥ 0 with b ≥ 0: primal simplex with Bland's rule on a dense tableau.
fn maximise(rows: &[Vec<f64>], b: &[f64], c: &[f64]) -> (f64, Vec<f64>) {
    let (m, n) = (rows.len(), c.len());
    let mut t = vec![vec![0.0; n + m + 1]; m + 1];
    for i in 0..m {
        t[i][..n].copy_from_slice(&rows[i]);
        t[i][n + i] = 1.0;
        t[i][n + m] = b[i];
    }
    for j in 0..n {
        t[m][j] = -c[j];
    }
    let mut basis: Vec<usize> = (n..n + m).collect();
    while let Some(j) = (0..n + m).find(|&j| t[m][j] < -1e-11) {
        let mut pivot: Option<usize> = None;
        for i in (0..m).filter(|&i| t[i][j] > 1e-11) {
            let better = pivot.is_none_or(|p| {
                let (ri, rp) = (t[i][n + m] / t[i][j], t[p][n + m] / t[p][j]);
                ri < rp - 1e-13 || (ri <= rp + 1e-13 && basis[i] < basis[p])
            });
            if better {
                pivot = Some(i);
            }
        }
        let i = pivot.expect("service is bounded");
        let by = t[i][j];
        t[i].iter_mut().for_each(|x| *x /= by);
        let row = t[i].clone();
        for (k, other) in t.iter_mut().enumerate() {
            let factor = other[j];
            if k != i && factor != 0.0 {
                other
                    .iter_mut()
                    .zip(&row)
                    .for_each(|(x, r)| *x -= factor * r);
            }
        }
        basis[i] = j;
    }
    let mut x = vec![0.0; n];
    for (i, &j) in basis.iter().enumerate() {
        if j < n {
            x[j] = t[i][n + m];
        }
    }
    (t[m][n + m], x)
}

/// Most served requests/s level by level with a given fleet, or `None` when a limit is exceeded.
fn served(problem: &Problem, fleet: &[u32], priorities: &[i32]) -> Option<Vec<f64>> {
    let (mut rows, mut b) = (Vec::new(), Vec::new());
    let rate = |r: usize| problem.demands[problem.routes[r].demand].rate;
    let n = problem.routes.len();
    for d in 0..problem.demands.len() {
        rows.push(
            (0..n)
                .map(|r| f64::from(u8::from(problem.routes[r].demand == d)))
                .collect(),
        );
        b.push(1.0);
    }
    for (v, option) in problem.variants.iter().enumerate() {
        for interactive_only in [false, true] {
            rows.push(
                (0..n)
                    .map(|r| {
                        let route = &problem.routes[r];
                        let counts = !(interactive_only && problem.demands[route.demand].batch);
                        let stages = route.stages.iter().filter(|s| counts && s.variant == v);
                        stages.map(|s| rate(r) * s.load).sum()
                    })
                    .collect(),
            );
            let fill = if interactive_only { option.fill } else { 1.0 };
            b.push(fill * f64::from(fleet[v]));
        }
    }
    for limit in &problem.limits {
        let used: f64 = limit
            .replicas
            .iter()
            .map(|&(v, c)| c * f64::from(fleet[v]))
            .sum();
        if used > limit.at_most + 1e-9 {
            return None;
        }
        let mut row = vec![0.0; n];
        for &(r, c) in &limit.flows {
            row[r] += c * rate(r);
        }
        rows.push(row);
        b.push(limit.at_most - used);
    }
    // One after the other: a level already settled weighs so much more that the next cannot buy any of it back. The
    // weights are exact enough here because rates are of order one and there are at most three levels.
    let mut out = Vec::new();
    let mut weights = vec![0.0; n];
    for (k, &p) in priorities.iter().enumerate() {
        for (r, weight) in weights.iter_mut().enumerate() {
            if problem.demands[problem.routes[r].demand].priority == p {
                *weight = rate(r) * 1e-4_f64.powi(k as i32);
            }
        }
        let (_, x) = maximise(&rows, &b, &weights);
        let of_level = (0..n).filter(|&r| problem.demands[problem.routes[r].demand].priority == p);
        out.push(of_level.map(|r| rate(r) * x[r]).sum());
    }
    Some(out)
}

/// (served by level, money) of the best fleet.
fn best(problem: &Problem, priorities: &[i32]) -> (Vec<f64>, f64) {
    let mut best: Option<(Vec<f64>, f64)> = None;
    let mut fleet: Vec<u32> = problem.variants.iter().map(|v| v.min).collect();
    loop {
        if let Some(service) = served(problem, &fleet, priorities) {
            let money: f64 = problem
                .variants
                .iter()
                .zip(&fleet)
                .map(|(v, &y)| {
                    v.price * f64::from(y) + problem.change_price * f64::from(y.abs_diff(v.current))
                })
                .sum();
            if best
                .as_ref()
                .is_none_or(|b| better(&(service.clone(), money), b))
            {
                best = Some((service, money));
            }
        }
        let Some(v) = (0..fleet.len()).find(|&v| fleet[v] < problem.variants[v].max) else {
            return best.expect("the minimum fleet is within the limits");
        };
        fleet[v] += 1;
        for (y, option) in fleet.iter_mut().zip(&problem.variants).take(v) {
            *y = option.min;
        }
    }
}

fn better(a: &(Vec<f64>, f64), b: &(Vec<f64>, f64)) -> bool {
    for (x, y) in a.0.iter().zip(&b.0) {
        if (x - y).abs() > 2e-5 {
            return x > y;
        }
    }
    a.1 < b.1 - 1e-9
}

pub fn exact() -> SolveSettings {
    SolveSettings {
        time_limit: Seconds::new(60.0).expect("finite"),
        gap: 0.0,
        nodes: 1_000_000,
    }
}

#[test]
fn agrees_with_brute_force() {
    let mut short = 0;
    for seed in 0..600 {
        let problem = small(seed);
        let mut priorities: Vec<i32> = problem.demands.iter().map(|d| d.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        let plan = solve(&problem, &exact()).expect("well formed");
        assert_eq!(verify(&problem, &plan), vec![], "seed {seed}");
        let (service, money) = best(&problem, &priorities);
        for (p, expected) in priorities.iter().zip(&service) {
            let demands = problem.demands.iter().zip(&plan.unmet);
            let got: f64 = demands
                .filter(|(d, _)| d.priority == *p)
                .map(|(d, s)| d.rate * (1.0 - s))
                .sum();
            assert!(
                (got - expected).abs() < 1e-4,
                "seed {seed} level {p}: {got} not {expected}"
            );
        }
        let changes: f64 = problem
            .variants
            .iter()
            .zip(&plan.replicas)
            .map(|(v, &y)| problem.change_price * f64::from(y.abs_diff(v.current)))
            .sum();
        let got = plan.cost + changes;
        assert!(
            (got - money).abs() < 1e-6,
            "seed {seed}: {got} $/h, not {money}: {plan:?}"
        );
        assert!(plan.gap() < 1e-6, "seed {seed}: not proven: {plan:?}");
        short += u32::from(!plan.serves_all());
    }
    assert!(
        (60..540).contains(&short),
        "instances are one-sided: {short} of 600 short"
    );
}
