//! One look at every kind of object that the controller watches.

use std::collections::BTreeMap;

use futures::future::join_all;
use kube::api::ListParams;
use kube::core::{DynamicObject, TypeMeta};
use kube::{Api, Client};
use wva_controllers::api::imports;
use wva_controllers::index::fleet::{Base, Fleet};
use wva_controllers::index::{Index, Key, Kind};

use super::{Cluster, refused};
use crate::failure::Failure;

/// Objects asked for at a time.
const PAGE: u32 = 500;

/// What became of asking for the objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// They are all here.
    Listed,
    /// The cluster has no such kind.
    Absent,
    /// It is not allowed to see them.
    Forbidden(String),
}

/// The objects of a cluster, or of files.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    of_kind: BTreeMap<Kind, Vec<DynamicObject>>,
    listings: BTreeMap<Kind, Listing>,
}

impl Objects {
    /// Looks at the cluster; ConfigMaps come from `config_namespace`, where the controller reads them.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when the API server does not answer, or shows no workload at all.
    pub async fn read(cluster: &Cluster, config_namespace: Option<&str>) -> Result<Self, Failure> {
        let asked = Kind::ALL.into_iter().map(async |kind| {
            let listed = match (kind, config_namespace) {
                (Kind::ConfigMap, None) => Ok(Vec::new()),
                (Kind::ConfigMap, Some(namespace)) => config_maps(&cluster.client, namespace).await,
                _ => list(&cluster.client, kind, cluster.namespace.as_deref()).await,
            };
            (kind, listed)
        });
        let mut all = Self::default();
        for (kind, listed) in join_all(asked).await {
            let doing = || format!("listing {} in {}", kind.names().2, cluster.scope());
            match listed {
                Ok(objects) => all.add(kind, objects),
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    all.listings.insert(kind, Listing::Absent);
                }
                Err(kube::Error::Api(status)) if status.code == 403 && kind != Kind::Deployment => {
                    let why = Listing::Forbidden(status.message.clone());
                    all.listings.insert(kind, why);
                }
                Err(error) => return Err(refused(&doing(), &error)),
            }
        }
        Ok(all)
    }

    /// Takes objects of one kind in.
    pub fn add(&mut self, kind: Kind, objects: impl IntoIterator<Item = DynamicObject>) {
        self.listings.insert(kind, Listing::Listed);
        self.of_kind.entry(kind).or_default().extend(objects);
    }

    /// What became of asking for a kind.
    pub fn listing(&self, kind: Kind) -> &Listing {
        self.listings.get(&kind).unwrap_or(&Listing::Absent)
    }

    /// All objects of a kind.
    pub fn of(&self, kind: Kind) -> &[DynamicObject] {
        self.of_kind.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// All objects with their kinds.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &DynamicObject)> {
        self.of_kind
            .iter()
            .flat_map(|(kind, objects)| objects.iter().map(|o| (*kind, o)))
    }

    /// One object by kind, namespace and name.
    pub fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<&DynamicObject> {
        let key = Key::new(namespace, name);
        self.of(kind).iter().find(|o| Key::of(o) == key)
    }

    /// The fleet that a controller with these settings makes of these objects.
    pub fn fleet(&self, base: &Base) -> Fleet {
        let mut index = Index::default();
        for (kind, object) in self.all() {
            index.apply(kind, object);
        }
        index.fleet(base)
    }
}

/// Every object of a kind, page by page, each knowing its kind.
async fn list(
    client: &Client,
    kind: Kind,
    namespace: Option<&str>,
) -> Result<Vec<DynamicObject>, kube::Error> {
    let resource = kind.api_resource();
    let api: Api<DynamicObject> = match namespace.filter(|_| kind.is_namespaced()) {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut asked = ListParams::default().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&asked).await?;
        objects.extend(page.items.into_iter().map(|object| typed(kind, object)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => asked = asked.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// The ConfigMaps that the controller imports: those and no others, which may hold anything.
async fn config_maps(client: &Client, namespace: &str) -> Result<Vec<DynamicObject>, kube::Error> {
    let resource = Kind::ConfigMap.api_resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let names = [
        imports::SERVICE_CLASSES,
        imports::ACCELERATOR_COSTS,
        imports::SCALE_TO_ZERO,
    ];
    let mut objects = Vec::new();
    for name in names.into_iter().chain(imports::SATURATION) {
        let found = api.get_opt(name).await?;
        objects.extend(found.map(|object| typed(Kind::ConfigMap, object)));
    }
    Ok(objects)
}

/// Lists leave out what each item is.
fn typed(kind: Kind, mut object: DynamicObject) -> DynamicObject {
    let (api_version, name, _) = kind.names();
    object.types = Some(TypeMeta {
        api_version: api_version.to_owned(),
        kind: name.to_owned(),
    });
    object
}
