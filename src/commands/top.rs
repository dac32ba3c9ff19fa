//! `wva top`: the fleet as it is now, again and again: load, replicas, latencies, cost.

pub mod frame;
pub mod screen;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use wva_controllers::index::Key;

use crate::cluster::arguments::ClusterArguments;
use crate::cluster::look::Look;
use crate::cluster::servers::{loads, pages};
use crate::cluster::{self, Cluster};
use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::failure::{Failure, Verdict};
use frame::Frame;
use screen::{Pressed, Screen};

/// Servers that are asked per variant: more of them say the same, and each costs the API server a request.
const SERVERS: usize = 8;
/// Samples of the trend.
const TREND: usize = 24;

/// Watch the fleet: load, replicas, latencies seen, expected and promised, cost
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva top -A                                   until q is pressed; r looks again at once
  wva top --once -o json                       one look, for scripts
  wva top -A --every 30 >> fleet.log           not a terminal: a line per variant each time

Load is asked of the model servers through the API server (the right pods/proxy); without it the columns stay empty.")]
pub struct Top {
    /// Look once and stop
    #[arg(long)]
    once: bool,
    /// Seconds between two looks
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    every: f64,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Load over the last looks, by variant.
type Trends = BTreeMap<Key, Vec<f64>>;

impl Top {
    /// Shows.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        if !(0.5..=86_400.0).contains(&self.every) {
            let odd = format!("--every {} is not between 0.5 s and a day", self.every);
            return Err(Diagnostic::new(odd)
                .help("leave it out for 5 seconds")
                .into());
        }
        cluster::on(&self.cluster, async |cluster| {
            let mut trends = Trends::new();
            let first = self.look(&cluster, &mut trends).await?;
            if self.once {
                console.answer(&first)?;
            } else if console.for_people() && io::stdout().is_terminal() {
                self.live(&cluster, console, first, trends).await?;
            } else {
                self.stream(&cluster, console, first, trends).await?;
            }
            Ok(Verdict::Done)
        })
    }

    async fn look(&self, cluster: &Cluster, trends: &mut Trends) -> Result<Frame, Failure> {
        let look = Look::take(cluster, &self.cluster).await?;
        let pages = pages(&cluster.client, &look.fleet, SERVERS).await;
        let loads = loads(&pages);
        trends.retain(|key, _| look.entries.iter().any(|e| e.key() == *key));
        for (key, load) in &loads {
            let trend = trends.entry(key.clone()).or_default();
            trend.push(load.running + load.waiting);
            let surplus = trend.len().saturating_sub(TREND);
            trend.drain(..surplus);
        }
        let why = pages.iter().find_map(|p| p.reading.as_ref().err());
        let silent = loads.is_empty().then_some(why).flatten();
        Ok(Frame::new(&look, cluster.scope(), &loads, trends, silent))
    }

    /// A line per variant and look, for logs and pipes, until the reader or the user has enough.
    async fn stream(
        &self,
        cluster: &Cluster,
        console: &Console,
        first: Frame,
        mut trends: Trends,
    ) -> Result<(), Failure> {
        let mut ticks = self.ticks();
        let mut frame = first;
        loop {
            if console.for_people() {
                console.print(&frame.lines())?;
            } else {
                console.answer_line(&frame)?;
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                _ = ticks.tick() => {}
            }
            frame = self.look(cluster, &mut trends).await?;
        }
    }

    async fn live(
        &self,
        cluster: &Cluster,
        console: &Console,
        first: Frame,
        mut trends: Trends,
    ) -> Result<(), Failure> {
        let (sender, mut pressed) = mpsc::channel(8);
        // Asked for before the terminal is taken over: a signal must not leave it as it is while we draw.
        let mut terminated = signal(SignalKind::terminate())?;
        let mut screen = Screen::open(sender)?;
        let mut ticks = self.ticks();
        let mut frame = first;
        let mut trouble = None;
        loop {
            frame.width = Some(screen.width()?);
            screen.draw(
                &console.page(&frame),
                "q quit   r look again",
                trouble.as_deref(),
            )?;
            tokio::select! {
                key = pressed.recv() => match key {
                    Some(Pressed::Again) => {}
                    Some(Pressed::Resized) => continue,
                    Some(Pressed::Quit) | None => return Ok(()),
                },
                _ = ticks.tick() => {}
                _ = terminated.recv() => return Ok(()),
            }
            let next = tokio::select! {
                next = self.look(cluster, &mut trends) => next,
                Some(Pressed::Quit) = pressed.recv() => return Ok(()),
                _ = terminated.recv() => return Ok(()),
            };
            // What was seen last stays in view while the cluster does not answer.
            match next {
                Ok(next) => (frame, trouble) = (next, None),
                Err(failure) => trouble = Some(failure.text()),
            }
        }
    }

    fn ticks(&self) -> tokio::time::Interval {
        let every = Duration::from_secs_f64(self.every);
        let start = tokio::time::Instant::now() + every;
        let mut ticks = tokio::time::interval_at(start, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}
