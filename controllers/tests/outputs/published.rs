//! What is published after a sequence of reports.

use wva_controllers::published::tolerance::Milli;
use wva_controllers::published::{Direction, Entry, Published, Report, Solver};

use crate::fixtures::{after, decided, held, reason, report};

fn holding(at: f64, entry: Entry) -> Report {
    Report {
        at,
        entries: vec![entry],
        solver: None,
    }
}

#[test]
fn nothing_is_published_before_the_first_cycle() {
    let published = Published::default();
    assert_eq!(published.at, None);
    assert!(published.variant("ns", "a").is_none());
}

#[test]
fn what_was_never_decided_has_no_value() {
    let published = after([holding(1.0, held("ns", "a", 3))]);
    assert_eq!(published.at, Some(1.0));
    assert!(published.variants.is_empty());
}

#[test]
fn held_data_keeps_the_last_value_whatever_the_replicas_do() {
    let mut first = decided("ns", "a", 20, 21);
    first.hpa_tolerance = Some(0.1);
    // The HPA went to 23, as it was told. Told 20.699 now, it would come back on no data at all.
    let published = after([report(1.0, [first]), holding(2.0, held("ns", "a", 23))]);
    let variant = published.variant("ns", "a").unwrap();
    assert_eq!(variant.value, Milli::whole(23));
    assert_eq!((variant.report.desired, variant.report.current), (21, 23));
    assert_eq!(variant.decided_at, 1.0);
    assert_eq!(variant.report.data_age, Some(120.0));
    assert_eq!(variant.reason_codes(), ["stale-data", "demand"]);
}

#[test]
fn a_new_decision_ends_the_hold() {
    let published = after([
        report(1.0, [decided("ns", "a", 2, 3)]),
        holding(2.0, held("ns", "a", 3)),
        report(3.0, [decided("ns", "a", 3, 2)]),
    ]);
    let variant = published.variant("ns", "a").unwrap();
    assert_eq!(
        (variant.held.clone(), variant.value),
        (None, Milli::whole(2))
    );
}

#[test]
fn removed_variants_are_gone_and_start_anew() {
    let mut published = after([report(
        1.0,
        [decided("ns", "a", 1, 2), decided("ns", "b", 1, 1)],
    )]);
    published = published.next(report(2.0, [decided("ns", "b", 1, 1)]));
    assert!(published.variant("ns", "a").is_none());
    published = published.next(holding(3.0, held("ns", "a", 1)));
    assert!(
        published.variant("ns", "a").is_none(),
        "a hold does not bring it back"
    );
}

#[test]
fn scalings_count_changes_of_what_is_desired() {
    let mut steps = [
        decided("ns", "a", 1, 2),
        decided("ns", "a", 1, 2),
        decided("ns", "a", 2, 5),
        decided("ns", "a", 5, 4),
    ];
    steps[3].reasons = vec![reason("stabilising-down")];
    let published = after(steps.into_iter().map(|step| report(0.0, [step])));
    let scalings = &published.variant("ns", "a").unwrap().scalings;
    assert_eq!(scalings[&(Direction::Up, "demand".into())], 2);
    assert_eq!(scalings[&(Direction::Down, "stabilising-down".into())], 1);
    assert_eq!(scalings.len(), 2);
}

#[test]
fn reasons_that_are_no_codes_do_not_become_labels() {
    let steps = (0..100).map(|i| {
        let mut step = decided("ns", "a", 1, 1 + i % 2);
        step.reasons = vec![
            reason(&format!("reason-{i}")),
            reason("Some Text\n\"quoted\""),
        ];
        report(0.0, [step])
    });
    let published = after(steps);
    let variant = published.variant("ns", "a").unwrap();
    assert!(
        variant.scalings.len() <= 34,
        "{} reasons",
        variant.scalings.len()
    );
    assert_eq!(variant.reason_codes(), ["reason-99", "other"]);
}

#[test]
fn the_last_plan_is_remembered_while_nothing_is_planned() {
    let mut first = report(1.0, []);
    first.solver = Some(Solver {
        gap: 0.01,
        seconds: 0.2,
    });
    let published = after([first, report(2.0, [])]);
    assert_eq!(published.solver.map(|s| s.gap), Some(0.01));
}
