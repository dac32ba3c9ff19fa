//! A day of a real service, from a trace in a format that `wva simulate --trace` reads, in a minute and a half.
//!
//! Servers run in real time, so the day is squeezed and not the clock: what takes 2 s here, a start-up, is 36 minutes of the
//! trace's day, which is harder than any cluster. The rate is scaled to the fleet; each request has the shape of the other tests.

use wva_simulations::workload::traffic_file::{self, ReadOptions, Recording};

use super::bed::Bed;
use super::pods;
use crate::load::Promise;

/// The trace; `traces/README.md` says whose.
const TRACE: &str = include_str!("../traces/servegen-m-small.csv");
/// Its length here, seconds.
const DAY: f64 = 90.0;

/// What somebody promises whose servers start within two seconds and who wants to keep it while they do.
pub const PATIENT: Promise = Promise {
    ttft: 4.0,
    itl: 0.1,
};

/// The trace as (second, requests per second), the busiest ten minutes at `peak`. Rates are held over their rows.
pub fn day(peak: f64) -> Vec<(f64, f64)> {
    let read = traffic_file::read(TRACE.as_bytes(), "the trace", ReadOptions::default());
    let Recording::Rates(rates) = read.unwrap() else {
        panic!("the trace is one of rates");
    };
    let rows = 0..(rates.length / ROW) as u32;
    let ends = rows.flat_map(|row| [f64::from(row), f64::from(row) + 0.999].map(|row| row * ROW));
    let points: Vec<(f64, f64)> = ends.map(|at| (at, rates.curve.rate(at))).collect();
    let highest = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let (squeeze, scale) = (DAY / rates.length, peak / highest);
    let squeezed = points.iter().map(|(at, rate)| (at * squeeze, rate * scale));
    squeezed.collect()
}

/// Length of a row, seconds.
const ROW: f64 = 600.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_a_real_service_by_annotations_alone() {
    let Some(bed) = Bed::start().await else {
        return;
    };
    bed.both().await;
    bed.promising(PATIENT, &pods()).await;
    let profile = day(8.0);
    let timeline = bed.timeline(&profile);
    let mut load = bed.load(&profile);
    load.promise = PATIENT;
    let outcome = load.end().await;
    // Nobody asks any more.
    timeline.settles(&[1, 0]).await;
    println!("{}", bed.decisions());
    let title = "A day of a service on two accelerators, by annotations";
    timeline.keep("day-by-annotations", title, std::slice::from_ref(&outcome));
    let most = timeline.asked()[0].iter().copied().max();
    assert!(most >= Some(2), "{most:?}");
    let served = timeline.served();
    assert!(served[0] > 3 * served[1], "the cheaper one is preferred");
    assert_eq!(outcome.lost, 0, "{outcome:?}");
    assert!(outcome.requests > 300, "{outcome:?}");
    assert!(
        outcome.judged < 150 || outcome.attainment >= 0.99,
        "{outcome:?}"
    );
}
