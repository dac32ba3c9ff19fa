//! The answer of `wva predict`.

use serde::Serialize;
use wva_models::capacity::{Binding, Capacity};
use wva_models::latency::{Distribution, Load, Outcome};
use wva_models::service_class::ServiceClass;
use wva_models::units::DollarsPerHour;
use wva_models::variant::Variant;

use crate::condition::{self, Kind, Vocabulary};
use crate::console::{Answer, Page};
use crate::figures::{dollars, grouped, millis, percent, short};
use crate::table::{Cell, Table, Tone};

/// One replica under a load. What is absent has no steady state.
#[derive(Debug, Serialize)]
pub struct Predicted {
    variant: String,
    model: String,
    accelerator: String,
    price_per_hour_usd: f64,
    rate_rps: f64,
    input_tokens_mean: f64,
    output_tokens_mean: f64,
    stable: bool,
    /// Offered rate over the greatest sustainable one; absent when a request does not fit.
    utilization: Option<f64>,
    throughput_rps: Option<f64>,
    concurrency: Option<f64>,
    ttft_ms: Option<Latency>,
    itl_ms: Option<Latency>,
    e2e_ms: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    does_not_fit: Option<DoesNotFit>,
    #[serde(flatten)]
    under_slo: Option<UnderSlo>,
}

/// A latency in milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
}

#[derive(Debug, Serialize)]
struct DoesNotFit {
    needed_tokens: f64,
    available_tokens: f64,
}

/// What the replica sustains within a class's bounds.
#[derive(Debug, Serialize)]
struct UnderSlo {
    class: String,
    /// 0 when even an idle replica misses a bound.
    capacity_rps: f64,
    binding: Binding,
    /// Price of a million requests at capacity; absent without capacity.
    cost_per_million_requests_usd: Option<f64>,
    /// The binding bound's statistic when idle, where that alone breaks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_rest: Option<AtRest>,
}

/// What the bound that binds comes to on an idle replica: milliseconds, or tokens for the KV cache.
#[derive(Debug, Serialize)]
struct AtRest {
    value: f64,
    limit: f64,
}

impl Latency {
    fn new(d: &Distribution) -> Self {
        let at = |q| d.quantile(q) * 1e3;
        Self {
            mean: d.mean() * 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
        }
    }
}

impl Predicted {
    /// What the model says of a load.
    pub fn new(
        variant: &Variant,
        price: DollarsPerHour,
        load: &Load<'_>,
        outcome: Outcome,
    ) -> Self {
        let mut answer = Self {
            variant: variant.name.clone(),
            model: variant.model.clone(),
            accelerator: variant.accelerator.clone(),
            price_per_hour_usd: price.get(),
            rate_rps: load.rate,
            input_tokens_mean: load.shape.mean_input(),
            output_tokens_mean: load.shape.mean_output(),
            stable: false,
            utilization: None,
            throughput_rps: None,
            concurrency: None,
            ttft_ms: None,
            itl_ms: None,
            e2e_ms: None,
            does_not_fit: None,
            under_slo: None,
        };
        match outcome {
            Outcome::Stable(p) => {
                answer.stable = true;
                answer.utilization = Some(p.utilization);
                answer.throughput_rps = Some(p.throughput);
                answer.concurrency = Some(p.concurrency);
                answer.ttft_ms = Some(Latency::new(&p.ttft));
                answer.itl_ms = Some(Latency::new(&p.itl));
                answer.e2e_ms = Some(Latency::new(&p.e2e));
            }
            Outcome::Unstable { utilization } => answer.utilization = Some(utilization),
            Outcome::DoesNotFit {
                needed_tokens,
                available_tokens,
            } => {
                answer.does_not_fit = Some(DoesNotFit {
                    needed_tokens,
                    available_tokens,
                });
            }
        }
        answer
    }

    /// Adds the capacity under the SLO of a class.
    pub fn sustains(&mut self, class: &ServiceClass, capacity: Capacity) {
        let rate = capacity.rate();
        let at_rest = match capacity {
            Capacity::Sustains { .. } => None,
            Capacity::Infeasible {
                binding,
                at_rest,
                limit,
            } => {
                let unit = if binding == Binding::KvCache {
                    1.0
                } else {
                    1e3
                };
                Some(AtRest {
                    value: at_rest * unit,
                    limit: limit * unit,
                })
            }
        };
        self.under_slo = Some(UnderSlo {
            class: class.name.clone(),
            capacity_rps: rate,
            binding: capacity.binding(),
            cost_per_million_requests_usd: (rate > 0.0)
                .then(|| self.price_per_hour_usd / 3600.0 / rate * 1e6),
            at_rest,
        });
    }
}

impl Answer for Predicted {
    const VERB: &'static str = "predict";

    fn describe(&self, page: &mut Page) {
        page.line(format!(
            "{}: {} on {} at {} req/s, {} tokens in, {} out",
            self.variant,
            self.model,
            self.accelerator,
            short(self.rate_rps),
            grouped(self.input_tokens_mean),
            grouped(self.output_tokens_mean)
        ));
        let state = self.state(page);
        page.line(state);
        let mut table = Table::new(&["LATENCY", ">MEAN", ">P50", ">P90", ">P95", ">P99"]);
        let latencies = [
            ("time to first token", &self.ttft_ms),
            ("gap between tokens", &self.itl_ms),
            ("end to end", &self.e2e_ms),
        ];
        for (name, latency) in latencies {
            if let Some(l) = latency {
                let figures = [l.mean, l.p50, l.p90, l.p95, l.p99];
                table.row(
                    std::iter::once(name.into()).chain(figures.map(|v| Cell::from(millis(v)))),
                );
            }
        }
        page.table(&table);
        if let Some(slo) = &self.under_slo {
            slo.describe(page);
        }
    }
}

/// What `--fail-if` may look at.
pub fn vocabulary() -> Vocabulary {
    let named = |name: &str, kind| (name.to_owned(), kind);
    let mut metrics = vec![
        named("utilization", Kind::Share),
        named("throughput_rps", Kind::Number),
        named("concurrency", Kind::Number),
        named("capacity_rps", Kind::Number),
        named("cost_per_million_requests_usd", Kind::Money),
    ];
    metrics.extend(condition::latency_metrics());
    Vocabulary {
        metrics,
        ..Vocabulary::default()
    }
}

impl Predicted {
    /// A metric of the [`vocabulary`]; absent where there is no steady state or no class.
    pub fn figure(&self, metric: &str) -> Option<f64> {
        let latency = |l: &Option<Latency>, statistic: &str| {
            let l = l.as_ref()?;
            Some(match statistic {
                "mean" => l.mean,
                "p50" => l.p50,
                "p90" => l.p90,
                "p95" => l.p95,
                _ => l.p99,
            })
        };
        match metric.split_once('_') {
            Some((statistic, "ttft")) => latency(&self.ttft_ms, statistic),
            Some((statistic, "itl")) => latency(&self.itl_ms, statistic),
            Some((statistic, "e2e")) => latency(&self.e2e_ms, statistic),
            Some(("cost", _)) => self.under_slo.as_ref()?.cost_per_million_requests_usd,
            Some(("capacity", _)) => self.under_slo.as_ref().map(|slo| slo.capacity_rps),
            Some(_) => self.throughput_rps,
            None if metric == "utilization" => self.utilization,
            None => self.concurrency,
        }
    }

    fn state(&self, page: &Page) -> String {
        if let Some(fit) = &self.does_not_fit {
            let no = page.toned("does not fit", Tone::Bad);
            let (needed, available) = (grouped(fit.needed_tokens), grouped(fit.available_tokens));
            return format!(
                "{no}: the largest request needs {needed} KV-cache tokens, a replica has {available}"
            );
        }
        let used = percent(self.utilization.unwrap_or(f64::NAN));
        match self.concurrency {
            Some(n) => {
                let stable = page.toned("stable", Tone::Good);
                format!(
                    "{stable}: {used} of what it can serve, {} requests at a time",
                    short(n)
                )
            }
            None => {
                let unstable = page.toned("unstable", Tone::Bad);
                format!("{unstable}: {used} of what it can serve, so the queue grows without end")
            }
        }
    }
}

impl UnderSlo {
    fn describe(&self, page: &mut Page) {
        page.line("");
        match (&self.at_rest, self.cost_per_million_requests_usd) {
            (Some(at), _) => {
                let no = page.toned("infeasible", Tone::Bad);
                let show = |v: f64| {
                    if self.binding == Binding::KvCache {
                        format!("{} tokens", grouped(v))
                    } else {
                        millis(v)
                    }
                };
                let (value, limit) = (show(at.value), show(at.limit));
                page.line(format!(
                    "class {}: {no}: {} is {value} on an idle replica, the bound is {limit}",
                    self.class, self.binding
                ));
            }
            (None, cost) => page.line(format!(
                "class {}: sustains {} req/s within its SLO; {} binds; {} per million requests",
                self.class,
                short(self.capacity_rps),
                self.binding,
                cost.map_or("-".to_owned(), dollars)
            )),
        }
    }
}
