//! To zero and back.

use std::time::Instant;

use wva_testbed::eventually;

use crate::bed::{Bed, Place};
use crate::site::CHEAP;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_wakes_a_model_and_is_served() {
    let Some(bed) = Bed::start(Place::Wakes, 1, (0, 4)).await else {
        return;
    };
    // Users come until it is known what they ask for; then nobody.
    let users = bed.users(5.0);
    eventually("requests enough to know their shape", async || {
        let ended = bed.metric("llm_d_epp_request_duration_seconds_count").await;
        (ended > 30.0)
            .then_some(())
            .ok_or(format!("{ended} have ended"))
    })
    .await
    .unwrap();
    assert_eq!(users.stop().await.lost, [""; 0]);
    bed.replicas(CHEAP, "no replica", |n| n == 0).await;
    // Pods that end are counted out before they are gone, and the picker may not have heard of it yet.
    eventually("the picker to know no server", async || {
        let ready = bed.metric("llm_d_epp_ready_endpoints").await;
        (ready == 0.0)
            .then_some(())
            .ok_or(format!("{ready} are ready"))
    })
    .await
    .unwrap();
    let asked = Instant::now();
    let asking = bed.ask();
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        early = &mut asking => panic!("nobody can have answered: {early:?}"),
        () = bed.holds() => {}
    }
    let served = asking.await;
    println!(
        "served {:.1?} after asking\n{}",
        asked.elapsed(),
        bed.decisions()
    );
    let decisions = bed.decisions();
    assert_eq!(served, Ok(()), "{decisions}");
    // It may sleep again by now; that it was woken is on record.
    let woken = format!("{}: 0 -> ", CHEAP.name);
    assert!(decisions.contains(&woken), "{decisions}");
}
