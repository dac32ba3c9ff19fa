//! Label selectors: the forms that the API server knows, and round trips.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rstest::rstest;
use wva_controllers::external_metrics::selector::{Condition, Requirement, Selector};

fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    Selector::parse(selector)
        .unwrap()
        .matches(|key| labels.get(key).copied())
}

#[rstest]
#[case("", true)]
#[case(" \t\n", true)]
#[case("x=a", true)]
#[case("x==a", true)]
#[case(" x = a ", true)]
#[case("x=b", false)]
#[case("x!=b", true)]
#[case("x!=a", false)]
#[case("absent!=a", true)]
#[case("absent=a", false)]
#[case("empty=", true)]
#[case("empty=,x=a", true)]
#[case("x=", false)]
#[case("x", true)]
#[case("absent", false)]
#[case("!absent", true)]
#[case("!x", false)]
#[case("! x", false)]
#[case("x in (a)", true)]
#[case("x in (b,a)", true)]
#[case("x in(b, c)", false)]
#[case("x notin (b,c),y=b", true)]
#[case("absent notin (a)", true)]
#[case("absent in (a)", false)]
#[case("empty in ()", true)]
#[case("empty in (,)", true)]
#[case("empty in (a,)", true)]
#[case("x in (,a)", true)]
#[case("x in (b,,c)", false)]
#[case("empty in (b,,c)", true)]
#[case("x notin ()", true)]
#[case("n>4", true)]
#[case("n>5", false)]
#[case("n<6", true)]
#[case("x>1", false)]
#[case("absent<1", false)]
#[case("x=a,y=b,n=5", true)]
#[case("x=a,y=c", false)]
#[case("x=a,x=b", false)]
#[case("in=out", true)]
#[case("in in (in, out)", true)]
#[case("notin", false)]
#[case("!notin", true)]
#[case("x notin (in,notin)", true)]
#[case("a.b/c_d=e.f-g_h", true)]
#[case("x\r\n=\ta", true)]
fn forms(#[case] selector: &str, #[case] expected: bool) {
    let labels = [
        ("x", "a"),
        ("y", "b"),
        ("empty", ""),
        ("n", "5"),
        ("in", "out"),
        ("a.b/c_d", "e.f-g_h"),
    ];
    assert_eq!(matches(selector, &labels), expected);
}

#[rstest]
#[case("x=a,")]
#[case(",x=a")]
#[case("x=a,,y=b")]
#[case("=a")]
#[case("x=a b")]
#[case("x a")]
#[case("x in a")]
#[case("x in")]
#[case("x in (a")]
#[case("x in (a b)")]
#[case("x in (a=b)")]
#[case("x in a)")]
#[case("x in (a))")]
#[case("!x=a")]
#[case("!!x")]
#[case("!")]
#[case("x>a")]
#[case("x>")]
#[case("x=>1")]
#[case("x===a")]
#[case("x=(a)")]
#[case("x,!")]
#[case("x=a;y=b")]
#[case("x=-a")]
#[case("x=a-")]
#[case("x=a/b")]
#[case("x=\"a\"")]
#[case("x=a\\,b")]
#[case("/x=a")]
#[case("p/=a")]
#[case("P/x=a")]
#[case("p/q/x=a")]
#[case("-x=a")]
#[case("é=a")]
#[case("x=é")]
#[case("x=a\0")]
fn refused(#[case] selector: &str) {
    let error = Selector::parse(selector).unwrap_err().to_string();
    assert!(!error.is_empty());
}

#[test]
fn lengths_are_bounded() {
    let long = "a".repeat(63);
    assert!(Selector::parse(&format!("{long}={long}")).is_ok());
    assert!(Selector::parse(&format!("{long}a=b")).is_err());
    assert!(Selector::parse(&format!("b={long}a")).is_err());
    let prefix = vec!["a".repeat(50); 6].join(".");
    assert!(Selector::parse(&format!("{prefix}/x")).is_err());
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("in".to_owned()),
        Just("notin".to_owned()),
        "[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        name(),
        ("[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}", name()).prop_map(|(p, n)| format!("{p}/{n}"))
    ]
}

fn values() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set(prop_oneof![Just(String::new()), name()], 1..4)
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Exists),
        Just(Condition::Absent),
        values().prop_map(Condition::In),
        values().prop_map(Condition::NotIn),
        (0..i64::MAX).prop_map(Condition::Above),
        (0..i64::MAX).prop_map(Condition::Below),
    ]
}

proptest! {
    #[test]
    fn printing_and_reading_round_trip(parts in proptest::collection::vec((key(), condition()), 0..5)) {
        let selector = Selector(
            parts.into_iter().map(|(key, condition)| Requirement { key, condition }).collect(),
        );
        prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
    }

    #[test]
    fn blanks_between_words_mean_nothing(key in key(), set in values()) {
        let tight = Selector(vec![Requirement { key: key.clone(), condition: Condition::NotIn(set.clone()) }]);
        let list: Vec<String> = set.into_iter().collect();
        let wide = format!("  {key}\tnotin  ( {} )\n", list.join(" , "));
        prop_assert_eq!(Selector::parse(&wide), Ok(tight));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
        }
    }

    #[test]
    fn texts_near_the_grammar_are_read_or_refused(text in "[ab!=,()<> in]{0,24}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
        }
    }
}
