//! `wva demo`: the whole loop in one process, without a cluster and without a GPU.
//!
//! ```text
//! Script ─ requests ─► Gateway ─ HTTP ─► emulated servers ─ /metrics ─► Gatherer ─► cycle::run ─► Published ─► /metrics
//!                         └─ what arrived, as an endpoint picker pushes it ─►┘          │
//!                                                          Cluster ◄── scale effects ───┘
//! ```
//! What decides is what decides on a cluster: the same index over the same kinds of objects, the same scraper over HTTP,
//! the same cycle, the same published metrics. Only the API server is missing: [`cluster::Cluster`] is where its objects
//! would be, and where effects are carried out.

mod board;
mod cluster;
mod control;
mod counts;
mod gateway;
mod load;
mod script;
mod stage;
mod summary;
mod tally;

use std::env;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::commands::predict::positive;
use crate::commands::top::screen::{Pressed, Screen};
use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::ending::Ending;
use crate::failure::{Failure, Verdict};
use board::Board;
use script::Script;
use stage::Stage;

/// Watch the whole loop work, here and now: load, emulated servers, decisions, cost
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva demo                                         two and a half minutes; q or Ctrl-C ends it earlier
  wva demo --rate-scale 2 --duration 2m            twice the traffic
  wva demo examples/chat.yaml --speed 30           an hour of your own scenario in two minutes
  wva demo --trace prod.csv --speed 60             your traffic, an hour a minute
  wva demo --quiet -o json | jq .attainment        for scripts: the summary alone
  wva demo --record cycles                         then: wva replay cycles/*.jsonl
  curl -s localhost:PORT/metrics                   while it runs; it says which port

What you see:
  A service becomes busy and calm again. Requests go over HTTP to emulated vLLM servers, which answer as slowly as the
  GPU they stand for would (no GPU is needed, and no cluster). `wva` reads their metrics pages, learns what each replica
  can do, forecasts the load to when a new replica would serve, and asks for the cheapest replicas that keep the
  promise: p99 of the time to first token, p99 of the gap between tokens. Servers are started and drained as it says.

What is short and what is real:
  Latencies, queues and batching are those of the modelled GPU, in real time. A new server loads for --start-up seconds
  instead of minutes, and the controller decides each --cycle instead of each 15 seconds; its windows are as much
  shorter. Decisions come from the code that runs on a cluster.

A scenario is one of `wva simulate`, with variants of role `both` and interactive classes. --speed plays its traffic that
many times as fast at the same requests per second: the course of a day in minutes.")]
pub struct Demo {
    /// A scenario file; absent, a built-in one (examples/demo.yaml)
    scenario: Option<PathBuf>,
    /// How long at most, as 60s or 2m; absent: as long as the traffic
    #[arg(long, value_name = "TIME", value_parser = span)]
    duration: Option<Duration>,
    /// Recorded traffic instead of the scenario's; `-` for stdin
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Requests this many times as often
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    rate_scale: Option<f64>,
    /// Traffic this many times as fast, thinned to the same rate
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = fast)]
    speed: f64,
    /// Time that a server loads before it serves
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = span)]
    start_up: Duration,
    /// Time between two decisions
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = span)]
    cycle: Duration,
    /// Where /metrics, /debug/cycle and /healthz are served; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    http: SocketAddr,
    /// Append each changed decision to this file, for `wva explain FILE`
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Keep the cycles in this folder, for `wva replay` and `wva explain`
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Seed of everything random, instead of the scenario's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// A time with its unit, from a tenth of a second to a day.
fn span(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let parts = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit) = parts.unwrap_or((text, 1.0));
    match number.trim().parse::<f64>().map(|n| n * unit) {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be a time from 0.1 s to a day, as 500ms, 60s, 2m or 1h".to_owned()),
    }
}

/// At least as fast as it was.
fn fast(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (1.0..=1e5).contains(&factor) => Ok(factor),
        _ => Err("must be a number from 1 to 100000".to_owned()),
    }
}

/// Time between two looks at the screen.
const FRAME: Duration = Duration::from_millis(500);

impl Demo {
    /// Plays.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let script = Script::read(self)?;
        for note in &script.notes {
            console.note(&format!("note: {note}"));
        }
        // Fails only where a provider is installed already, and this is the one place that installs it for this verb.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| Diagnostic::new(format!("cannot start: {e}")))?;
        runtime.block_on(self.play(script, console))
    }

    async fn play(&self, script: Script, console: &Console) -> Result<Verdict, Failure> {
        let ending = Ending::new().map_err(|e| Diagnostic::new(format!("cannot start: {e}")))?;
        let mut stage = Stage::set(script, self).await?;
        let able = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|t| t != "dumb");
        let live = able && console.for_people() && !console.is_quiet();
        let ended = if live {
            self.watch(&mut stage, ending, console).await
        } else {
            self.tell(&mut stage, ending, console).await
        };
        let summary = stage.strike().await;
        ended?;
        console.answer(&summary)?;
        Ok(Verdict::Done)
    }

    /// On a screen of its own, until the end.
    async fn watch(
        &self,
        stage: &mut Stage,
        mut ending: Ending,
        console: &Console,
    ) -> Result<(), Failure> {
        let (sender, mut pressed) = mpsc::channel(8);
        let mut screen = Screen::open(sender)?;
        let (mut cycles, mut frames) = (ticks(self.cycle), ticks(FRAME));
        let mut board = Board::new(stage, screen.width()?);
        loop {
            screen.draw(&console.page(&board), "q quit", None)?;
            tokio::select! {
                key = pressed.recv() => match key {
                    Some(Pressed::Again | Pressed::Resized) => {}
                    Some(Pressed::Quit) | None => return Ok(()),
                },
                () = ending.asked() => return Ok(()),
                _ = cycles.tick() => stage.cycle().await?,
                _ = frames.tick() => {}
            }
            if stage.is_over() {
                return Ok(());
            }
            board = Board::new(stage, screen.width()?);
        }
    }

    /// In plain lines: on stdout before the summary, or on stderr where stdout is for a script.
    async fn tell(
        &self,
        stage: &mut Stage,
        mut ending: Ending,
        console: &Console,
    ) -> Result<(), Failure> {
        let say = |line: &str| -> Result<(), Failure> {
            if console.is_quiet() || !console.for_people() {
                console.note(line);
                return Ok(());
            }
            console.print(&format!("{line}\n"))
        };
        say(&stage.introduction())?;
        let mut cycles = ticks(self.cycle);
        let mut told = 0.0;
        loop {
            tokio::select! {
                () = ending.asked() => return Ok(()),
                _ = cycles.tick() => stage.cycle().await?,
            }
            for change in stage.take_changes() {
                say(&change)?;
            }
            if stage.elapsed() >= told {
                say(&stage.line())?;
                told += LINE_S;
            }
            if stage.is_over() {
                return Ok(());
            }
        }
    }
}

/// Time between two plain lines, seconds.
const LINE_S: f64 = 5.0;

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        let seconds = |text| span(text).map(|s| s.as_secs_f64());
        assert_eq!(seconds("60s"), Ok(60.0));
        assert_eq!(seconds("1.5m"), Ok(90.0));
        assert_eq!(seconds("250ms"), Ok(0.25));
        assert_eq!(seconds("7"), Ok(7.0));
        for bad in ["", "s", "-1s", "0", "NaN", "infs", "2d", "25h"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
