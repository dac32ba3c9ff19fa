//! Non-negative least squares.

use nalgebra::{DMatrix, DVector};

/// argmin ‖a·x − b‖ over x ≥ 0, by the active-set method of Lawson and Hanson (*Solving Least Squares Problems*, 1974,
/// ch. 23). Columns are scaled to unit length first. For the few columns of a regression.
pub(super) fn nnls(a: &DMatrix<f64>, b: &DVector<f64>) -> DVector<f64> {
    let columns = a.ncols();
    let scale = DVector::from_fn(columns, |j, _| a.column(j).norm().max(f64::MIN_POSITIVE));
    let a = DMatrix::from_fn(a.nrows(), columns, |i, j| a[(i, j)] / scale[j]);
    let mut x = DVector::zeros(columns);
    let mut passive = vec![false; columns];
    for _ in 0..3 * columns {
        let slope = a.tr_mul(&(b - &a * &x));
        let next = (0..columns)
            .filter(|&j| !passive[j] && slope[j] > 1e-10 * b.norm())
            .max_by(|&i, &j| slope[i].total_cmp(&slope[j]));
        let Some(next) = next else { break };
        passive[next] = true;
        step(&a, b, &mut x, &mut passive);
    }
    x.component_div(&scale)
}

/// Moves to the least-squares solution over the passive set, dropping what would become negative on the way.
fn step(a: &DMatrix<f64>, b: &DVector<f64>, x: &mut DVector<f64>, passive: &mut [bool]) {
    while let Some(z) = solve(a, b, passive) {
        let blocked = (0..x.len())
            .filter(|&j| passive[j] && z[j] <= 0.0)
            .map(|j| (j, x[j] / (x[j] - z[j])))
            .min_by(|l, r| l.1.total_cmp(&r.1));
        let Some((_, fraction)) = blocked.filter(|(_, f)| f.is_finite()) else {
            *x = z;
            return;
        };
        *x += (z - &*x) * fraction;
        for j in 0..x.len() {
            if passive[j] && x[j] <= 1e-14 {
                passive[j] = false;
                x[j] = 0.0;
            }
        }
    }
}

fn solve(a: &DMatrix<f64>, b: &DVector<f64>, passive: &[bool]) -> Option<DVector<f64>> {
    let kept: Vec<usize> = (0..passive.len()).filter(|&j| passive[j]).collect();
    if kept.is_empty() {
        return None;
    }
    let solution = a
        .select_columns(&kept)
        .svd(true, true)
        .solve(b, 1e-12)
        .ok()?;
    let mut z = DVector::zeros(passive.len());
    for (&j, value) in kept.iter().zip(solution.iter()) {
        z[j] = *value;
    }
    Some(z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_unconstrained_answer_where_it_is_not_negative() {
        let a = DMatrix::from_row_slice(4, 2, &[1.0, 0.0, 1.0, 1.0, 1.0, 2.0, 1.0, 3.0]);
        let x = nnls(&a, &DVector::from_vec(vec![1.0, 3.0, 5.0, 7.0]));
        assert!(
            (x[0] - 1.0).abs() < 1e-10 && (x[1] - 2.0).abs() < 1e-10,
            "{x}"
        );
    }

    #[test]
    fn holds_at_zero_what_would_be_negative() {
        // y = 3 − x: the slope is held at 0 and the constant becomes the mean.
        let a = DMatrix::from_row_slice(3, 2, &[1.0, 0.0, 1.0, 1.0, 1.0, 2.0]);
        let x = nnls(&a, &DVector::from_vec(vec![3.0, 2.0, 1.0]));
        assert!((x[0] - 2.0).abs() < 1e-10 && x[1] == 0.0, "{x}");
        let x = nnls(&a, &DVector::from_vec(vec![-1.0, -1.0, -1.0]));
        assert_eq!(x, DVector::zeros(2));
    }

    #[test]
    fn satisfies_the_optimality_conditions_on_dependent_columns() {
        let a = DMatrix::from_fn(12, 5, |i, j| {
            let (i, j) = (i as f64, j as f64);
            (0.7 * i + 1.3 * j).sin() + if j > 3.0 { (0.7 * i).sin() } else { 0.0 }
        });
        let b = DVector::from_fn(12, |i, _| (0.4 * i as f64).cos());
        let x = nnls(&a, &b);
        let slope = a.tr_mul(&(&b - &a * &x));
        for j in 0..5 {
            assert!(x[j] >= 0.0);
            assert!(slope[j] < 1e-8, "{slope}");
            assert!(x[j] == 0.0 || slope[j].abs() < 1e-8, "{slope}");
        }
    }
}
