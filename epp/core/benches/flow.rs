//! What waiting costs: in and out of the queues, with so many waiting already.

use divan::Bencher;
use wva_epp_core::flow::{
    Arrival, BandSettings, Fairness, FlowControl, FlowSettings, Gate, Ordering, StartUp,
};

fn main() {
    divan::main();
}

#[divan::bench(args = [10, 1000, 4000], consts = [false, true])]
fn enqueue_dispatch<const EDF: bool>(bencher: Bencher<'_, '_>, waiting: u64) {
    let ordering = if EDF {
        Ordering::EarliestDeadline
    } else {
        Ordering::FirstCome
    };
    let band = BandSettings {
        fairness: Fairness::RoundRobin,
        ordering,
        ..BandSettings::default()
    };
    let settings = FlowSettings {
        default_band: band,
        ..FlowSettings::default()
    };
    let (mut control, gate) = (
        FlowControl::new(settings, StartUp::new(60.0)),
        Gate::new(10),
    );
    let (mut id, mut shed) = (0, Vec::new());
    let mut offer = |control: &mut FlowControl| {
        id += 1;
        let deadline = Some(id as f64 * 0.7 % 10.0);
        let arrival = Arrival {
            id,
            priority: (id % 3) as i32,
            flow: id % 100,
            bytes: 2000,
            deadline,
        };
        control.offer(arrival, 0.0, &mut shed)
    };
    (0..waiting).for_each(|_| offer(&mut control).expect("room"));
    bencher.bench_local(|| {
        let fits = offer(&mut control).is_ok();
        (fits, control.next(0.0, |_| gate.enter(1.0)))
    });
}
