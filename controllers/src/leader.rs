//! Leadership by a Lease, fenced: nothing is written after the term ends, whatever happened to the network meanwhile.
//!
//! ```text
//! renewed at t0 ──────────────── t0 + 7 s ─────── t0 + 10 s
//!   └ the holder may write until here ┘              └ others may take the Lease from here on
//! ```
//! The holder counts its term from *before* it sent the renewal, by its own monotonic clock; others count from when they
//! *saw* the Lease change, by theirs. No two clocks are compared. Each write is made only while the term has time left,
//! and may take no longer than that, so a write can neither begin nor end after somebody else may have begun.
//!
//! Why not a ready-made crate: those that there are tell whether the Lease is held, which is out of date by the time it is
//! read; what a writer needs to know is until when it may write.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;

/// Time after which an unrenewed Lease may be taken.
pub const DURATION: Duration = Duration::from_secs(10);
/// Time before that in which the holder no longer writes.
pub const SLACK: Duration = Duration::from_secs(3);
/// Time between two looks at the Lease.
const RETRY: Duration = Duration::from_secs(2);
/// Time for one request about the Lease.
const REQUEST: Duration = Duration::from_secs(3);

/// Until when this process may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Term {
    until: Option<Instant>,
}

impl Term {
    /// A term counted from when the renewal was sent.
    #[must_use]
    pub fn renewed(sent: Instant) -> Self {
        Self {
            until: Some(sent + DURATION - SLACK),
        }
    }

    /// A term that does not end, for a process that has no rivals.
    #[must_use]
    pub fn unrivalled(now: Instant) -> Self {
        Self {
            until: Some(now + Duration::from_secs(100 * 365 * 86_400)),
        }
    }

    /// The time left to write at `now`; `None` where none is.
    #[must_use]
    pub fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }
}

/// What one candidate knows of the Lease.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    identity: String,
    /// Holder and renewal as last seen, and since when they have been so.
    seen: Option<(String, Option<MicroTime>, Instant)>,
}

/// What a candidate does about the Lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// There is none: create it.
    Create(LeaseSpec),
    /// It is ours, or free: write this.
    Write(LeaseSpec),
    /// Somebody else holds it.
    Wait,
}

impl Candidate {
    /// A candidate of this name, unlike that of any rival.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            seen: None,
        }
    }

    /// What to do about the Lease as it is now. `wall` is what is written for people.
    pub fn consider(&mut self, lease: Option<&LeaseSpec>, now: Instant, wall: Timestamp) -> Move {
        let Some(lease) = lease else {
            return Move::Create(self.spec(None, wall));
        };
        let holder = lease.holder_identity.clone().unwrap_or_default();
        let ours = holder == self.identity;
        let since = match &self.seen {
            Some((h, renewed, since)) if *h == holder && *renewed == lease.renew_time => *since,
            _ => now,
        };
        self.seen = Some((holder.clone(), lease.renew_time.clone(), since));
        let stated = lease
            .lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok());
        let duration = stated.map_or(DURATION, |s| Duration::from_secs(s.clamp(1, 60)));
        let expired = now.duration_since(since) >= duration;
        if ours || holder.is_empty() || expired {
            Move::Write(self.spec(Some(lease), wall))
        } else {
            Move::Wait
        }
    }

    /// The Lease given up.
    #[must_use]
    pub fn released(lease: &LeaseSpec) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(String::new()),
            ..lease.clone()
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
        let kept = before.filter(|l| l.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|l| l.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(wall)),
            acquire_time: kept
                .and_then(|l| l.acquire_time.clone())
                .or(Some(MicroTime(wall))),
            lease_transitions: Some(if kept.is_some() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..before.cloned().unwrap_or_default()
        }
    }
}

/// Keeps the Lease `name` while it can, tells the term to `terms`, and gives the Lease up when `stop` is done.
pub async fn campaign(
    client: Client,
    namespace: String,
    name: String,
    identity: String,
    terms: watch::Sender<Term>,
    stop: impl Future<Output = ()>,
) {
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut candidate = Candidate::new(identity.clone());
    let mut stop = std::pin::pin!(stop);
    loop {
        match tokio::time::timeout(REQUEST, attempt(&api, &name, &mut candidate)).await {
            Ok(Ok(Some(term))) => {
                if terms.borrow().left(Instant::now()).is_none() {
                    tracing::info!(%identity, "leading");
                }
                terms.send_replace(term);
            }
            Ok(Ok(None)) => {
                if terms.send_replace(Term::default()).until.is_some() {
                    tracing::warn!(%identity, "leadership lost");
                }
            }
            // The term runs out by itself where the Lease cannot be renewed.
            Ok(Err(error)) => tracing::warn!(%error, "cannot renew the lease {namespace}/{name}"),
            Err(_) => tracing::warn!("no answer about the lease {namespace}/{name}"),
        }
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    let led = terms.send_replace(Term::default()).until.is_some();
    if led {
        let _ = tokio::time::timeout(REQUEST, release(&api, &name, &identity)).await;
    }
}

/// One look at the Lease; the term, if it is ours now.
async fn attempt(
    api: &Api<Lease>,
    name: &str,
    candidate: &mut Candidate,
) -> Result<Option<Term>, kube::Error> {
    let found = api.get_opt(name).await?;
    let spec = found.as_ref().map(|l| l.spec.clone().unwrap_or_default());
    let sent = Instant::now();
    let written = match candidate.consider(spec.as_ref(), sent, Timestamp::now()) {
        Move::Wait => return Ok(None),
        Move::Create(spec) => {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(spec),
            };
            api.create(&PostParams::default(), &lease).await
        }
        Move::Write(spec) => {
            // The resource version makes this fail if anybody wrote since we looked.
            let mut lease = found.unwrap_or_default();
            lease.spec = Some(spec);
            api.replace(name, &PostParams::default(), &lease).await
        }
    };
    match written {
        Ok(_) => Ok(Some(Term::renewed(sent))),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

async fn release(api: &Api<Lease>, name: &str, identity: &str) -> Result<(), kube::Error> {
    let mut lease = api.get(name).await?;
    let spec = lease.spec.clone().unwrap_or_default();
    if spec.holder_identity.as_deref() == Some(identity) {
        lease.spec = Some(Candidate::released(&spec));
        api.replace(name, &PostParams::default(), &lease).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).expect("in range")
    }

    fn written(m: Move) -> LeaseSpec {
        match m {
            Move::Create(spec) | Move::Write(spec) => spec,
            Move::Wait => panic!("it waits"),
        }
    }

    #[test]
    fn a_term_ends_before_the_lease_may_be_taken() {
        let start = Instant::now();
        let term = Term::renewed(start);
        assert_eq!(term.left(start), Some(DURATION - SLACK));
        assert_eq!(term.left(start + DURATION - SLACK), None);
        assert_eq!(Term::default().left(start), None);
    }

    #[test]
    fn a_rival_waits_out_the_whole_lease_by_its_own_clock() {
        let t0 = Instant::now();
        let (mut a, mut b) = (Candidate::new("a"), Candidate::new("b"));
        let lease = written(a.consider(None, t0, wall(0)));
        // b's wall clock is hours ahead, which does not matter.
        assert_eq!(b.consider(Some(&lease), t0, wall(9999)), Move::Wait);
        let almost = t0 + DURATION - Duration::from_millis(1);
        assert_eq!(b.consider(Some(&lease), almost, wall(9999)), Move::Wait);
        let taken = written(b.consider(Some(&lease), t0 + DURATION, wall(9999)));
        assert_eq!(taken.holder_identity.as_deref(), Some("b"));
        assert_eq!(taken.lease_transitions, Some(2));
        // By then a has long stopped writing.
        assert_eq!(Term::renewed(t0).left(t0 + DURATION - SLACK), None);
        // a comes back and waits.
        assert_eq!(
            a.consider(Some(&taken), t0 + DURATION, wall(11)),
            Move::Wait
        );
    }

    #[test]
    fn a_renewal_keeps_rivals_waiting_and_a_release_does_not() {
        let t0 = Instant::now();
        let (mut a, mut b) = (Candidate::new("a"), Candidate::new("b"));
        let mut lease = written(a.consider(None, t0, wall(0)));
        for i in 1..20 {
            let now = t0 + RETRY * i;
            lease = written(a.consider(Some(&lease), now, wall(i64::from(i) * 2)));
            assert_eq!(b.consider(Some(&lease), now, wall(0)), Move::Wait);
        }
        assert_eq!(lease.lease_transitions, Some(1));
        let free = Candidate::released(&lease);
        let taken = written(b.consider(Some(&free), t0 + RETRY * 20, wall(40)));
        assert_eq!(taken.holder_identity.as_deref(), Some("b"));
    }
}
