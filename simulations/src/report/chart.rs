//! Plots over time as SVG that stretches: shapes live in an SVG of [`WIDTH`] units that fills whatever width the page has,
//! while ticks, legends and labels are HTML beside it. So text keeps its size on a telephone and on paper, colours follow
//! the page's theme, and nothing needs a script to be read.
//!
//! Why not a plotting library: the ones at hand write fixed-size pictures with their own text and fixed colours, which
//! neither turn dark nor stay legible at a third of their width.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use super::scale::{Scale, Tick, time_ticks};
use super::series::Values;

/// Horizontal units of the drawing; a stretched unit is less than a pixel on any screen.
const WIDTH: f64 = 2000.0;

/// Look of a shape: the palette's ordinal, and how it is filled or dashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Ordinal in the palette; wraps around.
    pub(super) colour: usize,
    /// Name of the texture or dash in the style sheet.
    pub(super) texture: &'static str,
}

impl Look {
    /// Colours before the palette starts again.
    pub(super) const COLOURS: usize = 8;
    /// Drawn in the colour of the text.
    pub(super) const INK: usize = usize::MAX;

    fn class(self) -> String {
        let texture = self.texture;
        match self.colour {
            Self::INK => format!("ink {texture}"),
            colour => format!("c{} {texture}", colour % Self::COLOURS),
        }
    }

    /// Stripes need a pattern of their own for each colour.
    fn fill(self) -> Option<String> {
        let striped = matches!(self.texture, "starting" | "pending");
        striped.then(|| format!("url(#{}-{})", self.texture, self.colour % Self::COLOURS))
    }
}

/// Which vertical axis values belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The axis on the left.
    Left,
    /// The axis on the right.
    Right,
}

#[derive(Debug, Clone, Serialize)]
struct Shape {
    class: String,
    path: String,
    fill: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Legend {
    class: String,
    text: String,
}

#[derive(Debug, Clone, Serialize)]
struct Mark {
    at: f64,
    text: String,
}

/// A plot ready for the template.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Chart {
    title: String,
    unit: String,
    right_unit: Option<String>,
    height: f64,
    wide: bool,
    left: Vec<Mark>,
    right: Vec<Mark>,
    times: Vec<Mark>,
    shapes: Vec<Shape>,
    legend: Vec<Legend>,
    /// Series for the tool-tip, as JSON.
    #[serde(skip)]
    hover: Vec<Value>,
}

/// A plot being drawn.
pub(super) struct Plot<'a> {
    chart: Chart,
    end: f64,
    ends: &'a [f64],
    left: Option<Scale>,
    right: Option<Scale>,
}

impl<'a> Plot<'a> {
    /// An empty plot over intervals that end at `ends`, on an axis from 0 to `end` seconds.
    pub(super) fn new(title: impl Into<String>, height: f64, end: f64, ends: &'a [f64]) -> Self {
        let chart = Chart {
            title: title.into(),
            unit: String::new(),
            right_unit: None,
            height,
            wide: false,
            left: Vec::new(),
            right: Vec::new(),
            times: marks(&time_ticks(end)),
            shapes: Vec::new(),
            legend: Vec::new(),
            hover: Vec::new(),
        };
        Self {
            chart,
            end,
            ends,
            left: None,
            right: None,
        }
    }

    /// Takes the whole width of the page.
    pub(super) fn wide(mut self) -> Self {
        self.chart.wide = true;
        self
    }

    /// Sets an axis and the words for its unit.
    pub(super) fn axis(mut self, side: Side, scale: Option<Scale>, unit: &str) -> Self {
        let ticks = scale.map_or_else(Vec::new, |s| marks(&s.ticks()));
        match side {
            Side::Left => {
                (self.left, self.chart.left) = (scale, ticks);
                self.chart.unit = unit.to_owned();
            }
            Side::Right => {
                (self.right, self.chart.right) = (scale, ticks);
                self.chart.right_unit = scale.map(|_| unit.to_owned());
            }
        }
        self
    }

    /// An area between two stepped series on the left axis, without outline; nothing where it has no height.
    pub(super) fn area(&mut self, lower: &Values, upper: &Values, look: Look) {
        let Some(scale) = self.left else { return };
        let mut path = String::new();
        let mut run: Vec<(f64, f64, f64, f64)> = Vec::new();
        let mut start = 0.0;
        for (i, end) in self.ends.iter().enumerate() {
            let (x0, x1) = (self.x(start), self.x(*end));
            start = *end;
            let bounds = lower
                .get(i)
                .copied()
                .flatten()
                .zip(upper.get(i).copied().flatten());
            match bounds.filter(|(l, u)| u > l) {
                Some((l, u)) => run.push((x0, x1, self.y(&scale, l), self.y(&scale, u))),
                None => close(&mut path, &mut run),
            }
        }
        close(&mut path, &mut run);
        self.shape(path, look, look.fill());
    }

    /// A line through the middles of the intervals, broken where there is no value.
    pub(super) fn line(&mut self, side: Side, values: &Values, look: Look) {
        let Some(scale) = self.scale(side) else {
            return;
        };
        let mut path = String::new();
        let (mut start, mut pen_down) = (0.0, false);
        for (end, value) in self.ends.iter().zip(values) {
            let x = self.x((start + end) / 2.0);
            start = *end;
            let Some(v) = value else {
                pen_down = false;
                continue;
            };
            let y = self.y(&scale, *v);
            // `h0` makes a dot of a point without neighbours.
            let _ = if pen_down {
                write!(path, "L{x} {y}")
            } else {
                write!(path, "M{x} {y}h0")
            };
            pen_down = true;
        }
        self.shape(path, look, None);
    }

    /// A stepped line, broken where there is no value.
    pub(super) fn steps(&mut self, side: Side, values: &Values, look: Look) {
        let Some(scale) = self.scale(side) else {
            return;
        };
        let mut path = String::new();
        let (mut start, mut last) = (0.0, None);
        for (end, value) in self.ends.iter().zip(values) {
            let (x0, x1) = (self.x(start), self.x(*end));
            start = *end;
            let Some(y) = value.map(|v| self.y(&scale, v)) else {
                last = None;
                continue;
            };
            let _ = match last {
                None => write!(path, "M{x0} {y}H{x1}"),
                Some(before) if before == y => write!(path, "H{x1}"),
                Some(_) => write!(path, "V{y}H{x1}"),
            };
            last = Some(y);
        }
        self.shape(path, look, None);
    }

    /// A horizontal line on the left axis, with its legend entry.
    pub(super) fn rule(&mut self, value: f64, text: String) {
        if let Some(scale) = self.left
            && value.is_finite()
        {
            let look = Look {
                colour: Look::INK,
                texture: "limit",
            };
            let y = self.y(&scale, value);
            self.shape(format!("M0 {y}H{WIDTH}"), look, None);
            self.legend(text, look);
        }
    }

    /// An entry of the legend, once.
    pub(super) fn legend(&mut self, text: impl Into<String>, look: Look) {
        let entry = Legend {
            class: look.class(),
            text: text.into(),
        };
        if !self.chart.legend.contains(&entry) {
            self.chart.legend.push(entry);
        }
    }

    /// A series of the tool-tip; `always` shows it at 0 too.
    pub(super) fn hover(
        &mut self,
        side: Side,
        text: &str,
        values: &Values,
        look: Look,
        always: bool,
    ) {
        let Some(scale) = self.scale(side) else {
            return;
        };
        let numbers: Vec<Value> = values.iter().map(|v| short(*v)).collect();
        self.chart.hover.push(json!({
            "n": text, "u": scale.unit().code(), "c": look.class(), "z": always, "v": numbers,
        }));
    }

    /// A legend entry, a tool-tip series and a line.
    pub(super) fn named_line(&mut self, side: Side, text: &str, values: &Values, look: Look) {
        self.line(side, values, look);
        self.legend(text, look);
        self.hover(side, text, values, look, true);
    }

    /// The finished plot; one without a shape says "no data".
    pub(super) fn finish(self) -> Chart {
        self.chart
    }

    fn shape(&mut self, path: String, look: Look, fill: Option<String>) {
        if !path.is_empty() {
            let class = look.class();
            self.chart.shapes.push(Shape { class, path, fill });
        }
    }

    const fn scale(&self, side: Side) -> Option<Scale> {
        match side {
            Side::Left => self.left,
            Side::Right => self.right,
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        (seconds / self.end * WIDTH).clamp(0.0, WIDTH).round()
    }

    fn y(&self, scale: &Scale, value: f64) -> f64 {
        round(self.chart.height * (1.0 - scale.position(value)), 1)
    }
}

impl Chart {
    /// Takes the series of the tool-tip out, as JSON.
    pub(super) fn take_hover(&mut self) -> Value {
        Value::Array(std::mem::take(&mut self.hover))
    }
}

/// Times and series of a group of charts, safe inside a `script` element.
pub(super) fn hover_json(ends: &[f64], charts: &mut [&mut Chart]) -> String {
    let ends: Vec<Value> = ends.iter().map(|e| short(Some(e.round()))).collect();
    let charts: Vec<Value> = charts.iter_mut().map(|c| c.take_hover()).collect();
    json!({ "end": ends, "charts": charts })
        .to_string()
        .replace('<', "\\u003c")
}

/// Appends the outline of a run of steps (left, right, lower, upper) and empties it.
fn close(path: &mut String, run: &mut Vec<(f64, f64, f64, f64)>) {
    let Some(first) = run.first() else { return };
    let _ = write!(path, "M{} {}", first.0, first.2);
    edge(path, run.iter().map(|s| (s.3, s.1)));
    edge(path, run.iter().rev().map(|s| (s.2, s.0)));
    path.push('Z');
    run.clear();
}

/// Steps through (y, x to go to), without repeating a y.
fn edge(path: &mut String, steps: impl Iterator<Item = (f64, f64)>) {
    let mut pending: Option<(f64, f64)> = None;
    for (y, x) in steps {
        match &mut pending {
            Some((at, to)) if *at == y => *to = x,
            _ => {
                if let Some((at, to)) = pending.replace((y, x)) {
                    let _ = write!(path, "V{at}H{to}");
                }
            }
        }
    }
    if let Some((at, to)) = pending {
        let _ = write!(path, "V{at}H{to}");
    }
}

fn marks(ticks: &[Tick]) -> Vec<Mark> {
    let mark = |(at, text): &Tick| Mark {
        at: round(100.0 * at, 2),
        text: text.clone(),
    };
    ticks.iter().map(mark).collect()
}

fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    // Adding 0 turns −0 into 0.
    (value * scale).round() / scale + 0.0
}

/// A number to four significant digits, as short as JSON allows.
fn short(value: Option<f64>) -> Value {
    let Some(v) = value.filter(|v| v.is_finite()) else {
        return Value::Null;
    };
    if v.fract() == 0.0 && v.abs() < 1e15 {
        return json!(v as i64);
    }
    let rounded: f64 = format!("{v:.3e}").parse().unwrap_or(v);
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 {
        json!(rounded as i64)
    } else {
        json!(rounded)
    }
}
