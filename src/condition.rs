//! `--fail-if`: conditions on an answer, so that a pipeline can stop on them.
//!
//! ```text
//! condition  = term ("or" term)*            term = factor ("and" factor)*
//! factor     = "(" condition ")" | quantity ("<" | "<=" | ">" | ">=" | "==" | "!=") bound
//! quantity   = [subject "."] metric ["[" class "]"]        cost   hpa.cost   p99_ttft[chat]
//! bound      = number [unit]                               0.99   99%   $12   1s   500ms
//!            | [subject] ("+" | "-") number "%"            +5%    static+5%
//! ```
//! A sign makes a bound relative: `cost>static+5%` holds when the cost is more than 1.05 times that of `static`.
//! There is no `not`: every comparison has its opposite, and without `not` a figure that is missing (no request
//! finished, so no percentile) can simply count as a failure, whatever stands around it.

mod lexer;
mod parser;

use std::fmt;

use crate::diagnostic::Diagnostic;
use crate::figures;

/// What may be compared, and with whom.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// Names and kinds of the metrics.
    pub metrics: Vec<(String, Kind)>,
    /// Who has these metrics: the policies of a simulation. The first is meant when none is named.
    pub subjects: Vec<String>,
    /// Classes that a metric may be narrowed down to.
    pub classes: Vec<String>,
}

/// What a metric measures, hence which units its bounds may have and how it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A share between 0 and 1: `0.99` or `99%`.
    Share,
    /// Milliseconds; a bound needs a unit: `500ms`, `1.5s`.
    Latency,
    /// US dollars: `12`, `$12`.
    Money,
    /// A plain number.
    Number,
}

/// A metric of a subject, over all classes or of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    /// Whose.
    pub subject: String,
    /// Which.
    pub metric: String,
    /// Of which class; absent means over all.
    pub class: Option<String>,
}

/// A parsed condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    expression: Expression,
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Compare(Comparison),
}

#[derive(Debug, Clone, PartialEq)]
struct Comparison {
    left: Quantity,
    kind: Kind,
    operator: Operator,
    right: Bound,
}

#[derive(Debug, Clone, PartialEq)]
enum Bound {
    /// In the metric's own unit.
    Value(f64),
    /// This quantity times (1 + change).
    Relative { base: Quantity, change: f64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

/// The latency metrics: `p99_ttft`, `mean_itl` and so on.
pub fn latency_metrics() -> impl Iterator<Item = (String, Kind)> {
    let statistics = ["mean", "p50", "p90", "p95", "p99"];
    let of =
        move |latency: &'static str| statistics.map(|s| (format!("{s}_{latency}"), Kind::Latency));
    ["ttft", "itl", "e2e"].into_iter().flat_map(of)
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// A diagnostic that points at the first character that cannot be understood, with what may stand there.
    pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Self, Diagnostic> {
        let expression = parser::parse(text, vocabulary).map_err(|(column, message, help)| {
            Diagnostic::new(message)
                .at("--fail-if", text, 1, column)
                .help(help)
        })?;
        Ok(Self { expression })
    }

    /// The comparisons that hold and make the whole condition hold, in words; empty when it does not hold.
    pub fn reasons(&self, look_up: &dyn Fn(&Quantity) -> Option<f64>) -> Vec<String> {
        self.expression.reasons(look_up)
    }
}

impl Expression {
    fn reasons(&self, look_up: &dyn Fn(&Quantity) -> Option<f64>) -> Vec<String> {
        match self {
            Self::Any(terms) => terms.iter().flat_map(|t| t.reasons(look_up)).collect(),
            Self::All(factors) => {
                let each: Vec<Vec<String>> = factors.iter().map(|f| f.reasons(look_up)).collect();
                if each.iter().any(Vec::is_empty) {
                    Vec::new()
                } else {
                    each.concat()
                }
            }
            Self::Compare(comparison) => comparison.reason(look_up).into_iter().collect(),
        }
    }
}

impl Comparison {
    /// Why the comparison holds, if it does; a figure that is missing counts as holding.
    fn reason(&self, look_up: &dyn Fn(&Quantity) -> Option<f64>) -> Option<String> {
        let unknown = |q: &Quantity| format!("{q} is not known");
        let Some(left) = look_up(&self.left).filter(|v| !v.is_nan()) else {
            return Some(unknown(&self.left));
        };
        let (right, origin) = match &self.right {
            Bound::Value(value) => (*value, String::new()),
            Bound::Relative { base, change } => {
                let Some(value) = look_up(base).filter(|v| !v.is_nan()) else {
                    return Some(unknown(base));
                };
                let origin = format!(" ({base} {} {:+} %)", self.kind.show(value), change * 100.0);
                (value * (1.0 + change), origin)
            }
        };
        let (shown, limit) = (self.kind.show(left), self.kind.show(right));
        (self.operator.holds(left, right))
            .then(|| format!("{} {shown} {} {limit}{origin}", self.left, self.operator))
    }
}

impl Operator {
    #[expect(
        clippy::float_cmp,
        reason = "`==` is asked for by the user, and counts are exact"
    )]
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::More => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{}.", self.subject)?;
        }
        f.write_str(&self.metric)?;
        self.class
            .iter()
            .try_for_each(|class| write!(f, "[{class}]"))
    }
}

impl Kind {
    fn show(self, value: f64) -> String {
        match self {
            Self::Share => figures::percent(value),
            Self::Latency => figures::millis(value),
            Self::Money => figures::dollars(value),
            Self::Number => figures::short(value),
        }
    }
}

#[cfg(test)]
mod tests;
