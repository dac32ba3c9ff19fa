//! What makes a [`Problem`] well formed: every ordinal exists, every number is finite, not negative and of a sane size,
//! and the minimums fit under the limits.
//!
//! A well-formed problem always has a plan: minimum replicas, everything unmet. Whatever cannot be served is therefore
//! an outcome of the plan and never an error.

use super::{Limit, Problem, Route};

/// Largest number that a problem may hold: far beyond any fleet, and small enough that sums and products of a few of
/// them keep their precision.
const LARGEST: f64 = 1e12;

/// Greatest minimum: solvers hold replicas as 32-bit signed integers.
const MOST_MINIMUM: u32 = 1_000_000_000;

/// Why a problem is not well formed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProblemError {
    /// A number is NaN, infinite, or outside its domain.
    #[error("{quantity} of {owner} must be {domain}, not {value}")]
    Number {
        /// Which number.
        quantity: &'static str,
        /// Whose number: a variant, a demand, a route, a limit.
        owner: String,
        /// Its domain in words.
        domain: &'static str,
        /// The offending number.
        value: f64,
    },
    /// An ordinal points outside the problem.
    #[error("{owner} refers to {what} {ordinal}, but there are only {count}")]
    Ordinal {
        /// Who refers.
        owner: String,
        /// To what kind of thing.
        what: &'static str,
        /// The ordinal.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The fewest replicas of a variant exceed its most.
    #[error("variant {variant} must have at least {min} replicas and at most {max}")]
    Bounds {
        /// Variant name.
        variant: String,
        /// Fewest replicas.
        min: u32,
        /// Most replicas.
        max: u32,
    },
    /// A route passes through no variant.
    #[error("route {route} passes through no variant")]
    EmptyRoute {
        /// Ordinal of the route.
        route: usize,
    },
    /// The minimum replicas alone exceed a limit; [`Problem::reconcile`] lowers them.
    #[error("minimum replicas use {used} of {limit}, which has only {at_most}")]
    MinimumsExceedLimit {
        /// Name of the limit.
        limit: String,
        /// What the minimums use.
        used: f64,
        /// What there is.
        at_most: f64,
    },
}

impl Problem {
    /// Checks that the problem is well formed; linear in its size.
    ///
    /// # Errors
    /// The first [`ProblemError`] found: an ordinal out of range, a number that is not finite, negative or above 10¹²,
    /// min > max, a route without stages, or minimums that exceed a limit.
    pub fn validate(&self) -> Result<(), ProblemError> {
        quantity("change price", || "the problem".into(), self.change_price)?;
        self.validate_variants()?;
        for d in &self.demands {
            quantity(
                "rate",
                || format!("demand {}/{}/{}", d.model, d.class, d.bucket),
                d.rate,
            )?;
        }
        for (r, route) in self.routes.iter().enumerate() {
            self.validate_route(r, route)?;
        }
        self.limits
            .iter()
            .try_for_each(|limit| self.validate_limit(limit))?;
        self.limits.iter().try_for_each(|limit| {
            let used = self.minimum_use(limit);
            if used > limit.at_most * (1.0 + 1e-9) + 1e-9 {
                return Err(ProblemError::MinimumsExceedLimit {
                    limit: limit.name.clone(),
                    used,
                    at_most: limit.at_most,
                });
            }
            Ok(())
        })
    }

    /// What the minimum replicas use of `limit`.
    pub(super) fn minimum_use(&self, limit: &Limit) -> f64 {
        limit
            .replicas
            .iter()
            .filter_map(|&(v, c)| Some(c * f64::from(self.variants.get(v)?.min)))
            .sum()
    }

    fn validate_variants(&self) -> Result<(), ProblemError> {
        for v in &self.variants {
            quantity("price", || format!("variant {}", v.name), v.price)?;
            if !(v.fill > 0.0 && v.fill <= 1.0) {
                return Err(ProblemError::Number {
                    quantity: "fill",
                    owner: format!("variant {}", v.name),
                    domain: "above 0 and at most 1",
                    value: v.fill,
                });
            }
            if v.min > MOST_MINIMUM {
                return Err(ProblemError::Number {
                    quantity: "minimum",
                    owner: format!("variant {}", v.name),
                    domain: "at most 10^9",
                    value: f64::from(v.min),
                });
            }
            if v.min > v.max {
                return Err(ProblemError::Bounds {
                    variant: v.name.clone(),
                    min: v.min,
                    max: v.max,
                });
            }
        }
        Ok(())
    }

    fn validate_route(&self, r: usize, route: &Route) -> Result<(), ProblemError> {
        let owner = || format!("route {r}");
        ordinal(owner, "demand", route.demand, self.demands.len())?;
        if route.stages.is_empty() {
            return Err(ProblemError::EmptyRoute { route: r });
        }
        for stage in &route.stages {
            ordinal(owner, "variant", stage.variant, self.variants.len())?;
            quantity("load", owner, stage.load)?;
        }
        Ok(())
    }

    fn validate_limit(&self, limit: &Limit) -> Result<(), ProblemError> {
        let owner = || format!("limit {}", limit.name);
        quantity("amount", owner, limit.at_most)?;
        for &(v, c) in &limit.replicas {
            ordinal(owner, "variant", v, self.variants.len())?;
            quantity("use per replica", owner, c)?;
        }
        for &(r, c) in &limit.flows {
            ordinal(owner, "route", r, self.routes.len())?;
            quantity("use per request/s", owner, c)?;
        }
        Ok(())
    }
}

fn quantity(
    quantity: &'static str,
    owner: impl Fn() -> String,
    value: f64,
) -> Result<(), ProblemError> {
    if (0.0..=LARGEST).contains(&value) {
        return Ok(());
    }
    Err(ProblemError::Number {
        quantity,
        owner: owner(),
        domain: "a finite number from 0 to 10^12",
        value,
    })
}

fn ordinal(
    owner: impl Fn() -> String,
    what: &'static str,
    ordinal: usize,
    count: usize,
) -> Result<(), ProblemError> {
    if ordinal < count {
        return Ok(());
    }
    Err(ProblemError::Ordinal {
        owner: owner(),
        what,
        ordinal,
        count,
    })
}
