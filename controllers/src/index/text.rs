//! Reading an object's untyped part into a small type that names only what is needed.

use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The field `name` of the object as `T`; `T`'s default where it is absent or null.
pub(super) fn field<T: DeserializeOwned + Default>(
    object: &DynamicObject,
    name: &str,
) -> Result<T, String> {
    match object.data.get(name) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => T::deserialize(value).map_err(|e| format!("{name}: {e}")),
    }
}

/// Names of those that own `spec.replicas` of this object, as its managed fields record them, newest entries last.
pub(super) fn writers_of_replicas(object: &DynamicObject) -> Vec<String> {
    let entries = object.metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref().map(|f| &f.0);
            let replicas = fields.and_then(|f| f.get("f:spec")?.get("f:replicas"));
            replicas.is_some()
        })
        .filter_map(|entry| entry.manager.clone())
        .collect()
}

/// Seconds since the Unix epoch.
pub(super) fn epoch(time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time) -> f64 {
    time.0.as_millisecond() as f64 / 1e3
}
