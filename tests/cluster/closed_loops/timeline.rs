//! What replicas there were, second by second, as lines, a table and a picture.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use tokio::task::JoinHandle;
use wva_testbed::eventually;

use super::bed::Bed;
use crate::load::{Outcome, rate};
use crate::site::{CHEAP, LARGE};

/// Somebody whose replicas are noted.
#[derive(Clone)]
pub struct Target {
    /// What it is called in tables and pictures.
    pub title: &'static str,
    api: Api<DynamicObject>,
    name: String,
}

impl Target {
    /// A Deployment, or whatever else says its replicas as those do.
    pub fn new(
        client: &Client,
        (version, kind): (&str, &str),
        (namespace, name): (&str, &str),
        title: &'static str,
    ) -> Self {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Self {
            title,
            api: Api::namespaced_with(client.clone(), namespace, &resource),
            name: name.to_owned(),
        }
    }

    /// Replicas asked for and ready; `None` while it cannot be asked.
    async fn replicas(&self) -> Option<(i64, i64)> {
        let data = self.api.get(&self.name).await.ok()?.data;
        let number = |part: &str, field: &str| data[part][field].as_i64().unwrap_or(0);
        Some((
            number("spec", "replicas"),
            number("status", "readyReplicas"),
        ))
    }
}

impl Bed {
    /// Notes the replicas on both accelerators each second from now on.
    pub fn timeline(&self, profile: &[(f64, f64)]) -> Timeline {
        let targets = [(CHEAP, "L40S"), (LARGE, "H100")].map(|(variant, title)| {
            let place = (self.namespace.as_str(), variant.name);
            Target::new(&self.client, ("apps/v1", "Deployment"), place, title)
        });
        Timeline::of(targets.to_vec(), profile)
    }
}

/// One second of a fleet.
#[derive(Debug, Clone)]
pub struct Row {
    pub at: f64,
    pub rate: f64,
    /// (asked for, ready) of each target.
    pub replicas: Vec<(i64, i64)>,
}

/// What replicas there were.
pub struct Timeline {
    titles: Vec<&'static str>,
    rows: Arc<Mutex<Vec<Row>>>,
    task: JoinHandle<()>,
}

impl Timeline {
    /// Notes them each second from now on.
    pub fn of(targets: Vec<Target>, profile: &[(f64, f64)]) -> Self {
        let rows: Arc<Mutex<Vec<Row>>> = Arc::default();
        let titles = targets.iter().map(|t| t.title).collect();
        let (kept, profile) = (Arc::clone(&rows), profile.to_vec());
        let task = tokio::spawn(async move {
            let begin = Instant::now();
            loop {
                let found = futures::future::join_all(targets.iter().map(Target::replicas)).await;
                if let Some(replicas) = found.into_iter().collect() {
                    let at = begin.elapsed().as_secs_f64();
                    let rate = rate(&profile, at);
                    let row = Row { at, rate, replicas };
                    kept.lock().unwrap().push(row);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Self { titles, rows, task }
    }

    pub fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().clone()
    }

    /// Waits until each target asks for so many and has them.
    pub async fn settles(&self, replicas: &[i64]) {
        let wanted: Vec<(i64, i64)> = replicas.iter().map(|n| (*n, *n)).collect();
        let settled = eventually("the fleet to settle", async || {
            let last = self.rows().pop().map(|row| row.replicas);
            match last {
                Some(last) if last == wanted => Ok(()),
                last => Err(format!("{last:?}")),
            }
        });
        settled.await.unwrap();
    }

    /// How many seconds' replicas of each target served.
    pub fn served(&self) -> Vec<i64> {
        let rows = self.rows();
        let of = |i: usize| rows.iter().map(|r| r.replicas[i].1).sum();
        (0..self.titles.len()).map(of).collect()
    }

    /// The numbers that each target asked for, each as often as it came to it.
    pub fn asked(&self) -> Vec<Vec<i64>> {
        let rows = self.rows();
        let of = |i: usize| {
            let mut all: Vec<i64> = rows.iter().map(|r| r.replicas[i].0).collect();
            all.dedup();
            all
        };
        (0..self.titles.len()).map(of).collect()
    }

    /// Prints it, and keeps it as a table and as a picture beside what else tests leave.
    pub fn keep(&self, name: &str, title: &str, outcomes: &[Outcome]) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let [table, picture] = ["csv", "svg"].map(|e| folder.join(format!("{name}.{e}")));
        fs::write(&table, self.table()).unwrap();
        fs::write(&picture, self.picture(title)).unwrap();
        self.print(title);
        for outcome in outcomes {
            let shares = [outcome.attainment, outcome.of_all].map(|share| 100.0 * share);
            let (requests, judged) = (outcome.requests, outcome.judged);
            println!(
                "promise kept to {:.1} % of {judged} requests, to {:.1} % of all {requests}, those that this machine delayed included",
                shares[0], shares[1]
            );
        }
        println!("{}\n{}", table.display(), picture.display());
    }

    /// Prints it: seconds, requests per second, asked for/ready.
    pub fn print(&self, title: &str) {
        println!("{title}\n    s   rate  {}", self.titles.join("  "));
        for row in self.rows() {
            let replicas = row.replicas.iter().map(|(a, r)| format!("{a}/{r}"));
            let replicas: Vec<String> = replicas.collect();
            println!("{:5.0} {:6.1}  {}", row.at, row.rate, replicas.join("   "));
        }
    }

    fn table(&self) -> String {
        let titles = self.titles.iter().map(|t| format!(",{t} asked,{t} ready"));
        let mut out = format!("t_s,rate_rps{}\n", titles.collect::<String>());
        for row in self.rows() {
            let replicas = row.replicas.iter().map(|(a, r)| format!(",{a},{r}"));
            let replicas: String = replicas.collect();
            writeln!(out, "{:.1},{:.2}{replicas}", row.at, row.rate).unwrap();
        }
        out
    }

    /// Load above, replicas below: asked for in a thin line, ready in a thick one.
    fn picture(&self, title: &str) -> String {
        let rows = self.rows();
        let rates: Vec<f64> = rows.iter().map(|r| r.rate).collect();
        let greatest = |values: &[f64]| values.iter().copied().fold(1.0, f64::max);
        let (rate, most) = (greatest(&rates), rows.iter().flat_map(|r| &r.replicas));
        let most = most.map(|r| r.0.max(r.1)).max().unwrap_or(1).max(1) as f64;
        let mut out = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='800' height='410' font-family='sans-serif' font-size='13'>\n\
             <rect width='800' height='410' fill='white'/>\n{}{}{}",
            text(20, "#000", title),
            text(
                40,
                "#777",
                &format!("requests per second, at most {rate:.1}")
            ),
            steps(&rows, &rates, ("#777", 1.5), (50.0, rate)),
        );
        let colours = ["#04a", "#c22", "#282", "#a60"];
        for (i, (title, colour)) in self.titles.iter().zip(colours).enumerate() {
            let of = |pick: fn(&(i64, i64)) -> i64| {
                let values = rows.iter().map(|r| pick(&r.replicas[i]) as f64);
                values.collect::<Vec<f64>>()
            };
            let words = format!("replicas of {title} (thin: asked for), at most {most:.0}");
            out += &text(225 + 16 * i, colour, &words);
            out += &steps(&rows, &of(|r| r.0), (colour, 0.7), (245.0, most));
            out += &steps(&rows, &of(|r| r.1), (colour, 2.0), (245.0, most));
        }
        out + "</svg>\n"
    }
}

fn text(y: usize, colour: &str, words: &str) -> String {
    format!("<text x='40' y='{y}' fill='{colour}'>{words}</text>\n")
}

/// A line of steps: of this colour and width, from this height down, for values up to `most`.
fn steps(
    rows: &[Row],
    values: &[f64],
    (colour, width): (&str, f64),
    (top, most): (f64, f64),
) -> String {
    let end = rows.last().map_or(1.0, |r| r.at).max(1.0);
    let x = |row: &Row| 40.0 + 740.0 * row.at / end;
    let points = rows.windows(2).zip(values).flat_map(|(pair, value)| {
        let y = top + 150.0 * (1.0 - value / most);
        [x(&pair[0]), x(&pair[1])].map(|x| format!("{x:.1},{y:.1}"))
    });
    let points: Vec<String> = points.collect();
    format!(
        "<polyline fill='none' stroke='{colour}' stroke-width='{width}' points='{}'/>\n",
        points.join(" ")
    )
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.task.abort();
    }
}
