//! The variants as people ask about them: what the objects say, completed by what the controller says.
//!
//! Every figure is taken from the best source that has it: the controller's metrics (of the last cycle), else the status
//! of the `VariantAutoscaling` (of the last change), else what the HPA shows.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DynamicObject;
use serde::Serialize;
use wva_controllers::api::VariantAutoscalingStatus;
use wva_controllers::api::status::CurrentAllocation;
use wva_controllers::index::fleet::{Fleet, Path, Subject, VariantView, Way};
use wva_controllers::index::{Key, Kind};
use wva_models::service_class::{Bound, Slo, Statistic};
use wva_models::variant::Role;

use super::figures::{Figures, VariantFigures};
use super::objects::Objects;

/// One variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Model id.
    pub model: Option<String>,
    /// Accelerator.
    pub accelerator: Option<String>,
    /// Part of serving.
    pub role: Role,
    /// What is scaled, as `Deployment/llama`.
    pub target: String,
    /// The object that speaks for the variant, as `HorizontalPodAutoscaler/llama`.
    pub object: String,
    /// Who carries decisions out, and whether anybody does.
    pub mode: Mode,
    /// Why decisions are not carried out.
    pub remark: Option<String>,
    /// Replicas that exist.
    pub current: u32,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas that are wanted.
    pub desired: Option<u32>,
    /// Replicas of the plan, before stabilisation and limits.
    pub planned: Option<u32>,
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: Option<u32>,
    /// Codes of the reasons, most important first.
    pub reasons: Vec<String>,
    /// 1 − predicted / bound of the tightest objective.
    pub slo_margin: Option<f64>,
    /// Cost of the wanted replicas, US dollars per hour.
    pub cost_per_hour_usd: Option<f64>,
    /// Name of the service class.
    pub class: Option<String>,
    /// Time to first token.
    pub ttft: Latency,
    /// Gap between tokens.
    pub itl: Latency,
    /// Trust in the fitted model, 0 to 1.
    pub trust: Option<f64>,
    /// Age of the telemetry at the last cycle, seconds.
    pub data_age_s: Option<f64>,
    /// Age of the object, seconds.
    pub age_s: Option<f64>,
    /// Where decision and figures come from.
    pub source: Source,
}

/// Who carries decisions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decisions are carried out.
    Control,
    /// They are not.
    Advise,
    /// Replicas stay where they are because somebody said so.
    Paused,
    /// Replicas stay where they are because not enough is known.
    Held,
}

impl Mode {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Advise => "advise",
            Self::Paused => "paused",
            Self::Held => "held",
        }
    }
}

/// Where figures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The controller's metrics.
    Metrics,
    /// The status of the `VariantAutoscaling`.
    Status,
    /// The status of the HPA.
    Hpa,
    /// Nobody decided anything yet.
    None,
}

/// One latency, milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Mean measured lately.
    pub observed_ms: Option<f64>,
    /// Mean that the model expects.
    pub predicted_ms: Option<f64>,
    /// What was promised.
    pub slo: Option<Promised>,
}

/// A bound with the statistic that it holds for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promised {
    /// `mean`, `p99`, ...
    pub statistic: String,
    /// The bound, milliseconds.
    pub limit_ms: f64,
    /// What each thousand input tokens add, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_1k_input_tokens_ms: Option<f64>,
}

/// One entry per variant, in the order of the fleet.
pub fn roster(objects: &Objects, fleet: &Fleet, figures: Option<&Figures>, now: f64) -> Vec<Entry> {
    let of = |view: &VariantView| figures.and_then(|f| f.variants.get(&view.key));
    fleet
        .variants
        .iter()
        .map(|view| entry(objects, fleet, view, of(view), now))
        .collect()
}

fn entry(
    objects: &Objects,
    fleet: &Fleet,
    view: &VariantView,
    figures: Option<&VariantFigures>,
    now: f64,
) -> Entry {
    let said = Said::new(objects, view, figures);
    let gauge = |name: &str| figures.and_then(|f| f.gauge(name));
    let (class, slo) = promised(fleet, view);
    let latency = |observed, predicted, bound: Option<Bound>| Latency {
        observed_ms: observed,
        predicted_ms: gauge(predicted).map(|s| s * 1e3),
        slo: bound.map(Promised::of),
    };
    let status = said.status;
    let stated = |field: fn(&CurrentAllocation) -> &Option<String>| {
        field(status?.current_alloc.as_ref()?)
            .as_ref()?
            .parse()
            .ok()
    };
    let observed = |metric: &str, field| gauge(metric).map(|s| s * 1e3).or_else(|| stated(field));
    Entry {
        namespace: view.key.namespace.clone(),
        name: view.key.name.clone(),
        model: view.model.as_ref().map(|m| m.id.clone()),
        accelerator: view.accelerator.clone(),
        role: view.role,
        target: title(&view.target),
        object: title(&view.subject),
        mode: said.mode(),
        remark: said.remark(),
        current: view.existing,
        ready: view.ready(),
        desired: said.desired(),
        planned: figures.and_then(|f| f.count("planned_replicas")),
        min: view.min,
        max: view.max,
        reasons: said.reasons(),
        slo_margin: gauge("slo_margin_ratio").or_else(|| status.and_then(margin)),
        cost_per_hour_usd: gauge("cost_dollars_per_hour").or_else(|| said.cost(fleet)),
        class,
        ttft: latency(
            observed("observed_ttft_seconds", |a| &a.ttft_average),
            "predicted_ttft_seconds",
            slo.and_then(|s| s.ttft),
        ),
        itl: latency(
            observed("observed_itl_seconds", |a| &a.itl_average),
            "predicted_itl_seconds",
            slo.and_then(|s| s.itl),
        ),
        trust: gauge("model_trust_ratio"),
        data_age_s: gauge("data_age_seconds"),
        age_s: said.age(now),
        source: said.source(),
    }
}

/// What was said about one variant, by whom.
struct Said<'a> {
    view: &'a VariantView,
    figures: Option<&'a VariantFigures>,
    /// The controller's status, once it wrote one.
    status: Option<&'a VariantAutoscalingStatus>,
    hpa: Option<&'a DynamicObject>,
    subject: Option<&'a DynamicObject>,
}

impl<'a> Said<'a> {
    fn new(
        objects: &'a Objects,
        view: &'a VariantView,
        figures: Option<&'a VariantFigures>,
    ) -> Self {
        let find = |kind: Kind, name: &str| objects.find(kind, &view.key.namespace, name);
        let status = match &view.way {
            Way::Autoscaling { status, .. } => Some(status.as_ref()),
            _ => None,
        };
        Self {
            view,
            figures,
            status: status.filter(|s| s.desired_optimized_alloc.is_some()),
            hpa: match &view.path {
                Path::Hpa { name, .. } => find(Kind::HorizontalPodAutoscaler, name),
                _ => None,
            },
            subject: Kind::of(&view.subject.api_version, &view.subject.kind)
                .and_then(|kind| find(kind, &view.subject.name)),
        }
    }

    fn desired(&self) -> Option<u32> {
        let stated = || {
            let desired = self.status?.desired_optimized_alloc.as_ref()?;
            u32::try_from(desired.num_replicas?).ok()
        };
        let metric = self.figures.and_then(|f| f.count("desired_replicas"));
        metric.or_else(stated).or_else(|| self.asked_by_hpa())
    }

    /// What the HPA wants; without a metric it only repeats what there is, which nobody decided.
    fn asked_by_hpa(&self) -> Option<u32> {
        let status = self.hpa?.data.get("status")?;
        status
            .get("currentMetrics")?
            .as_array()
            .filter(|m| !m.is_empty())?;
        u32::try_from(status.get("desiredReplicas")?.as_u64()?).ok()
    }

    fn source(&self) -> Source {
        if self.figures.is_some() {
            Source::Metrics
        } else if self.status.is_some() {
            Source::Status
        } else if self.asked_by_hpa().is_some() {
            Source::Hpa
        } else {
            Source::None
        }
    }

    fn mode(&self) -> Mode {
        let held = match self.figures {
            Some(figures) => figures.gauge("decision_held") == Some(1.0),
            None => self
                .status
                .is_some_and(|s| s.mode.as_deref() == Some("held")),
        };
        match &self.view.path {
            _ if self.view.paused => Mode::Paused,
            Path::Advice { .. } => Mode::Advise,
            _ if held => Mode::Held,
            _ => Mode::Control,
        }
    }

    fn remark(&self) -> Option<String> {
        match &self.view.path {
            Path::Advice { text, .. } => Some(text.clone()),
            _ => None,
        }
    }

    fn reasons(&self) -> Vec<String> {
        match (self.figures, self.status) {
            (Some(figures), _) => figures.reasons.clone(),
            (None, Some(status)) => status.reason.iter().cloned().collect(),
            (None, None) => Vec::new(),
        }
    }

    /// What the status says, or else price × devices × replicas.
    fn cost(&self, fleet: &Fleet) -> Option<f64> {
        let stated = self
            .status
            .and_then(|s| s.cost_per_hour.as_ref()?.parse().ok());
        let priced = || {
            let name = self.view.accelerator.as_deref()?;
            let accelerator = fleet.accelerators.iter().find(|a| a.name == name)?;
            Some(accelerator.price_per_hour_usd?.get() * f64::from(self.view.devices))
        };
        let replicas = self.desired().unwrap_or(self.view.existing);
        stated.or_else(|| Some(self.view.cost.or_else(priced)? * f64::from(replicas)))
    }

    fn age(&self, now: f64) -> Option<f64> {
        let Time(created) = self.subject?.metadata.creation_timestamp.as_ref()?;
        Some((now - created.as_millisecond() as f64 / 1e3).max(0.0))
    }
}

/// The margin as a fraction; statuses have it in per cent.
fn margin(status: &VariantAutoscalingStatus) -> Option<f64> {
    let text = status.slo_margin.as_ref()?;
    let percent: f64 = text.trim().trim_end_matches('%').trim().parse().ok()?;
    Some(percent / 100.0)
}

fn title(subject: &Subject) -> String {
    format!("{}/{}", subject.kind, subject.name)
}

/// Name and objective of the main class of a variant's model.
fn promised<'a>(fleet: &'a Fleet, view: &VariantView) -> (Option<String>, Option<&'a Slo>) {
    let name = view
        .model
        .as_ref()
        .and_then(|m| fleet.model_classes.get(m)?.first());
    let class = name.and_then(|name| fleet.classes.iter().find(|c| c.name == *name));
    (name.cloned(), class.and_then(|c| c.slo()))
}

impl Promised {
    fn of(bound: Bound) -> Self {
        let per_1k = bound.per_input_token.get() * 1e6;
        Self {
            statistic: match bound.statistic {
                Statistic::Mean => "mean".to_owned(),
                Statistic::Quantile(q) => format!("p{}", (q * 1e4).round() / 1e2),
            },
            limit_ms: bound.limit.get() * 1e3,
            per_1k_input_tokens_ms: (per_1k > 0.0).then_some(per_1k),
        }
    }
}

impl Entry {
    /// Namespace and name.
    pub fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }
}
