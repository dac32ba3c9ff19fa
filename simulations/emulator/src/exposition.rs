//! Prometheus' text format as the Python client writes it: labels by name, numbers with a decimal point.

use std::fmt::Write as _;

/// Counts below fixed bounds, and their sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: Vec<f64>,
    /// Not cumulative; the last is beyond all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// An empty one with these ascending upper bounds.
    pub fn new(bounds: &[f64]) -> Self {
        Self {
            bounds: bounds.to_vec(),
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// An empty one with the bounds 1, 2, 5, 10, 20, 50, … up to `most`: vLLM's for token counts.
    pub fn of_tokens(most: u32) -> Self {
        let decades = (0..=9).map(|exponent| 10_u64.pow(exponent));
        let steps = decades.flat_map(|decade| [1, 2, 5].map(|m| m * decade));
        let bounds: Vec<f64> = steps
            .take_while(|&bound| bound <= u64::from(most))
            .map(|bound| bound as f64)
            .collect();
        Self::new(&bounds)
    }

    /// Counts `value` `times` times.
    pub fn record(&mut self, value: f64, times: u64) {
        self.counts[self.bounds.partition_point(|&b| b < value)] += times;
        self.sum += value * times as f64;
    }
}

/// A page in the making.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    /// `engine="0"`, which all samples have first.
    engine: String,
    /// `model_name="…"`, which they have last.
    model: String,
}

impl Exposition {
    /// An empty page of one engine.
    pub fn new(model: &str) -> Self {
        Self {
            text: String::with_capacity(24 << 10),
            engine: "engine=\"0\"".to_owned(),
            model: format!("model_name=\"{}\"", escaped(model)),
        }
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }

    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample with the engine's labels; `label`, if any, goes between them.
    pub fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: f64) {
        let _ = write!(self.text, "{name}{{{}", self.engine);
        if let Some((label, value)) = label {
            let _ = write!(self.text, ",{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.text, ",{}}} {value:?}", self.model);
    }

    /// A sample with labels of its own, to be given by name in order.
    pub fn info(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let written: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let _ = match written.join(",") {
            labels if labels.is_empty() => writeln!(self.text, "{name} {value:?}"),
            labels => writeln!(self.text, "{name}{{{labels}}} {value:?}"),
        };
    }

    /// A family of one gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, None, value);
    }

    /// A family of one counter.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, None, value as f64);
    }

    /// A family of one histogram.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let mut total = 0;
        let buckets = histogram
            .bounds
            .iter()
            .zip(&histogram.counts)
            .map(|(&bound, count)| {
                total += count;
                (bound, total)
            });
        let buckets: Vec<_> = buckets.collect();
        let count = histogram.counts.iter().sum();
        self.cumulative(name, help, &buckets, count, histogram.sum);
    }

    /// A family of one histogram whose counts are cumulative already.
    pub fn cumulative(
        &mut self,
        name: &str,
        help: &str,
        buckets: &[(f64, u64)],
        count: u64,
        sum: f64,
    ) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for &(bound, count) in buckets {
            self.sample(&bucket, Some(("le", &format!("{bound:?}"))), count as f64);
        }
        self.sample(&bucket, Some(("le", "+Inf")), count as f64);
        self.sample(&format!("{name}_count"), None, count as f64);
        self.sample(&format!("{name}_sum"), None, sum);
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_bounds_inclusive() {
        let mut h = Histogram::new(&[0.5, 1.0]);
        h.record(0.5, 2);
        h.record(0.7, 1);
        h.record(3.0, 1);
        let mut page = Exposition::new("a\"b");
        page.histogram("x", "What it is.", &h);
        let expected = r#"# HELP x What it is.
# TYPE x histogram
x_bucket{engine="0",le="0.5",model_name="a\"b"} 2.0
x_bucket{engine="0",le="1.0",model_name="a\"b"} 3.0
x_bucket{engine="0",le="+Inf",model_name="a\"b"} 4.0
x_count{engine="0",model_name="a\"b"} 4.0
x_sum{engine="0",model_name="a\"b"} 4.7
"#;
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn token_bounds_are_1_2_5_up_to_the_most() {
        assert_eq!(
            Histogram::of_tokens(100).bounds,
            [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
        );
        assert_eq!(Histogram::of_tokens(4096).bounds.last(), Some(&2000.0));
    }
}
