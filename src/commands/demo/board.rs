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

/// Width of courses and of the bar, characters.
const WIDTH: usize = 48;
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
}

impl Board {
    /// The picture now.
    pub async fn new(stage: &Stage) -> Self {
        let (_, met, missed) = stage.totals();
        let (held, running) = stage.gateway.counted(|all| {
            let open = all.iter().map(super::counts::Counts::open);
            open.fold((0.0, 0.0), |sum, o| (sum.0 + o.0, sum.1 + o.1))
        });
        let at_s = stage.elapsed().min(stage.script.duration_s);
        let last = stage.tally.changes.iter().rev().take(DECISIONS);
        Self {
            title: stage.script.name.clone(),
            played: at_s / stage.script.duration_s,
            at_s,
            duration_s: stage.script.duration_s,
            served_at: format!("http://{}/metrics", stage.address),
            rate_rps: stage.tally.rate(),
            load: stage.tally.course(WIDTH, |r| r.rate_rps),
            replicas: stage
                .tally
                .course(WIDTH, |r| r.ready.iter().sum::<u32>().into()),
            held,
            running,
            met,
            missed,
            promise: stage.script.promise(),
            promised: stage.script.promised_share(),
            cost_usd: stage.cost(),
            cost_per_hour_usd: stage.tally.cost_per_hour(),
            frame: frame(stage),
            decisions: last
                .map(|c| format!("{:>4.0} s  {}", c.t_s, c.text))
                .collect(),
        }
    }
}

/// The fleet, looked at as `wva top` looks at a cluster's.
fn frame(stage: &Stage) -> Frame {
    let mut contact = Contact::of_pods(Vec::new());
    contact.settings = Settings {
        base: stage.control.base.clone(),
        ..contact.settings
    };
    let page = stage.control.exported.text().unwrap_or_default();
    let figures = Figures::read(&page).ok_or_else(|| "no cycle yet".to_owned());
    let look = Look::of(now(), contact, stage.objects(), figures);
    let scope = "here, emulated".to_owned();
    Frame::new(&look, scope, &stage.loads(), &stage.trends, None)
}

impl Answer for Board {
    const VERB: &'static str = "demo";

    fn describe(&self, page: &mut Page) {
        let done = ((self.played * WIDTH as f64) as usize).min(WIDTH);
        let bar = format!("{}{}", "█".repeat(done), "░".repeat(WIDTH - done));
        let title = page.toned(&format!("wva demo: {}", self.title), Tone::Strong);
        page.line(format!(
            "{title}   {bar} {:.0} of {:.0} s   {}",
            self.at_s, self.duration_s, self.served_at
        ));
        page.line("");
        page.line(format!(
            "load      {:<WIDTH$}  {:.1} requests/s, {} being answered, {} waiting for a server",
            spark(&self.load),
            self.rate_rps,
            short(self.running),
            short(self.held)
        ));
        page.line(format!(
            "replicas  {:<WIDTH$}  {} an hour now, {:.4} $ so far",
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
            self.decisions.iter().for_each(|d| page.line(d));
        }
    }
}
