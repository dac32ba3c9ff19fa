//! Columns and rows of a program.

use good_lp::solvers::microlp::{MicroLpProblem, microlp};
use good_lp::{
    Expression, ProblemVariables, SolverModel, Variable, VariableDefinition, variable, variables,
};

use super::{Fleet, Program};

/// A column of the program and where the solver reports its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub position: usize,
    variable: Variable,
}

/// The columns whose values matter.
pub(super) struct Columns {
    pub replicas: Vec<Column>,
    pub shares: Vec<Option<Column>>,
    unmet: Vec<Option<Column>>,
}

/// Columns under construction, with the objective divided by `scale`.
struct Builder {
    variables: ProblemVariables,
    cost: Expression,
    scale: f64,
}

impl Builder {
    fn add(&mut self, definition: VariableDefinition, price: f64) -> Column {
        let position = self.variables.len();
        let variable = self.variables.add(definition);
        if price != 0.0 {
            self.cost.add_mul(price / self.scale, variable);
        }
        Column { position, variable }
    }
}

impl Program<'_> {
    /// The model with its objective divided by `scale`.
    pub(super) fn build(&self, scale: f64) -> (MicroLpProblem, Columns) {
        let mut builder = Builder {
            variables: variables!(),
            cost: Expression::default(),
            scale,
        };
        let columns = Columns {
            replicas: self.add_replicas(&mut builder),
            shares: self.add_shares(&mut builder),
            unmet: self.add_unmet(&mut builder),
        };
        let changes = self.add_changes(&mut builder);
        let mut model = builder.variables.minimise(builder.cost).using(microlp);
        self.constrain_demands(&mut model, &columns);
        self.constrain_variants(&mut model, &columns);
        self.constrain_limits(&mut model, &columns);
        self.constrain_levels(&mut model, &columns);
        for (v, change) in changes {
            let today = f64::from(self.problem.variants[v].current);
            let y = columns.replicas[v].variable;
            model.add_constraint((Expression::from(y) - change.variable).leq(today));
            model.add_constraint((Expression::from(change.variable) + y).geq(today));
        }
        (model, columns)
    }

    fn add_replicas(&self, builder: &mut Builder) -> Vec<Column> {
        (0..self.problem.variants.len())
            .map(|v| {
                let (low, high) = self.bounds(v);
                let definition = variable().clamp(low, high);
                let definition = match self.fleet {
                    Fleet::Integer => definition.integer(),
                    Fleet::Relaxed | Fleet::Fixed(_) => definition,
                };
                let change = self.linear_change(v).unwrap_or(0.0);
                builder.add(definition, self.objective.replica[v] + change)
            })
            .collect()
    }

    fn add_shares(&self, builder: &mut Builder) -> Vec<Option<Column>> {
        (0..self.problem.routes.len())
            .map(|r| {
                let usable = !self.occupancy.routes[r].is_empty();
                usable.then(|| builder.add(variable().min(0.0), self.objective.share[r]))
            })
            .collect()
    }

    fn add_unmet(&self, builder: &mut Builder) -> Vec<Option<Column>> {
        (0..self.problem.demands.len())
            .map(|d| {
                let level = self.levels.of[d];
                let served =
                    self.occupancy.of_demand[d].is_empty() || self.caps[level] == Some(0.0);
                let price = self.objective.unmet[level] * self.problem.demands[d].rate;
                (!served).then(|| builder.add(variable().min(0.0), price))
            })
            .collect()
    }

    /// |y − today| where it bends inside the bounds: a column that exceeds both y − today and today − y.
    fn add_changes(&self, builder: &mut Builder) -> Vec<(usize, Column)> {
        if self.objective.change == 0.0 {
            return Vec::new();
        }
        (0..self.problem.variants.len())
            .filter(|&v| self.linear_change(v).is_none())
            .map(|v| (v, builder.add(variable().min(0.0), self.objective.change)))
            .collect()
    }

    fn constrain_demands(&self, model: &mut MicroLpProblem, columns: &Columns) {
        for (d, routes) in self.occupancy.of_demand.iter().enumerate() {
            if routes.is_empty() {
                continue;
            }
            let mut sum = Expression::with_capacity(routes.len() + 1);
            for x in routes.iter().filter_map(|&r| columns.shares[r]) {
                sum.add_mul(1.0, x.variable);
            }
            if let Some(s) = columns.unmet[d] {
                sum.add_mul(1.0, s.variable);
            }
            model.add_constraint(sum.eq(1.0));
        }
    }

    fn constrain_variants(&self, model: &mut MicroLpProblem, columns: &Columns) {
        let count = self.problem.variants.len();
        let mut all = vec![Expression::default(); count];
        let mut interactive = vec![Expression::default(); count];
        let mut kinds = vec![(false, false); count];
        for (r, stages) in self.occupancy.routes.iter().enumerate() {
            let Some(x) = columns.shares[r] else { continue };
            let batch = self.problem.demands[self.problem.routes[r].demand].batch;
            for &(v, c) in stages {
                all[v].add_mul(c, x.variable);
                kinds[v].0 |= batch;
                if !batch {
                    interactive[v].add_mul(c, x.variable);
                    kinds[v].1 = true;
                }
            }
        }
        for (v, (mut all, mut interactive)) in all.into_iter().zip(interactive).enumerate() {
            let (has_batch, has_interactive) = kinds[v];
            let fill = self.problem.variants[v].fill;
            if has_interactive && !(has_batch && fill >= 1.0) {
                interactive.add_mul(-fill, columns.replicas[v].variable);
                model.add_constraint(interactive.leq(0.0));
            }
            if has_batch {
                all.add_mul(-1.0, columns.replicas[v].variable);
                model.add_constraint(all.leq(0.0));
            }
        }
    }

    fn constrain_limits(&self, model: &mut MicroLpProblem, columns: &Columns) {
        for limit in &self.problem.limits {
            let mut sum = Expression::with_capacity(limit.replicas.len() + limit.flows.len());
            let mut empty = true;
            for &(v, c) in &limit.replicas {
                sum.add_mul(c, columns.replicas[v].variable);
                empty = false;
            }
            for &(r, c) in &limit.flows {
                if let Some(x) = columns.shares[r] {
                    let rate = self.problem.demands[self.problem.routes[r].demand].rate;
                    sum.add_mul(c * rate, x.variable);
                    empty = false;
                }
            }
            if !empty {
                model.add_constraint(sum.leq(limit.at_most));
            }
        }
    }

    fn constrain_levels(&self, model: &mut MicroLpProblem, columns: &Columns) {
        for (level, cap) in self.caps.iter().enumerate() {
            let Some(cap) = cap.filter(|&c| c > 0.0) else {
                continue;
            };
            let scale = self.levels.rate[level];
            let mut sum = Expression::default();
            for (d, s) in columns.unmet.iter().enumerate() {
                if let Some(s) = s.filter(|_| self.levels.of[d] == level) {
                    sum.add_mul(self.problem.demands[d].rate / scale, s.variable);
                }
            }
            model.add_constraint(sum.leq(cap / scale));
        }
    }
}
