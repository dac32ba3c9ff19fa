//! Everything that plays together: cluster, gateway, load, controller, and what it serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use wva_controllers::cycle::effects::Effect;
use wva_controllers::exported;
use wva_controllers::index::Key;
use wva_controllers::run::last_cycle;
use wva_controllers::run::records::RecordSettings;
use wva_controllers::serving::{Transport, alive, serve};
use wva_models::service_class::Slo;

use super::Demo;
use super::cluster::{Cluster, NAMESPACE};
use super::control::Control;
use super::counts::Counts;
use super::gateway::Gateway;
use super::load;
use super::script::Script;
use super::summary::Summary;
use super::tally::{Change, Tally};
use crate::cluster::now;
use crate::cluster::objects::Objects;
use crate::cluster::servers::Load;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::figures::{count, dollars, percent, short};

/// Everything that plays together.
pub struct Stage {
    /// What is played.
    pub script: Script,
    /// Where a cluster would be.
    pub cluster: Cluster,
    /// Who decides.
    pub control: Control,
    /// Who routes and counts.
    pub gateway: Arc<Gateway>,
    /// The course so far.
    pub tally: Tally,
    /// Requests in the servers of each variant over the last looks.
    pub trends: BTreeMap<Key, Vec<f64>>,
    /// Where the controller's metrics are.
    pub address: SocketAddr,
    objects: Objects,
    started: f64,
    load: JoinHandle<()>,
    /// Falls when no more requests are to be sent.
    curtain: watch::Sender<bool>,
    told: usize,
    _stop: oneshot::Sender<()>,
}

/// Samples of a variant's trend.
const TREND: usize = 24;

impl Stage {
    /// Sets everything up and begins.
    pub async fn set(script: Script, demo: &Demo) -> Result<Self, Failure> {
        let listener = TcpListener::bind(demo.http).await;
        let listener = listener.map_err(|e| unheard(demo.http, &e))?;
        let address = listener.local_addr().map_err(|e| unheard(demo.http, &e))?;
        let mut script = script;
        for variant in &mut script.catalogue.variants {
            let start_up = wva_models::units::Seconds::new(demo.start_up.as_secs_f64());
            variant.start_up = start_up.unwrap_or(variant.start_up);
        }
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.map_err(|e| Diagnostic::new(format!("cannot send requests: {e}")))?;
        let started = now();
        let cluster = Cluster::new(&script, demo.start_up, started)?;
        let record = RecordSettings {
            decisions: demo.decisions.clone(),
            cycles: demo.record.clone(),
        };
        let control = Control::new(&script.catalogue, demo.cycle, &record)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = exported::router(Arc::clone(&control.exported))
            .merge(last_cycle::router(control.last.subscribe()))
            .merge(alive(&["/healthz", "/livez", "/readyz"]));
        // The sender is never used: when it is gone, so is the demo.
        let shutdown = async { drop(stopped.await) };
        tokio::spawn(serve(listener, Transport::Plain, router, shutdown));
        let gateway = Gateway::new(counts(&script), started);
        gateway.route(cluster.routes());
        let (requests, streams) = (script.requests.clone(), script.streams.clone());
        let (curtain, down) = watch::channel(false);
        let load = tokio::spawn(load::play(
            down,
            requests,
            streams,
            Arc::clone(&gateway),
            client,
        ));
        Ok(Self {
            objects: cluster.objects(),
            script,
            cluster,
            control,
            gateway,
            tally: Tally::default(),
            trends: BTreeMap::new(),
            address,
            started,
            load,
            curtain,
            told: 0,
            _stop: stop,
        })
    }

    /// Lets the controller decide once, and does as it says.
    pub async fn cycle(&mut self) -> Result<(), Failure> {
        self.cluster.look(now());
        self.gateway.route(self.cluster.routes());
        self.objects = self.cluster.objects();
        let at = now();
        let push = self.gateway.push(at);
        let decided = self.control.cycle(&self.objects, push, at).await?;
        for effect in decided.effects {
            match effect {
                Effect::Scale { variant, to, .. } => {
                    self.cluster.scale_named(&variant.name, to, now())?;
                    self.control.scaled(variant, to);
                    self.tally.scalings += 1;
                }
                Effect::Status {
                    variant, status, ..
                } => self.cluster.set_status(&variant.name, *status),
                Effect::Cost { .. } | Effect::Event { .. } | Effect::Keep { .. } => {}
            }
        }
        // Who leaves gets no request any more.
        self.gateway.route(self.cluster.routes());
        let t_s = self.elapsed();
        let changes = decided.changes.into_iter().map(|text| Change {
            t_s,
            text: text
                .trim_start_matches(NAMESPACE)
                .trim_start_matches('/')
                .to_owned(),
        });
        self.tally.changes.extend(changes);
        self.take_stock(t_s);
        Ok(())
    }

    fn take_stock(&mut self, t_s: f64) {
        let replicas = self.cluster.deployed().iter().map(|d| {
            let (_, serving, paid) = d.replicas();
            (serving, paid, d.price)
        });
        let replicas: Vec<_> = replicas.collect();
        self.tally.take(t_s, self.totals().0, &replicas);
        for (key, load) in self.loads() {
            let trend = self.trends.entry(key).or_default();
            trend.push(load.running + load.waiting);
            let surplus = trend.len().saturating_sub(TREND);
            trend.drain(..surplus);
        }
    }

    /// What the servers said last, by variant.
    pub fn loads(&self) -> BTreeMap<Key, Load> {
        let mut loads: BTreeMap<Key, Load> = BTreeMap::new();
        for pod in &self.control.gathered.pods {
            let Some(sample) = pod.outcome.sample() else {
                continue;
            };
            let name = pod.variant.rsplit('/').next().unwrap_or(&pod.variant);
            let load = loads.entry(Key::new(NAMESPACE, name)).or_default();
            let n = f64::from(load.replicas);
            load.running += sample.running;
            load.waiting += sample.waiting;
            load.kv_usage = Some((load.kv_usage.unwrap_or(0.0) * n + sample.kv_usage) / (n + 1.0));
            load.replicas += 1;
        }
        loads
    }

    /// The objects as the last cycle saw them.
    pub fn objects(&self) -> Objects {
        self.objects.clone()
    }

    /// Seconds since the start, at most the length of the run.
    pub fn elapsed(&self) -> f64 {
        (now() - self.started).max(0.0)
    }

    /// Whether all requests were sent and answered.
    pub fn is_over(&self) -> bool {
        self.load.is_finished()
    }

    /// Requests so far: (arrived, met, missed).
    pub fn totals(&self) -> (f64, f64, f64) {
        self.gateway.counted(|all| {
            all.iter().fold((0.0, 0.0, 0.0), |sum, c| {
                let (arrived, met, missed) = c.totals();
                (sum.0 + arrived, sum.1 + met, sum.2 + missed)
            })
        })
    }

    /// What it has cost so far, $.
    pub fn cost(&self) -> f64 {
        let at = now();
        let cost = |d: &super::cluster::Deployed| d.price * d.paid_s(at) / 3600.0;
        self.cluster.deployed().iter().map(cost).sum()
    }

    /// The first line for people.
    pub fn introduction(&self) -> String {
        format!(
            "{}: {} in {} s; metrics at http://{}/metrics",
            self.script.name,
            count(self.script.requests.len(), "request", "requests"),
            short(self.script.duration_s),
            self.address
        )
    }

    /// A line of the state, `key=value`, for logs.
    pub fn line(&self) -> String {
        let (_, met, missed) = self.totals();
        let answered = met + missed;
        let attained = if answered > 0.0 {
            percent(met / answered)
        } else {
            "-".to_owned()
        };
        let replicas = self.cluster.deployed().iter().map(|d| {
            let (wanted, ready, _) = d.replicas();
            format!(" {}={ready}/{wanted}", d.variant.name)
        });
        format!(
            "{:>4.0} s rate={:.1}{} attained={} usd_h={}",
            self.elapsed(),
            self.tally.rate(),
            replicas.collect::<String>(),
            attained.replace(' ', ""),
            dollars(self.tally.cost_per_hour())
        )
    }

    /// Decisions that were not told yet, one line each.
    pub fn take_changes(&mut self) -> Vec<String> {
        let fresh = &self.tally.changes[self.told..];
        let lines = fresh.iter().map(|c| format!("{:>4.0} s {}", c.t_s, c.text));
        let lines = lines.collect();
        self.told = self.tally.changes.len();
        lines
    }

    /// Ends it, and says what it came to.
    pub async fn strike(mut self) -> Summary {
        self.curtain.send_replace(true);
        // It gives up by itself on answers that do not come.
        let _ = (&mut self.load).await;
        let elapsed = self.elapsed();
        let summary = Summary::of(&self, elapsed);
        self.cluster.stop().await;
        let played = elapsed.min(self.script.duration_s);
        let script = self.script;
        let constant = tokio::task::spawn_blocking(move || {
            let fleet = script.constant_fleet(played);
            fleet.map(|f| (f, script.catalogue))
        });
        summary.compared(constant.await.ok().flatten())
    }
}

fn counts(script: &Script) -> Vec<Counts> {
    let slo = |class: &str| -> Slo {
        let class = script.catalogue.class(class);
        class.and_then(|c| c.slo()).copied().unwrap_or_default()
    };
    let streams = script.streams.iter();
    streams
        .map(|s| Counts::new(&s.model, &s.class, slo(&s.class)))
        .collect()
}

fn unheard(address: SocketAddr, error: &std::io::Error) -> Failure {
    let told = Diagnostic::new(format!("cannot listen on {address}: {error}"));
    told.help("choose another --http address").into()
}
