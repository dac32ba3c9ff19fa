//! The CustomResourceDefinitions of this project as YAML. The committed copies in the chart are made of this, and a test
//! compares them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::CustomResourceExt as _;

use super::{Accelerator, FleetPolicy, ServiceClass, VariantAutoscaling};

/// All definitions, each with the file name that it has in the chart.
#[must_use]
pub fn all() -> Vec<(String, CustomResourceDefinition)> {
    let made = [
        VariantAutoscaling::crd(),
        ServiceClass::crd(),
        Accelerator::crd(),
        FleetPolicy::crd(),
    ];
    made.into_iter()
        .map(|mut crd| {
            let schemas = crd
                .spec
                .versions
                .iter_mut()
                .filter_map(|v| v.schema.as_mut());
            schemas
                .filter_map(|s| s.open_api_v3_schema.as_mut())
                .for_each(without_defaults);
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            (name, crd)
        })
        .collect()
}

/// One definition as a YAML document.
#[must_use]
pub fn yaml(crd: &CustomResourceDefinition) -> String {
    serde_saphyr::to_string(crd).expect("definitions made of our own types serialise")
}

/// Takes the defaults out that reading has for what is absent: the API server would write them into every object, and
/// what nobody said could no longer be told from what somebody did.
fn without_defaults(schema: &mut JSONSchemaProps) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray;
    schema.default = None;
    schema
        .properties
        .iter_mut()
        .flat_map(|p| p.values_mut())
        .for_each(without_defaults);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        without_defaults(items);
    }
}
