//! What replicas there were, second by second.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::bed::Bed;
use crate::load::rate;
use crate::site::{CHEAP, LARGE, counts};

impl Bed {
    /// Notes replicas each second from now on.
    pub fn timeline(&self, profile: &[(f64, f64)]) -> Timeline {
        let rows = Arc::new(Mutex::new(Vec::new()));
        let (kept, deployments, profile) =
            (Arc::clone(&rows), self.deployments(), profile.to_vec());
        let task = tokio::spawn(async move {
            let begin = Instant::now();
            loop {
                let cheap = counts(&deployments, CHEAP).await;
                let large = counts(&deployments, LARGE).await;
                if let (Ok(cheap), Ok(large)) = (cheap, large) {
                    let at = begin.elapsed().as_secs_f64();
                    let rate = rate(&profile, at);
                    kept.lock().unwrap().push(Row {
                        at,
                        rate,
                        cheap,
                        large,
                    });
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Timeline { rows, task }
    }
}

/// One second of a fleet: (asked for, ready) of each variant.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub at: f64,
    pub rate: f64,
    pub cheap: (i32, i32),
    pub large: (i32, i32),
}

/// What replicas there were.
pub struct Timeline {
    rows: Arc<Mutex<Vec<Row>>>,
    task: JoinHandle<()>,
}

impl Timeline {
    pub fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().clone()
    }

    /// Prints it: seconds, requests per second, asked for/ready.
    pub fn print(&self, title: &str) {
        println!("{title}\n    s   rate  L40S  H100");
        for row in self.rows() {
            println!(
                "{:5.0} {:6.1}  {}/{}   {}/{}",
                row.at, row.rate, row.cheap.0, row.cheap.1, row.large.0, row.large.1
            );
        }
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.task.abort();
    }
}
