//! Emulated model servers for pods: what vLLM's command line says, on the accelerator of the pod's node.
//!
//! Tests deploy the manifests that users deploy. The model comes from the container's command line, the accelerator
//! from the node's label, the timing from the catalogue; a model that is unknown or does not fit fails as a
//! container would.

use std::net::SocketAddr;
use std::sync::OnceLock;

use k8s_openapi::api::core::v1::Container;
use serde_json::json;
use wva_emulator::{Config, Emulator, Handle, ServerHandle, ServerSpec};
use wva_models::catalogue::Catalogue;
use wva_models::variant::Role;

use super::server::{Assignment, BoxFuture, Server, ServerFactory};

/// The label that NVIDIA's operator puts on nodes.
const PRODUCT_LABEL: &str = "nvidia.com/gpu.product";

/// Says whether pods prefill, decode or do both.
const ROLE_LABEL: &str = "llm-d.ai/role";

type Adjust = Box<dyn Fn(&Assignment, &mut ServerSpec) + Send + Sync>;

/// Gives each pod an emulated server.
pub struct EmulatedServers {
    config: Config,
    adjust: Adjust,
    emulator: OnceLock<Handle>,
}

impl EmulatedServers {
    /// Servers that are so many times as fast as real ones.
    pub fn new(speed: f64) -> Self {
        Self {
            config: Config { speed },
            adjust: Box::new(|_, _| {}),
            emulator: OnceLock::new(),
        }
    }

    /// With changes to what the pod and the catalogue say, as to its true law.
    pub fn adjusted(
        self,
        adjust: impl Fn(&Assignment, &mut ServerSpec) + Send + Sync + 'static,
    ) -> Self {
        Self {
            adjust: Box::new(adjust),
            ..self
        }
    }

    fn run(&self, assignment: &Assignment) -> Result<ServerHandle, String> {
        let mut spec = spec(assignment)?;
        (self.adjust)(assignment, &mut spec);
        let server = self.emulator()?.spawn_server(spec);
        server.map_err(|error| error.to_string())
    }

    /// Started with the first server, because its task belongs to the kubelet's runtime.
    fn emulator(&self) -> Result<Handle, String> {
        if let Some(emulator) = self.emulator.get() {
            return Ok(emulator.clone());
        }
        let emulator = Emulator::start(self.config).map_err(|error| error.to_string())?;
        Ok(self.emulator.get_or_init(|| emulator).clone())
    }
}

impl ServerFactory for EmulatedServers {
    fn start(&self, assignment: Assignment) -> BoxFuture<'_, Result<Box<dyn Server>, String>> {
        Box::pin(async move {
            let server = self.run(&assignment)?;
            Ok(Box::new(server) as Box<dyn Server>)
        })
    }
}

impl Server for ServerHandle {
    fn drain(&self) -> BoxFuture<'_, ()> {
        Box::pin(ServerHandle::drain(self))
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.stop())
    }
}

/// What the pod's server is.
fn spec(assignment: &Assignment) -> Result<ServerSpec, String> {
    let line = assignment
        .container()
        .map(CommandLine::of)
        .unwrap_or_default();
    let model = line.model.ok_or("the command line names no model")?;
    let labels = assignment.node.metadata.labels.as_ref();
    let product = labels.and_then(|labels| labels.get(PRODUCT_LABEL));
    let product = product.ok_or("the node has no accelerator")?;
    // JSON is YAML. The price is of no interest to a server, but a variant must have one.
    let mut variant = json!({"model": model, "accelerator": product, "price_per_hour_usd": 0});
    if let Some(devices) = line.tensor_parallel {
        variant["tensor_parallel"] = devices.into();
    }
    let catalogue = Catalogue::parse(&format!("variants: [{variant}]"), "pod");
    let catalogue = catalogue.map_err(|error| error.to_string())?;
    let address = SocketAddr::from((assignment.address, assignment.port()));
    let mut spec = ServerSpec::of_variant(&catalogue, &catalogue.variants[0], address);
    spec.served_names = line.served_names;
    if spec.served_names.is_empty() {
        spec.served_names.push(model);
    }
    spec.start_up = assignment.startup();
    spec.role = role(assignment);
    Ok(spec)
}

fn role(assignment: &Assignment) -> Role {
    let labels = assignment.pod.metadata.labels.as_ref();
    match labels
        .and_then(|labels| labels.get(ROLE_LABEL))
        .map(String::as_str)
    {
        Some("prefill") => Role::Prefill,
        Some("decode") => Role::Decode,
        _ => Role::Both,
    }
}

/// What is read of `vllm serve MODEL --served-model-name NAME… --tensor-parallel-size N`.
#[derive(Debug, Default, PartialEq, Eq)]
struct CommandLine {
    model: Option<String>,
    served_names: Vec<String>,
    tensor_parallel: Option<u32>,
}

impl CommandLine {
    /// Words are split at blanks once more: many manifests wrap the command into a shell's.
    fn of(container: &Container) -> Self {
        let words = [&container.command, &container.args].into_iter().flatten();
        let words: Vec<&str> = words
            .flatten()
            .flat_map(|word| word.split([' ', '\n', '=', '\'', '"', '\\']))
            .filter(|word| !word.is_empty())
            .collect();
        let mut line = Self::default();
        for (index, word) in words.iter().enumerate() {
            let values = words[index + 1..]
                .iter()
                .take_while(|value| !value.starts_with('-'));
            let mut values = values.map(|value| (*value).to_owned());
            match word.replace('_', "-").as_str() {
                "serve" | "--model" => line.model = values.next().or(line.model),
                "--served-model-name" => line.served_names = values.collect(),
                "--tensor-parallel-size" | "-tp" => {
                    line.tensor_parallel = values.next().and_then(|value| value.parse().ok());
                }
                _ => {}
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::NodeSpec;
    use serde_json::Value;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    fn assignment(container: Value) -> Assignment {
        let mut container = container;
        container["name"] = "server".into();
        let pod = json!({
            "metadata": {
                "labels": {ROLE_LABEL: "decode"},
                "annotations": {crate::kubelet::STARTUP_ANNOTATION: "1.5"},
            },
            "spec": {"containers": [container]},
        });
        Assignment {
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            node: Arc::new(NodeSpec::with_gpus("n", "NVIDIA-L40S", 4).object()),
            address: Ipv4Addr::new(127, 9, 1, 2),
        }
    }

    #[test]
    fn a_server_is_what_the_pod_and_its_node_say() {
        let model = "meta-llama/Llama-3.1-8B-Instruct";
        let spec = spec(&assignment(json!({
            "command": ["vllm", "serve"],
            "args": [model, "--served-model-name", "llama", "chat", "--tensor-parallel-size=2"],
            "ports": [{"containerPort": 8200}],
        })))
        .unwrap();
        assert_eq!(spec.address.to_string(), "127.9.1.2:8200");
        assert_eq!(spec.served_names, ["llama", "chat"]);
        assert_eq!(spec.tensor_parallel, 2);
        assert_eq!(spec.role, Role::Decode);
        assert_eq!(spec.start_up.as_secs_f64(), 1.5);
    }

    #[test]
    fn shells_and_flags_are_read_too() {
        let line = |container: Value| {
            let container = assignment(container).container().cloned().unwrap();
            CommandLine::of(&container)
        };
        let script = "exec vllm serve 'Qwen/Qwen3-8B' \\\n  --tensor_parallel_size 4";
        let shell = line(json!({"command": ["sh", "-c", script]}));
        assert_eq!(shell.model.as_deref(), Some("Qwen/Qwen3-8B"));
        assert_eq!(shell.tensor_parallel, Some(4));
        let module = line(json!({"args": ["--model=Qwen/Qwen3-8B", "--port", "8000"]}));
        assert_eq!(module.model.as_deref(), Some("Qwen/Qwen3-8B"));
        assert_eq!(module.served_names, [""; 0]);
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let refusal = |args: Value| spec(&assignment(json!({"args": args}))).unwrap_err();
        assert!(refusal(json!([])).contains("names no model"));
        let unknown = refusal(json!(["--model", "no-such-model"]));
        assert!(unknown.contains("no-such-model"), "{unknown}");
        let large = refusal(json!(["--model", "llama-3.1-405b", "-tp", "1"]));
        assert!(large.contains("does not fit"), "{large}");
    }
}
