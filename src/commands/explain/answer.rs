//! The answer of `wva explain`.

use serde::Serialize;
use wva_optimizer::decision::Decision;
use wva_optimizer::planner::{CapacityTable, plan};
use wva_optimizer::problem::ProblemError;
use wva_optimizer::step::plan_input;

use super::moment::{Cause, Moment, Wanted};
use crate::commands::plan::answer::{Answered, Limits, Other, Priced};
use crate::console::{Answer, Page};
use crate::diagnostic::Diagnostic;
use crate::figures::{age, dollars, seconds, short};
use crate::table::{Cell, Table, Tone};

/// Why the decisions of one cycle were taken.
#[derive(Debug, Serialize)]
pub struct Explained {
    at_s: f64,
    decisions: Vec<Decision>,
    why: Vec<Why>,
    /// What limits a replica of each variant in use; empty from a log alone, as the rest is.
    binding: Vec<Limits>,
    /// The next-best mix.
    runner_up: Option<Other>,
    /// What changes of bounds and stock would save.
    prices: Vec<Priced>,
    /// Cost of the fleet that the cycle planned.
    cost_per_hour_usd: Option<f64>,
    /// What the cluster says beside it; absent for files.
    #[serde(flatten)]
    live: Option<Live>,
}

/// What the cluster says of a variant beside the decision.
#[derive(Debug, Serialize)]
pub struct Live {
    /// Age of the decision, seconds.
    pub age_s: Option<f64>,
    /// `control`, `advise`, `paused` or `held`.
    pub mode: &'static str,
    /// Why decisions are not carried out.
    pub remark: Option<String>,
    /// Conditions of the object that do not hold.
    pub conditions: Vec<Said>,
    /// What was told lately, the latest first.
    pub events: Vec<Said>,
}

/// Something that the cluster says.
#[derive(Debug, Serialize)]
pub struct Said {
    /// Type of a condition, or age of an event.
    pub what: String,
    /// Stable code.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// One reason.
#[derive(Debug, Serialize)]
struct Why {
    variant: String,
    code: String,
    text: String,
}

impl Explained {
    /// Plans once more from what the cycle saw, and asks what else could have been done.
    pub fn new(moment: &Moment, wanted: &Wanted<'_>) -> Result<Self, Diagnostic> {
        let decisions: Vec<Decision> = moment
            .decisions
            .iter()
            .filter(|d| wanted.concerns(d))
            .cloned()
            .collect();
        let plan = moment.cause.as_ref().map(planned).transpose();
        let plan = plan.map_err(|e| Diagnostic::new(format!("the cycle could not plan: {e}")))?;
        let why = decisions.iter().flat_map(|d| {
            d.reasons.iter().map(|r| Why {
                variant: d.variant.clone(),
                code: r.code.clone(),
                text: r.text.clone(),
            })
        });
        let mut answer = Self {
            at_s: moment.at,
            why: why.collect(),
            decisions,
            binding: Vec::new(),
            runner_up: None,
            prices: Vec::new(),
            cost_per_hour_usd: None,
            live: None,
        };
        if let Some(plan) = plan {
            let about = |l: &Limits| wanted.variant.is_none_or(|v| v == l.variant);
            answer.cost_per_hour_usd = Some(plan.cost_per_hour_usd);
            answer.binding = plan.binding.into_iter().filter(about).collect();
            answer.runner_up = plan.alternatives.into_iter().next();
            answer.prices = plan.prices;
        }
        Ok(answer)
    }

    /// The same with what the cluster says.
    pub fn with(self, live: Live) -> Self {
        Self {
            live: Some(live),
            ..self
        }
    }
}

fn planned(cause: &Cause) -> Result<Answered, ProblemError> {
    let input = plan_input(&cause.autoscaler, &cause.snapshot, cause.state.clone());
    let planned = plan(&input, &mut CapacityTable::default())?;
    Answered::new(&input, &planned)
}

impl Answer for Explained {
    const VERB: &'static str = "explain";

    fn describe(&self, page: &mut Page) {
        match &self.live {
            None => page.line(format!("at {}:", seconds(self.at_s))),
            Some(live) => live.introduce(page),
        }
        let mut table = Table::new(&["VARIANT", ">NOW", ">PLAN", ">TARGET", "WHY"]);
        for d in &self.decisions {
            let tone = if d.target == d.current {
                Tone::Plain
            } else {
                Tone::Strong
            };
            let reasons = || d.reasons.iter().map(|r| r.text.as_str());
            table.row([
                Cell::toned(d.variant.as_str(), tone),
                d.current.to_string().into(),
                d.planned.to_string().into(),
                Cell::toned(d.target.to_string(), tone),
                reasons().next().unwrap_or("nothing asks for it").into(),
            ]);
            for reason in reasons().skip(1) {
                table.row(["".into(), "".into(), "".into(), "".into(), reason.into()]);
            }
        }
        page.table(&table);
        self.limits(page);
        if let Some(other) = &self.runner_up {
            page.title("Runner-up");
            page.line(format!(
                "without {}: {} ({} more an hour)",
                other.without,
                other.mix(),
                dollars(other.extra_per_hour_usd)
            ));
        }
        Priced::describe(&self.prices, page);
        if let Some(live) = &self.live {
            Said::table(
                "Conditions that do not hold",
                "CONDITION",
                &live.conditions,
                page,
            );
            Said::table("Events", "AGE", &live.events, page);
        }
    }
}

impl Live {
    fn introduce(&self, page: &mut Page) {
        let when = match self.age_s {
            Some(ago) => format!("decided {} ago", age(ago)),
            None => "nothing is decided yet".to_owned(),
        };
        page.line(format!("{when}; mode: {}", self.mode));
        if let Some(remark) = &self.remark {
            page.line(remark);
        }
    }
}

impl Said {
    fn table(title: &str, what: &'static str, said: &[Self], page: &mut Page) {
        if said.is_empty() {
            return;
        }
        let mut table = Table::new(&[what, "REASON", "MESSAGE"]);
        for one in said {
            table.row([
                one.what.as_str().into(),
                one.reason.as_str().into(),
                one.message.as_str().into(),
            ]);
        }
        page.title(title);
        page.table(&table);
    }
}

impl Explained {
    fn limits(&self, page: &mut Page) {
        let mut table = Table::new(&["VARIANT", "CLASS", ">ONE SUSTAINS", "LIMITED BY"]);
        for l in &self.binding {
            table.row([
                l.variant.as_str().into(),
                l.class.as_str().into(),
                format!("{} req/s", short(l.capacity_rps)).into(),
                l.binding.to_string().into(),
            ]);
        }
        if !table.is_empty() {
            page.title("What limits a replica");
            page.table(&table);
        }
    }
}
