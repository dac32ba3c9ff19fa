//! The controller's metrics page, read back into what it says per variant.

use std::collections::BTreeMap;

use wva_controllers::index::Key;
use wva_controllers::telemetry::exposition::{Series, Syntax, read};

/// What the controller measured and decided for one variant; absent is what it does not know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VariantFigures {
    /// Accelerator name.
    pub accelerator: String,
    /// Every gauge of the variant by the metric's name, without its prefix `wva_`.
    gauges: BTreeMap<String, f64>,
    /// Codes of the reasons that stand.
    pub reasons: Vec<String>,
}

impl VariantFigures {
    /// The gauge of this name, without `wva_`.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.gauges.get(name).copied()
    }

    /// A gauge that counts.
    pub fn count(&self, name: &str) -> Option<u32> {
        let value = self.gauge(name)?;
        (0.0..=f64::from(u32::MAX))
            .contains(&value)
            .then_some(value as u32)
    }
}

/// What the page says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Variants by namespace and name.
    pub variants: BTreeMap<Key, VariantFigures>,
    /// Gauges of the fleet as a whole, without `wva_`.
    gauges: BTreeMap<String, f64>,
    /// Errors so far by stage.
    pub errors: BTreeMap<String, f64>,
}

impl Figures {
    /// Reads the page; `None` where it has nothing of wva's.
    pub fn read(page: &str) -> Option<Self> {
        let mut figures = Self::default();
        let ours = |name: &'_ str| name.starts_with("wva_").then(|| name.to_owned());
        let census = read(
            page.as_bytes(),
            Syntax::OpenMetrics,
            ours,
            |name, series| {
                figures.take(name.trim_start_matches("wva_"), series);
            },
        );
        (census.read > 0).then_some(figures)
    }

    /// A gauge of the fleet as a whole, without `wva_`.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.gauges.get(name).copied()
    }

    fn take(&mut self, name: &str, series: &Series<'_>) {
        let label = |name: &str| series.labels.get(name).map(std::borrow::Cow::into_owned);
        if let (Some(namespace), Some(variant)) = (label("namespace"), label("variant_name")) {
            let figures = self
                .variants
                .entry(Key::new(namespace, variant))
                .or_default();
            figures.accelerator = label("accelerator_type").unwrap_or_default();
            match label("reason") {
                Some(reason) if name == "decision_reason" => figures.reasons.push(reason),
                Some(_) => {}
                None => drop(figures.gauges.insert(name.to_owned(), series.value)),
            }
        } else if let Some(stage) = label("stage") {
            self.errors.insert(stage, series.value);
        } else if series.labels.as_str().is_empty() {
            self.gauges.insert(name.to_owned(), series.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_read_back() {
        let labels = "variant_name=\"llama\",namespace=\"llm-d\",accelerator_type=\"H100\"";
        let page = format!(
            "# TYPE wva_desired_replicas gauge\nwva_desired_replicas{{{labels}}} 3\n\
             wva_slo_margin_ratio{{{labels}}} -0.25\n\
             wva_decision_reason{{{labels},reason=\"demand-up\"}} 1\n\
             wva_decision_reason{{{labels},reason=\"stock-out\"}} 1\n\
             wva_replica_scaling_total{{{labels},direction=\"up\",reason=\"demand-up\"}} 7\n\
             wva_last_cycle_timestamp_seconds 1790000000.5\nwva_errors_total{{stage=\"plan\"}} 2\nother 1\n# EOF\n"
        );
        let figures = Figures::read(&page).expect("ours");
        let llama = &figures.variants[&Key::new("llm-d", "llama")];
        assert_eq!(llama.count("desired_replicas"), Some(3));
        assert_eq!(llama.gauge("slo_margin_ratio"), Some(-0.25));
        assert_eq!(llama.reasons, ["demand-up", "stock-out"]);
        assert_eq!(
            figures.gauge("last_cycle_timestamp_seconds"),
            Some(1_790_000_000.5)
        );
        assert_eq!(figures.errors["plan"], 2.0);
        assert_eq!(Figures::read("other 1\n"), None);
    }
}
