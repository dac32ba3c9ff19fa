//! Reports: whole pages that are well formed, small, safe and the same each time, whatever the results hold.

mod html;
mod plan;
mod sample;

use proptest::prelude::*;
use wva_simulations::report::{Report, Traffic, render};
use wva_simulations::result::RunResult;

use html::Page;
use sample::{catalogue, day};

fn report<'a>(
    catalogue: &'a wva_models::catalogue::Catalogue,
    runs: &'a [RunResult],
) -> Report<'a> {
    Report {
        title: "day".to_owned(),
        catalogue,
        traffic: vec![Traffic {
            model: "llama-3.1-8b".to_owned(),
            class: "premium".to_owned(),
            source: "diurnal".to_owned(),
            mean_rps: Some(1.6),
            mean_input_tokens: Some(1155.0),
            mean_output_tokens: None,
        }],
        runs,
        oracle_cost_usd: Some(150.0),
        command: "wva simulate examples/day.yaml --report day.html".to_owned(),
        version: "0.1.0".to_owned(),
        notes: vec!["One note.".to_owned()],
    }
}

fn rendered(runs: &[RunResult]) -> String {
    render(&report(&catalogue(), runs))
}

#[test]
fn a_day_of_four_policies_is_well_formed_small_and_needs_no_network() {
    let page = rendered(&day());
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    let parsed = Page::parse(&page);
    parsed.assert_safe();
    assert_eq!(parsed.count("details"), 4);
    assert!(parsed.count("path") > 100);
    for outside in ["http:", "https:", "//cdn", "@import", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn the_same_results_give_the_same_bytes() {
    assert_eq!(rendered(&day()), rendered(&day()));
}

#[test]
fn the_verdict_names_the_cheapest_policy_that_attains_and_what_it_saves() {
    let page = rendered(&day());
    let words = "wva is the cheapest policy that keeps every objective: $200.00, 37.5 % less than static, the next \
                 that does ($320.00).";
    assert!(page.contains(words));
    assert!(page.contains("Cheaper, but misses objectives: hpa-queue ($180.00)."));
}

#[test]
fn the_verdict_says_what_every_policy_missed() {
    let mut runs = day();
    for run in &mut runs {
        run.classes[0].attainment = 0.91;
    }
    let page = rendered(&runs[..1]);
    assert!(page.contains("wva misses an objective"));
    assert!(page.contains("premium at llama-3.1-8b attains 91 % of the 99 % promised"));
    assert!(rendered(&runs).contains("No policy keeps every objective; "));
}

#[test]
fn the_open_section_is_that_of_the_first_run() {
    let page = rendered(&day());
    let open = page
        .find("id=\"policy-0\" open")
        .expect("the first section is open");
    assert_eq!(page.matches("\" open>").count(), 1);
    assert!(page[open..].find("wva").is_some());
}

#[test]
fn hostile_names_stay_text() {
    const HOSTILE: &str =
        "</script><script>alert(1)</script>\"'<img src=x onerror=alert(2)>&amp;{{ 7*7 }}";
    let mut runs = day();
    let run = &mut runs[0];
    run.policy = HOSTILE.to_owned();
    run.variants[0].variant = HOSTILE.to_owned();
    run.classes[0].class = HOSTILE.to_owned();
    run.classes[0].model = HOSTILE.to_owned();
    run.decisions[0].variant = HOSTILE.to_owned();
    run.decisions[0].reasons[0].text = HOSTILE.repeat(20);
    run.decisions[0].reasons[0].code = HOSTILE.to_owned();
    let catalogue = catalogue();
    let mut hostile = report(&catalogue, &runs);
    hostile.title = HOSTILE.to_owned();
    hostile.command = HOSTILE.to_owned();
    hostile.notes = vec![HOSTILE.to_owned()];
    hostile.traffic[0].source = HOSTILE.to_owned();
    let page = render(&hostile);
    let parsed = Page::parse(&page);
    parsed.assert_safe();
    assert_eq!(
        parsed.count("script"),
        6,
        "one per policy, one side by side, one program"
    );
    assert_eq!(parsed.count("img"), 0);
    assert!(!page.contains(">49<"));
}

#[test]
fn nothing_is_a_page_too() {
    let page = rendered(&[]);
    Page::parse(&page).assert_safe();
    assert!(page.contains("No policy was run."));
}

#[test]
fn a_run_without_points_requests_or_decisions_says_no_data() {
    let mut runs = day();
    runs.truncate(1);
    let run = &mut runs[0];
    run.timeline.clear();
    run.decisions.clear();
    for class in &mut run.classes {
        (class.ttft_ms, class.itl_ms, class.gap_ms, class.e2e_ms) = (None, None, None, None);
    }
    let page = rendered(&runs);
    Page::parse(&page).assert_safe();
    assert!(page.contains("no data") && page.contains("no changed decisions on record"));
    assert!(!page.contains("<path class=\"c"), "no shape without points");
    run_without_variants(runs);
}

fn run_without_variants(mut runs: Vec<RunResult>) {
    runs[0].variants.clear();
    runs[0].classes.clear();
    Page::parse(&rendered(&runs)).assert_safe();
}

#[test]
fn decisions_are_bounded_and_the_largest_remain() {
    let mut runs = day();
    runs.truncate(1);
    let one = runs[0].decisions[0].clone();
    runs[0].decisions = (0..5000_u32)
        .map(|i| {
            let mut d = one.clone();
            d.at = f64::from(i);
            (d.current, d.target) = (1, if i == 4321 { 77 } else { 2 });
            d
        })
        .collect();
    let page = rendered(&runs);
    assert!(page.contains("The 400 largest of 5,000 changes."));
    assert!(page.contains("1 → 77"));
    assert!(page.len() < 1_000_000);
}

#[test]
fn many_streams_and_policies_stay_small() {
    let one = day().remove(0);
    let runs: Vec<RunResult> = (0..8)
        .map(|i| {
            let mut run = one.clone();
            run.policy = format!("policy-{i}");
            for _ in 0..3 {
                run.variants.extend(one.variants.iter().cloned());
                run.classes.extend(one.classes.iter().cloned());
                for (point, from) in run.timeline.iter_mut().zip(&one.timeline) {
                    point.variants.extend(from.variants.iter().copied());
                    point.classes.extend(from.classes.iter().copied());
                }
            }
            run
        })
        .collect();
    let page = rendered(&runs);
    Page::parse(&page).assert_safe();
    assert!(page.len() < 4_000_000, "{} bytes", page.len());
}

fn absurd() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(f64::MIN),
        Just(f64::MIN_POSITIVE),
        Just(0.0),
        Just(-0.0),
        Just(-1.0),
        any::<f64>(),
        0.0..1e6,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a result holds, no attribute of the page gets NaN, infinity or an exponent.
    #[test]
    fn absurd_figures_never_break_a_picture(values in prop::collection::vec(absurd(), 24), count in any::<u32>()) {
        let mut runs = day();
        runs.truncate(2);
        let mut next = values.iter().copied().cycle();
        let mut value = || next.next().expect("endless");
        let run = &mut runs[0];
        run.timeline.truncate(30);
        run.duration_s = value();
        run.cost_usd = value();
        run.gpu_hours = value();
        run.energy_kwh = Some(value());
        run.attainment = value();
        run.mean_replicas = value();
        run.timeline_step_s = value();
        run.max_replicas = count;
        run.missed = u64::from(count) << 31;
        for class in &mut run.classes {
            class.attainment = value();
            class.ttft_ms.as_mut().expect("sample").p99 = value();
        }
        for variant in &mut run.variants {
            (variant.price_per_hour_usd, variant.busy) = (value(), value());
        }
        for (i, point) in run.timeline.iter_mut().enumerate() {
            point.cost_per_hour_usd = value();
            if i % 5 == 0 {
                point.at_s = value();
            }
            for class in &mut point.classes {
                class.demand_rps = value();
                class.ttft_p50_ms = Some(value());
                class.ttft_p99_ms = Some(value());
                class.itl_p99_ms = Some(value());
                class.missed = u64::MAX;
            }
            for variant in &mut point.variants {
                variant.ready = count;
            }
            point.classes.truncate(1 + i % 3);
        }
        for d in &mut run.decisions {
            d.at = value();
        }
        Page::parse(&rendered(&runs)).assert_safe();
    }
}
