//! Objectives and rewrites of a cluster, watched in both their groups.

use std::sync::{Arc, Mutex, PoisonError};

use kube::core::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, Client};

use super::{Board, Source};
use crate::api::{GROUP, LEGACY_GROUP, resource};
use crate::discovery::watching::{Told, follow};
use crate::store::Store;

/// A kind that is watched, and what the board does with it.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    plural: &'static str,
    take: fn(&mut Board, Source, &DynamicObject) -> Result<(), String>,
    drop: fn(&mut Board, Source, &DynamicObject),
    clear: fn(&mut Board, Source),
}

const OBJECTIVE: Kind = Kind {
    name: "InferenceObjective",
    plural: "inferenceobjectives",
    take: Board::objective,
    drop: Board::no_objective,
    clear: Board::no_objectives,
};

const REWRITE: Kind = Kind {
    name: "InferenceModelRewrite",
    plural: "inferencemodelrewrites",
    take: Board::rewrite,
    drop: Board::no_rewrite,
    clear: Board::no_rewrites,
};

/// Keeps the store's priorities and rewrites those of the namespace, for as long as it is polled: those for this pool,
/// or for any.
pub async fn watch(client: Client, namespace: String, pool: Option<String>, store: Arc<Store>) {
    let board = Mutex::new(Board::new(pool));
    let one = |kind: Kind, source: Source| {
        let group = match source {
            Source::Current => GROUP,
            Source::Legacy => LEGACY_GROUP,
        };
        let resource = resource(group, "v1alpha2", kind.name, kind.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let (board, store) = (&board, &store);
        let hear = move |told| hear(board, store, kind, source, told);
        follow(api, watcher::Config::default(), kind.name, hear)
    };
    tokio::join!(
        one(OBJECTIVE, Source::Current),
        one(OBJECTIVE, Source::Legacy),
        one(REWRITE, Source::Current),
        one(REWRITE, Source::Legacy),
    );
}

fn hear(
    board: &Mutex<Board>,
    store: &Store,
    kind: Kind,
    source: Source,
    told: Told<DynamicObject>,
) {
    let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
    let take = |board: &mut Board, object: &DynamicObject| {
        if let Err(error) = (kind.take)(board, source, object) {
            let name = object.metadata.name.as_deref();
            tracing::warn!(kind = kind.name, name, error, "object not understood");
        }
    };
    match told {
        Told::All(objects) => {
            (kind.clear)(&mut board, source);
            objects.iter().for_each(|object| take(&mut board, object));
        }
        Told::Applied(object) => take(&mut board, &object),
        Told::Deleted(object) => (kind.drop)(&mut board, source, &object),
        Told::Absent => (kind.clear)(&mut board, source),
    }
    store.set_objectives(board.objectives());
}
