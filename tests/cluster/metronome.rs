//! When this machine was late: other tests run beside this one, and what they take is nobody's latency.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// Between two beats.
const BEAT: Duration = Duration::from_millis(10);
/// Seconds by which a machine may be late altogether that counts as punctual.
const PUNCTUAL: f64 = 0.5;

type Lates = Arc<Mutex<Vec<(Instant, f64)>>>;

/// Notes by how much each beat comes late, as long as one of its clones lives.
#[derive(Debug, Clone)]
pub struct Metronome {
    lates: Lates,
    _beating: Arc<JoinSet<()>>,
}

impl Metronome {
    pub fn start() -> Self {
        let lates = Lates::default();
        let mut beating = JoinSet::new();
        beating.spawn(beat(Arc::clone(&lates)));
        let _beating = Arc::new(beating);
        Self { lates, _beating }
    }

    /// Seconds in which this machine ran nothing of the test since then.
    pub fn stalled(&self, since: Instant) -> f64 {
        let lates = self.lates.lock().unwrap();
        let recent = lates.iter().rev().take_while(|(at, _)| *at > since);
        recent.map(|(_, late)| late).sum()
    }

    /// Whether times measured since then are those of what was measured, and not the machine's.
    pub fn punctual(&self, since: Instant) -> bool {
        self.stalled(since) < PUNCTUAL
    }
}

async fn beat(lates: Lates) {
    loop {
        let begin = Instant::now();
        tokio::time::sleep(BEAT).await;
        let late = begin.elapsed().saturating_sub(2 * BEAT).as_secs_f64();
        if late > 0.0 {
            lates.lock().unwrap().push((Instant::now(), late));
        }
    }
}
