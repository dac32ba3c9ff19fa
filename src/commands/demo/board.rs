//! What the screen shows: where the run is, load, promise and cost, the fleet as `wva top` draws it, the last decisions.

use serde::Serialize;

use super::stage::Stage;
use crate::cluster::contact::Contact;
use crate::cluster::figures::Figures;
use crate::cluster::look::Look;
use crate::cluster::now;
use crate::commands::top::frame::{Frame, spark};
use crate::console::{Answer, Page};
use crate::figures::{dollars, percent, short};
use crate::table::Tone;
use wva_controllers::settings::Settings;

/// Widest course, characters, and what stands beside it.
const WIDEST: usize = 60;
const BESIDE: usize = 53;
/// Decisions that are shown.
const DECISIONS: usize = 6;

/// One picture.
#[derive(Debug, Serialize)]
pub struct Board {
    title: String,
    played: f64,
    at_s: f64,
    duration_s: f64,
    served_at: String,
    rate_rps: f64,
    load: Vec<f64>,
    replicas: Vec<f64>,
    held: f64,
    running: f64,
    met: f64,
    missed: f64,
    promise: String,
    promised: f64,
    cost_usd: f64,
    cost_per_hour_usd: f64,
    frame: Frame,
    decisions: Vec<String>,
    /// Of the screen, and of courses, characters.
    #[serde(skip)]
    width: (usize, usize),
}

impl Board {
    /// The picture now, for a screen of this width.
    pub fn new(stage: &Stage, width: usize) -> Self {
        let (_, met, missed) = stage.totals();
        let (held, running) = stage.gateway.counted(|all| {
            let open = all.iter().map(super::counts::Counts::open);
            open.fold((0.0, 0.0), |sum, o| (sum.0 + o.0, sum.1 + o.1))
        });
        let at_s = stage.elapsed().min(stage.script.duration_s);
        let played = at_s / stage.script.duration_s;
        let course = width.saturating_sub(BESIDE).clamp(10, WIDEST);
        // As far as the bar is, so that they share its time.
        let so_far = ((played * course as f64).ceil() as usize).clamp(1, course);
        let last = stage.tally.changes.iter().rev().take(DECISIONS);
        Self {
            title: stage.script.name.clone(),
            played,
            at_s,
            duration_s: stage.script.duration_s,
            served_at: format!("http://{}/metrics", stage.address),
            rate_rps: stage.tally.rate(),
            load: stage.tally.course(so_far, |r| r.rate_rps),
            replicas: stage
                .tally
                .course(so_far, |r| r.ready.iter().sum::<u32>().into()),
            held,
            running,
            met,
            missed,
            promise: stage.script.promise(),
            promised: stage.script.promised_share(),
            cost_usd: stage.cost(),
            cost_per_hour_usd: stage.tally.cost_per_hour(),
            frame: frame(stage, width),
            decisions: last
                .map(|c| format!("{:>4.0} s  {}", c.t_s, c.text))
                .collect(),
            width: (width, course),
        }
    }
}

/// The fleet, looked at as `wva top` looks at a cluster's.
fn frame(stage: &Stage, width: usize) -> Frame {
    let mut contact = Contact::of_pods(Vec::new());
    contact.settings = Settings {
        base: stage.control.base.clone(),
        ..contact.settings
    };
    let page = stage.control.exported.text().unwrap_or_default();
    let figures = Figures::read(&page).ok_or_else(|| "no cycle yet".to_owned());
    let look = Look::of(now(), contact, stage.objects(), figures);
    let scope = "here, emulated".to_owned();
    let mut frame = Frame::new(&look, scope, &stage.loads(), &stage.trends, None);
    frame.width = Some(width);
    frame
}

impl Answer for Board {
    const VERB: &'static str = "demo";

    fn describe(&self, page: &mut Page) {
        let (width, course) = self.width;
        let done = ((self.played * course as f64) as usize).min(course);
        let title = format!("wva demo: {}", self.title);
        let served = format!("metrics at {}", self.served_at);
        let apart = width.saturating_sub(title.chars().count() + served.len());
        page.line(format!(
            "{}{:apart$}{}",
            page.toned(&title, Tone::Strong),
            "",
            page.toned(&served, Tone::Dim)
        ));
        page.line("");
        page.line(format!(
            "time      {}{}  {:.0} of {:.0} s",
            "█".repeat(done),
            page.toned(&"░".repeat(course - done), Tone::Dim),
            self.at_s,
            self.duration_s
        ));
        page.line(format!(
            "load      {:<course$}  {:.1} requests/s; {} in servers, {} wait",
            spark(&self.load),
            self.rate_rps,
            short(self.running),
            short(self.held)
        ));
        page.line(format!(
            "replicas  {:<course$}  {} an hour; ${:.4} so far",
            spark(&self.replicas),
            dollars(self.cost_per_hour_usd),
            self.cost_usd
        ));
        let answered = self.met + self.missed;
        let share = self.met / answered.max(1.0);
        let tone = if answered < 1.0 || share >= self.promised {
            Tone::Good
        } else {
            Tone::Bad
        };
        let kept = page.toned(&percent(share), tone);
        page.line(format!(
            "promise   {kept} of {answered:.0} answers within {}",
            self.promise
        ));
        page.line("");
        self.frame.describe(page);
        if !self.decisions.is_empty() {
            page.title("Decisions, the latest first");
            let lines = self.decisions.iter().flat_map(|d| wrapped(d, width));
            lines.for_each(|line| page.line(line));
        }
    }
}

/// Where the text of a decision begins, characters.
const INDENT: usize = 8;

/// The lines of a text on a screen of this width, all but the first set in.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        let full = line.chars().count() + word.trim_end().chars().count() > width;
        if full && line.chars().count() > INDENT {
            lines.push(line.trim_end().to_owned());
            line = " ".repeat(INDENT);
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_at_words_and_set_in() {
        let lines = wrapped("  22 s  l4: 1 -> 2 (demand: 1.69 rps)", 24);
        assert_eq!(
            lines,
            [
                "  22 s  l4: 1 -> 2",
                "        (demand: 1.69",
                "        rps)"
            ]
        );
        assert_eq!(wrapped("short", 80), ["short"]);
    }
}
