//! Policies side by side, over the cores of the machine.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use wva_simulations::comparison::{Comparison, ComparisonError};
use wva_simulations::policy::wva::Sink;
use wva_simulations::result::RunResult;
use wva_simulations::scenario::{PolicyChoice, PolicySettings};

use crate::console::Console;

const UNBROKEN: &str = "no holder of the lock panics";

/// Ordinal of the policy whose cycles can be recorded: the first `wva`.
pub fn recorded(policies: &[PolicyChoice]) -> Option<usize> {
    policies
        .iter()
        .position(|p| matches!(p.policy, PolicySettings::Wva(_)))
}

/// One result per policy, in the order of the policies whichever is done first. `sink` receives the cycles of the first
/// policy that has any.
pub fn run(
    comparison: &Comparison<'_>,
    policies: &[PolicyChoice],
    sink: Option<Sink>,
    console: &Console,
) -> Result<Vec<RunResult>, ComparisonError> {
    let progress = console.progress(policies.len(), "simulating");
    // `static` searches through many runs: begun last, it would be waited for alone.
    let mut order: Vec<usize> = (0..policies.len()).collect();
    order.sort_by_key(|&i| !matches!(policies[i].policy, PolicySettings::Static(_)));
    let sink = Mutex::new(sink);
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Result<RunResult, ComparisonError>>>> =
        policies.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some(&i) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let sink = if Some(i) == recorded(policies) {
                sink.lock().expect(UNBROKEN).take()
            } else {
                None
            };
            let result = comparison.run(&policies[i], sink);
            tracing::info!(
                policy = policies[i].name(),
                ok = result.is_ok(),
                "simulated"
            );
            *done[i].lock().expect(UNBROKEN) = Some(result);
            progress.step();
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 1..cores.min(policies.len()) {
            scope.spawn(work);
        }
        work();
    });
    let result = |cell: Mutex<Option<_>>| cell.into_inner().expect(UNBROKEN);
    done.into_iter()
        .map(|cell| result(cell).expect("every ordinal was taken by some thread"))
        .collect()
}
