use super::*;

fn vocabulary() -> Vocabulary {
    let metric = |name: &str, kind| (name.to_owned(), kind);
    Vocabulary {
        metrics: vec![
            metric("cost", Kind::Money),
            metric("attainment", Kind::Share),
            metric("p99_ttft", Kind::Latency),
            metric("missed", Kind::Number),
        ],
        subjects: vec!["wva".into(), "static".into(), "hpa-queue".into()],
        classes: vec!["chat".into(), "bulk".into()],
    }
}

fn value(quantity: &Quantity) -> Option<f64> {
    Some(
        match (
            quantity.subject.as_str(),
            quantity.metric.as_str(),
            quantity.class.as_deref(),
        ) {
            ("wva", "cost", None) => 104.0,
            ("static", "cost", None) => 100.0,
            ("hpa-queue", "cost", None) => 90.0,
            (_, "attainment", None) => 0.995,
            (_, "attainment", Some("chat")) => 0.9,
            (_, "p99_ttft", None) => 800.0,
            (_, "missed", None) => 7.0,
            _ => return None,
        },
    )
}

fn holds(text: &str) -> bool {
    let condition =
        Condition::parse(text, &vocabulary()).unwrap_or_else(|e| panic!("{}", e.render(false)));
    !condition.reasons(&value).is_empty()
}

fn complaint(text: &str) -> String {
    match Condition::parse(text, &vocabulary()) {
        Ok(c) => panic!("{text} was read as {c:?}"),
        Err(e) => e.render(false),
    }
}

#[test]
fn compares_values_in_their_units() {
    for (text, expected) in [
        ("attainment<0.99", false),
        ("attainment<99.6%", true),
        ("attainment >= 99.5 %", true),
        ("p99_ttft>1s", false),
        ("p99_ttft>799.9ms", true),
        ("p99_ttft<0.1min", true),
        ("cost>$100", true),
        ("cost>104", false),
        ("cost==104", true),
        ("cost=104", true),
        ("missed!=7", false),
        ("missed<=7", true),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn and_binds_tighter_than_or() {
    assert!(holds("missed==7 or missed==8 and missed==9"));
    assert!(!holds("(missed==7 or missed==8) and missed==9"));
}

#[test]
fn compares_with_another_policy() {
    for (text, expected) in [
        ("cost>static+5%", false),
        ("cost>static+3.9%", true),
        ("cost>hpa-queue+5%", true),
        ("cost>hpa-queue", true),
        ("static.cost>hpa-queue+12%", false),
        ("cost<'static'-1%", false),
        ("static.cost<wva-1%", true),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn a_bare_percentage_needs_exactly_one_other_policy() {
    assert!(complaint("cost>+5%").contains("name it: `cost>static+5%`"));
    let mut two = vocabulary();
    two.subjects.truncate(2);
    let condition = Condition::parse("cost>+5%", &two).expect("one other policy");
    assert!(condition.reasons(&value).is_empty());
    two.subjects.truncate(1);
    let alone = Condition::parse("cost>+5%", &two).expect_err("nobody to compare with");
    assert!(alone.render(false).contains("no other policy"));
}

#[test]
fn narrows_down_to_a_class() {
    assert!(holds("attainment[chat]<95%"));
    assert!(!holds("attainment<95%"));
}

#[test]
fn a_missing_figure_counts_as_a_failure() {
    let condition = Condition::parse("p99_ttft[bulk]>1s", &vocabulary()).expect("well formed");
    assert_eq!(
        condition.reasons(&value),
        ["wva.p99_ttft[bulk] is not known"]
    );
}

#[test]
fn says_why_it_holds() {
    let condition =
        Condition::parse("cost>static+3% or missed>100", &vocabulary()).expect("well formed");
    assert_eq!(
        condition.reasons(&value),
        ["wva.cost $104.00 > $103.00 (static.cost $100.00 +3 %)"]
    );
}

#[test]
fn points_at_the_mistake() {
    for (text, column, message) in [
        ("", 1, "the condition ends where a metric should be"),
        ("cost", 5, "the condition ends where a comparison"),
        ("cost>", 6, "the condition ends where a number"),
        ("cost>>5", 6, "expected a number here"),
        ("price>5", 1, "no metric is called `price`"),
        ("p99_tfft>1s", 1, "did you mean `p99_ttft`?"),
        ("keda.cost>5", 1, "no policy is called `keda`"),
        ("attainment[caht]<1", 12, "did you mean `chat`?"),
        ("attainment[chat<1", 16, "expected `]`"),
        ("p99_ttft>500", 13, "write `500ms` or `500s`"),
        ("p99_ttft>500%", 13, "a latency: `500ms`"),
        ("attainment<99ms", 14, "a share"),
        ("cost>5 cost>6", 8, "an amount"),
        ("cost>5) ", 7, "expected `and`, `or` or the end"),
        ("(cost>5", 8, "the condition ends where `and`, `or` or `)`"),
        ("cost>+5", 8, "the condition ends where `%`"),
        ("cost > 5 & missed > 1", 10, "`&` means nothing here"),
        ("cost>'static", 6, "a quote that does not end"),
        ("cost>é5", 6, "no policy is called `é5`"),
    ] {
        let shown = complaint(text);
        assert!(shown.contains(message), "{text}: {shown}");
        assert!(
            shown.contains(&format!("--fail-if:1:{column}\n")),
            "{text}: {shown}"
        );
    }
}

#[test]
fn deep_nesting_is_refused_rather_than_overflowing() {
    let deep = format!("{}cost>1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(complaint(&deep).contains("too many parentheses"));
}
