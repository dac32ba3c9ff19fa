//! Who leads: a leader that freezes or dies is followed in time, and only who leads writes.

use std::time::Instant;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;
use wva_testbed::control_plane::audit::Request;
use wva_testbed::process::Process;
use wva_testbed::{Access, eventually};

use crate::metronome::Metronome;
use crate::plot::{BUSY, Plot, shared};
use crate::site::CHEAP;

/// From the last renewal to the next holder, on a machine that has time for it.
const TAKEOVER: SignedDuration = SignedDuration::from_secs(15);

/// Sees that the Lease was taken soon after it was renewed for the last time, and says when. `watched` since `begin`.
pub fn followed(
    last: Timestamp,
    taken: Timestamp,
    (watched, begin): (&Metronome, Instant),
) -> SignedDuration {
    let after = taken.duration_since(last);
    let late = watched.stalled(begin);
    assert!(
        after <= TAKEOVER || !watched.punctual(begin),
        "{after:#}, of which the machine was late for {late:.1} s"
    );
    after
}

/// An account of its own, so that the API server's record tells who wrote; with all rights.
async fn candidate(plot: &Plot<'_>, name: &str) -> Access {
    let access = plot.cluster.service_account(&plot.system, name).await;
    plot.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{}-{name}", plot.system)},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": plot.system}],
    }))
    .await;
    access.unwrap()
}

pub async fn campaign(plot: &Plot<'_>, name: &str) -> Process {
    let access = candidate(plot, name).await;
    let config = plot.config(&json!({"pods": {"interval_seconds": 1, "timeout_seconds": 2}}));
    let log = format!("wva-{}-{name}", plot.namespace);
    let arguments = ["--namespace", &plot.system, "--name", name];
    plot.controller(&log, &access, &config, &arguments)
}

fn leases(plot: &Plot<'_>) -> Api<Lease> {
    Api::namespaced(plot.client.clone(), &plot.system)
}

/// The Lease, once somebody of this name holds it.
pub async fn held(plot: &Plot<'_>, name: &str) -> LeaseSpec {
    let leases = leases(plot);
    let what = format!("{name} to lead");
    let found = eventually(&what, async || {
        let lease = leases.get("wva-controller").await;
        let spec = lease.map_err(|e| e.to_string())?.spec.unwrap_or_default();
        match spec.holder_identity.as_deref() {
            Some(holder) if holder == name => Ok(spec),
            other => Err(format!("{other:?} leads")),
        }
    });
    found.await.unwrap()
}

pub async fn renewed(plot: &Plot<'_>) -> Timestamp {
    let lease = leases(plot).get("wva-controller").await.unwrap();
    lease.spec.unwrap().renew_time.unwrap().0
}

/// Waits until somebody has written about the variant since.
async fn writes(plot: &Plot<'_>, name: &str) {
    let user = format!("system:serviceaccount:{}:{name}", plot.system);
    eventually(&format!("{name} to write"), async || {
        let requests = plot.cluster.requests().map_err(|e| e.to_string())?;
        let wrote = requests
            .iter()
            .filter(|r| r.user == user && is_write(r) && r.namespace == plot.namespace);
        match wrote.count() {
            0 => Err("nothing yet"),
            _ => Ok(()),
        }
        .map_err(str::to_owned)
    })
    .await
    .unwrap();
}

pub fn is_write(request: &Request) -> bool {
    let writing = ["create", "update", "patch", "delete"].contains(&request.verb.as_str());
    writing && (200..300).contains(&request.code)
}

/// Reads the API server's record from the beginning: each write is by whoever held the Lease then. Returns how many there were.
fn only_leaders_write(plot: &Plot<'_>) -> usize {
    let prefix = format!("system:serviceaccount:{}:", plot.system);
    let requests = plot.cluster.requests().unwrap();
    let ours = requests.iter().filter(|r| is_write(r));
    let ours = ours.filter_map(|r| Some((r.user.strip_prefix(&prefix)?, r)));
    let (mut holder, mut writes) = (None, 0);
    for (who, request) in ours {
        if request.resource == "leases" {
            holder = Some(who);
        } else {
            assert_eq!(holder, Some(who), "{request:?}");
            writes += 1;
        }
    }
    writes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_freezes_or_is_killed_is_followed_and_writes_no_more() {
    let Some(ground) = shared().await else { return };
    let plot = Plot::new(&ground.cluster, "leaders").await;
    plot.deploy(CHEAP, 1).await;
    plot.replicas(CHEAP, "a replica", |n| n == 1).await;
    plot.apply(&plot.variant(CHEAP)).await;
    // Something to write all the time.
    let waves = (0..120).map(|i| (4.0 * f64::from(i), if i % 2 == 0 { 0.5 } else { BUSY }));
    let _load = plot.load(&waves.collect::<Vec<_>>());

    let first = campaign(&plot, "first").await;
    held(&plot, "first").await;
    let second = campaign(&plot, "second").await;
    writes(&plot, "first").await;
    let (watched, begin) = (Metronome::start(), Instant::now());
    first.signal("STOP").unwrap();
    let last = renewed(&plot).await;
    let taken = held(&plot, "second").await.acquire_time.unwrap().0;
    let frozen = followed(last, taken, (&watched, begin));
    // It goes on where it was, and must notice that its term is over.
    first.signal("CONT").unwrap();
    writes(&plot, "second").await;

    let last = renewed(&plot).await;
    let begin = Instant::now();
    drop(second); // SIGKILL
    let taken = held(&plot, "first").await.acquire_time.unwrap().0;
    let killed = followed(last, taken, (&watched, begin));
    first.must_run().unwrap();
    drop(first);
    let writes = only_leaders_write(&plot);
    println!("taken over {frozen:#} and {killed:#} after the last renewal; {writes} writes");
    assert!(writes >= 2, "each of them wrote: {writes}");
}

/// Leases of holders that are gone, whose clocks were years ahead or behind: neither keeps anybody waiting for longer, nor lets
/// anybody in sooner, than ten seconds by one's own clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_by_a_foreign_clock() {
    let Some(ground) = shared().await else { return };
    let candidates = ["2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"].map(async |renewed| {
        let plot = Plot::new(&ground.cluster, "foreign").await;
        let time: Timestamp = renewed.parse().unwrap();
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some("wva-controller".into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some("ghost".into()),
                lease_duration_seconds: Some(10),
                acquire_time: Some(MicroTime(time)),
                renew_time: Some(MicroTime(time)),
                ..LeaseSpec::default()
            }),
        };
        let created = leases(&plot).create(&PostParams::default(), &lease).await;
        created.unwrap();
        let begin = Instant::now();
        let _candidate = campaign(&plot, "heir").await;
        held(&plot, "heir").await;
        let waited = begin.elapsed();
        println!("renewed {renewed}: taken after {waited:.1?}");
        assert!(waited.as_secs() >= 10, "{renewed}: {waited:?}");
    });
    futures::future::join_all(candidates).await;
}
