//! The coupling with the controller: what arrives goes to it, what it believes and plans comes back.
//!
//! ```text
//!  flows ── Push (all counters since the start) ──► controller
//!  store ◄─ Beliefs (laws, start-up, who leaves) ── controller
//! ```
//! Every few seconds, on a connection of its own, in one task that no request waits for. Counters are cumulative, so an
//! outage needs no buffer and a repeated push counts nothing twice: the first push after it tells all. What was learned is
//! kept for a while when the controller is away, and then given up in two steps ([`state::State`]), since marks of who leaves
//! are soon wrong, and laws of hardware are not.
//!
//! Why not a stream: a round is a few kilobytes, and a connection for each finds the leader behind a Service, whoever it
//! is by then.

pub mod belief;
pub mod link;
pub mod push;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

use wva_models::exchange::Fits;

use crate::discovery::variants::Variants;
use crate::server::shared::Shared;
use belief::{Beliefs, Feasible};
use link::{Link, Trouble};
use push::Pusher;
use state::{Event, State};

/// Longest time between two attempts, unless the interval itself is longer.
const LONGEST: Duration = Duration::from_secs(30);
/// Time until who leaves out somebody new says so.
const SOON: Duration = Duration::from_millis(20);

/// What operators set of the coupling.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Time between two rounds.
    pub interval: Duration,
    /// Time for which laws are kept without the controller.
    pub keep: Duration,
    /// Who this process is: its pod's UID.
    pub identity: String,
    /// Namespace of the endpoints; `None` where they are a file's.
    pub namespace: Option<String>,
}

/// The coupling of one process.
pub struct Coupling {
    link: Link,
    shared: Arc<Shared>,
    variants: Arc<Variants>,
    settings: Settings,
    pusher: Pusher,
    state: State,
    feasible: Feasible,
}

impl Coupling {
    /// With the controller behind `link`; `variants` numbers those of the endpoints.
    #[must_use]
    pub fn new(
        link: Link,
        shared: Arc<Shared>,
        variants: Arc<Variants>,
        settings: Settings,
    ) -> Self {
        let now = shared.clock.now();
        Self {
            pusher: Pusher::new(settings.identity.clone()),
            state: State::new(now, settings.keep.as_secs_f64()),
            feasible: Feasible::default(),
            link,
            shared,
            variants,
            settings,
        }
    }

    /// Pushes and pulls for as long as it is polled.
    pub async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let pause = match self.round().await {
                Ok(Round::Usual) => {
                    failures = 0;
                    self.settings.interval
                }
                Ok(Round::Again) => SOON.min(self.settings.interval),
                Err(trouble) => {
                    failures = failures.saturating_add(1);
                    self.failed(&trouble);
                    pause(self.settings.interval, failures)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn round(&mut self) -> Result<Round, Trouble> {
        let push = self.pusher.push(&self.shared, self.state.fits_at());
        let outcome = self.link.exchange(&push).await;
        let status = self.shared.store.controller();
        status.pushed(outcome.as_ref().err());
        match outcome? {
            None => {
                self.tell(|state, now| state.heard(now));
                Ok(Round::Usual)
            }
            Some(fits) => Ok(self.learn(fits).await),
        }
    }

    /// Takes in what the controller says.
    async fn learn(&mut self, fits: Fits) -> Round {
        let (variants, namespace) = (Arc::clone(&self.variants), self.settings.namespace.clone());
        let mut feasible = std::mem::take(&mut self.feasible);
        let at = fits.at;
        // Finding what a replica may hold takes milliseconds, and a large fleet has many variants.
        let read = tokio::task::spawn_blocking(move || {
            let beliefs = Beliefs::of(&fits, namespace.as_deref(), &variants, &mut feasible);
            (beliefs, feasible)
        });
        let Ok((beliefs, feasible)) = read.await else {
            return Round::Usual;
        };
        self.feasible = feasible;
        if let Some(seconds) = beliefs.start_up_s {
            self.shared.admission.expect_start_up(seconds);
        }
        let others = self.shared.store.believe(beliefs);
        self.tell(|state, now| state.learned(at, now));
        if others { Round::Again } else { Round::Usual }
    }

    fn failed(&mut self, trouble: &Trouble) {
        tracing::debug!(%trouble, "the controller was not reached");
        let text = trouble.to_string();
        self.tell(|state, now| state.failed(text, now));
    }

    /// Lets the state judge, and does what it says.
    fn tell(&mut self, judge: impl FnOnce(&mut State, f64) -> Vec<Event>) {
        let now = self.shared.clock.now();
        let store = &self.shared.store;
        for event in judge(&mut self.state, now) {
            match event {
                Event::Reached => tracing::info!("the controller is heard"),
                Event::Lost(why) => tracing::warn!(
                    why,
                    "the controller is not heard: going by what it said last"
                ),
                Event::ForgetLeaving => {
                    store.forget_leaving();
                    tracing::warn!(
                        "the controller is not heard: nobody counts as leaving any more"
                    );
                }
                Event::ForgetLaws => {
                    store.forget_models();
                    tracing::warn!(
                        "the controller is not heard: falling back to the servers' own metrics"
                    );
                }
            }
        }
        store
            .controller()
            .is(self.state.phase(), self.state.learned_at());
    }
}

/// How a round went.
enum Round {
    /// The next one is due when it is due.
    Usual,
    /// Others leave than before: the controller waits for word that they are left out.
    Again,
}

/// Time to the next attempt after so many failures in a row.
fn pause(interval: Duration, failures: u32) -> Duration {
    let longer = interval.saturating_mul(1 << failures.saturating_sub(1).min(6));
    longer.min(LONGEST.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_up_to_a_bound() {
        let of = |failures| pause(Duration::from_secs(2), failures).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 50].map(of), [2, 4, 8, 16, 30, 30]);
        let slow = pause(Duration::from_secs(60), 9);
        assert_eq!(slow.as_secs(), 60);
    }
}
