//! Objectives below the physical floor: said at once, with the floor, instead of "infeasible" after a search.

use std::fmt;

use super::{Catalogue, CatalogueError, Place};
use crate::service_class::{Bound, ServiceClass, Statistic};
use crate::shape::{RequestShape, ShapePoint};
use crate::variant::{Role, Variant};

/// Which latency a floor is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencyKind {
    /// Time to first token.
    Ttft,
    /// Gap between output tokens.
    Itl,
    /// Arrival to last token.
    E2e,
}

impl LatencyKind {
    /// What the floor is made of, in words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ttft => "2 · active parameters · computed input tokens at peak FLOP/s",
            Self::Itl => "one read of the active weights and the context at full bandwidth",
            Self::E2e => "prefill at peak FLOP/s, then one read of weights and context a token",
        }
    }
}

impl fmt::Display for LatencyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ttft => "TTFT",
            Self::Itl => "ITL",
            Self::E2e => "end-to-end latency",
        })
    }
}

impl Catalogue {
    /// Whether physics allows the class's bounds for a model under a shape: each bound has to be above the floor of at
    /// least one variant (end-to-end: the best prefill and the best decode together). A class without bounds and a model
    /// without variants pass. `origin` names the file in errors.
    ///
    /// # Errors
    /// [`CatalogueError::BelowFloor`] for the first bound that no variant can meet.
    pub fn check_floor(
        &self,
        class: &ServiceClass,
        model: &str,
        shape: &RequestShape,
        origin: &str,
    ) -> Result<(), CatalogueError> {
        let Some(slo) = class.slo() else {
            return Ok(());
        };
        for (kind, bound) in [
            (LatencyKind::Ttft, slo.ttft),
            (LatencyKind::Itl, slo.itl),
            (LatencyKind::E2e, slo.e2e),
        ] {
            let Some((bound, (floor, variant))) =
                bound.and_then(|b| Some((b, self.least_floor(kind, &b, model, shape)?)))
            else {
                continue;
            };
            if floor > bound.limit.get() {
                return Err(CatalogueError::BelowFloor {
                    place: Place::file(origin),
                    class: class.name.as_str().into(),
                    model: model.into(),
                    kind,
                    statistic: bound.statistic,
                    limit_ms: bound.limit.as_millis(),
                    floor_ms: floor * 1e3,
                    variant: variant.into(),
                });
            }
        }
        Ok(())
    }

    /// The least floor over the variants, in seconds, and the variant that has it.
    fn least_floor(
        &self,
        kind: LatencyKind,
        bound: &Bound,
        model: &str,
        shape: &RequestShape,
    ) -> Option<(f64, String)> {
        let variants: Vec<&Variant> = self.variants_of(model).collect();
        let prefill = |p: &ShapePoint| {
            least(&variants, Role::Decode, |v| {
                self.roofline(v).ttft_floor(p, shape.prefix_hit())
            })
        };
        let decode =
            |p: &ShapePoint| least(&variants, Role::Prefill, |v| self.roofline(v).itl_floor(p));
        let candidates = variants.iter().filter(|v| match kind {
            LatencyKind::Ttft => v.role != Role::Decode,
            LatencyKind::Itl => v.role != Role::Prefill,
            LatencyKind::E2e => true,
        });
        candidates
            .map(|v| {
                let roofline = self.roofline(v);
                let floor = |p: &ShapePoint| match kind {
                    LatencyKind::Ttft => roofline.ttft_floor(p, shape.prefix_hit()),
                    LatencyKind::Itl if p.output <= 1.0 => 0.0,
                    LatencyKind::Itl => roofline.itl_floor(p),
                    LatencyKind::E2e => prefill(p) + (p.output - 1.0) * decode(p),
                };
                (beyond_allowance(bound, shape, floor), v.name.clone())
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
    }
}

/// The bound's statistic of a latency less the allowance for the request's own input, seconds.
fn beyond_allowance(
    bound: &Bound,
    shape: &RequestShape,
    latency: impl Fn(&ShapePoint) -> f64,
) -> f64 {
    let beyond = |p: &ShapePoint| latency(p) - bound.per_input_token.get() * p.input;
    match bound.statistic {
        Statistic::Mean => shape.mean_of(beyond),
        Statistic::Quantile(q) => shape.quantile_of(q, beyond),
    }
}

fn least(variants: &[&Variant], not: Role, f: impl Fn(&Variant) -> f64) -> f64 {
    variants
        .iter()
        .filter(|v| v.role != not)
        .map(|v| f(v))
        .fold(f64::INFINITY, f64::min)
}
