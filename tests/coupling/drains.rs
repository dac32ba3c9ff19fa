//! Replicas that leave under load.

use crate::bed::{Bed, Place};
use crate::site::CHEAP;

/// Scale-downs in a row.
const TIMES: usize = 10;
/// Requests per second: two replicas can serve them.
const RATE: f64 = 3.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_scale_downs_lose_no_request() {
    let Some(bed) = Bed::start(Place::Drains, 4, (4, 4)).await else {
        return;
    };
    let users = bed.users(RATE);
    for time in 1..=TIMES {
        bed.bound((2, 2)).await;
        bed.replicas(CHEAP, "two replicas", |n| n == 2).await;
        if time < TIMES {
            bed.bound((4, 4)).await;
            bed.replicas(CHEAP, "four replicas", |n| n == 4).await;
        }
    }
    let outcome = users.stop().await;
    let decisions = bed.decisions();
    println!(
        "{} requests, {} lost\n{decisions}",
        outcome.requests,
        outcome.lost.len()
    );
    assert_eq!(outcome.lost, [""; 0], "{decisions}");
    assert!(outcome.requests > 10 * TIMES, "{}", outcome.requests);
    let lowered = decisions.matches("4 -> 2").count();
    assert_eq!(lowered, TIMES, "{decisions}");
}
