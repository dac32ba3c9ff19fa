//! The order in which objects arrive does not matter: any history equals a reset with what is left at its end.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use proptest::prelude::*;
use wva_controllers::index::{Index, Key, Kind};

use crate::fixtures::{base, objects, pod};

fn universe() -> Vec<(Kind, DynamicObject)> {
    let pods = [
        pod(
            "llama-8b-h100",
            "a",
            "spec: {nodeName: gpu-1}\nstatus: {phase: Running, conditions: [{type: Ready, status: 'True'}]}",
        ),
        pod("llama-8b-h100", "a", "spec: {}\nstatus: {phase: Pending}"),
        pod("llama-8b-h100", "a", "spec: {}\nstatus: {phase: Failed}"),
        pod("llama-8b-l4", "b", "spec: {nodeName: 5}"),
    ];
    let files = [
        include_str!("../samples/v0.0.1.yaml"),
        include_str!("../samples/v0.4.yaml"),
        include_str!("../samples/v0.5.yaml"),
        include_str!("../samples/labelled.yaml"),
        include_str!("../samples/configmaps.yaml"),
    ];
    let all = files.into_iter().chain(pods.iter().map(String::as_str));
    all.flat_map(objects).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_history_equals_a_reset(steps in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8), 0..80)) {
        let universe = universe();
        let mut index = Index::default();
        let mut left: BTreeMap<(Kind, Key), DynamicObject> = BTreeMap::new();
        for (which, what) in steps {
            let (kind, object) = which.get(&universe);
            let id = (*kind, Key::of(object));
            if what == 0 {
                index.delete(id.0, &id.1);
                left.remove(&id);
            } else {
                index.apply(*kind, object);
                left.insert(id, object.clone());
            }
        }
        let mut fresh = Index::default();
        for kind in Kind::ALL {
            fresh.reset(kind, left.iter().filter(|((k, _), _)| *k == kind).map(|(_, o)| o));
        }
        prop_assert_eq!(&index, &fresh);
        prop_assert_eq!(index.fleet(&base()), fresh.fleet(&base()));
        for kind in Kind::ALL {
            index.reset(kind, []);
        }
        prop_assert_eq!(index, Index::default());
    }
}
