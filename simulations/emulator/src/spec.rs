//! What a server is.

use std::net::SocketAddr;
use std::time::Duration;

use wva_models::catalogue::{Catalogue, CatalogueError, Place};
use wva_models::iteration::{IterationLaw, ReplicaModel};
use wva_models::variant::{Role, Variant};
use wva_simulations::replica::ReplicaSpec;

use crate::error::EmulatorError;

/// Bandwidth over which KV caches travel between servers, bytes/s: a 400 Gbit/s adapter.
const LINK_BYTES_PER_S: f64 = 50e9;
/// Bandwidth at which a sleeping server's weights come back from host memory, bytes/s: PCIe 5.
const WAKE_BYTES_PER_S: f64 = 25e9;

/// What a server is: where it listens, the names it answers to, and the engine behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSpec {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Model names that requests may ask for; the first is the metrics' `model_name`.
    pub served_names: Vec<String>,
    /// LoRA adapters, served under their own names.
    pub loras: Vec<String>,
    /// Adapters that fit into one batch, as the metrics say it; it limits nothing here.
    pub max_loras: u32,
    /// Law and limits of the engine, as believed.
    pub replica: ReplicaModel,
    /// What the true law is, as a multiple of the believed one: 1.1 is 10 % slower.
    pub truth: f64,
    /// What it is meant for. Any server serves any request; the role is for whoever routes.
    pub role: Role,
    /// Devices it would occupy.
    pub tensor_parallel: u32,
    /// Whether prefixes are kept between requests.
    pub prefix_caching: bool,
    /// Tokens of a KV block; at least 1.
    pub block_tokens: u32,
    /// Most tokens of a prompt and its answer together.
    pub max_model_len: u32,
    /// Seconds that the KV cache of one token takes from a prefill server to here.
    pub transfer_s_per_token: f64,
    /// From its start to its first request; 503 until then.
    pub start_up: Duration,
    /// From `/wake_up` to its next request.
    pub wake_up: Duration,
    /// Output tokens after which the model would stop by itself; at least 1.
    pub answer_tokens: u32,
}

impl ServerSpec {
    /// A server of a built-in model on a built-in accelerator, by any of their names, under the name given here. Tensor
    /// parallelism, limits and law are the catalogue's; it is ready at once.
    ///
    /// # Errors
    /// [`CatalogueError`] for a name that nothing has, or a model that does not fit.
    pub fn of(model: &str, accelerator: &str, address: SocketAddr) -> Result<Self, CatalogueError> {
        let built_in = Catalogue::builtin();
        if built_in.model(model).is_none() {
            return Err(built_in.unknown_model(Place::file("--model"), model.to_owned()));
        }
        if built_in.accelerator(accelerator).is_none() {
            let place = Place::file("--accelerator");
            return Err(built_in.unknown_accelerator(place, accelerator.to_owned()));
        }
        // JSON strings are YAML strings. The price is of no interest here, but a variant must have one.
        let (m, a) = (
            serde_json::Value::from(model),
            serde_json::Value::from(accelerator),
        );
        let text = format!("variants: [{{model: {m}, accelerator: {a}, price_per_hour_usd: 0}}]");
        let catalogue = Catalogue::parse(&text, model)?;
        let mut spec = Self::of_variant(&catalogue, &catalogue.variants[0], address);
        spec.served_names = vec![model.to_owned()];
        Ok(spec)
    }

    /// A server of one of the catalogue's variants, with its measured law where it has one. It is ready at once:
    /// [`ServerSpec::start_up`] is for the caller to set.
    ///
    /// # Panics
    /// When the variant is another catalogue's.
    #[must_use]
    pub fn of_variant(catalogue: &Catalogue, variant: &Variant, address: SocketAddr) -> Self {
        let roofline = catalogue.roofline(variant);
        let replica = catalogue.replica_model(variant);
        let kv_bytes = roofline
            .model
            .kv_bytes_per_token(variant.engine.kv_precision);
        let context = f64::from(roofline.model.max_context_tokens);
        Self {
            address,
            served_names: vec![variant.model.clone()],
            loras: Vec::new(),
            max_loras: 1,
            replica,
            truth: 1.0,
            role: variant.role,
            tensor_parallel: variant.tensor_parallel,
            prefix_caching: variant.engine.prefix_caching,
            block_tokens: 16,
            max_model_len: context.min(replica.limits.kv_tokens) as u32,
            transfer_s_per_token: kv_bytes / LINK_BYTES_PER_S,
            start_up: Duration::ZERO,
            wake_up: Duration::from_secs_f64(roofline.memory().weights / WAKE_BYTES_PER_S),
            answer_tokens: 256,
        }
    }

    /// Checks every number.
    pub(crate) fn check(&self) -> Result<(), EmulatorError> {
        if self.served_names.iter().all(|n| n.trim().is_empty()) {
            return Err(EmulatorError::NoName);
        }
        let within = |what, value: f64, low, high, domain| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(EmulatorError::Invalid {
                    what,
                    value,
                    domain,
                })
            }
        };
        let transfer = self.transfer_s_per_token;
        within("truth", self.truth, 1e-3, 1e3, "between 0.001 and 1000")?;
        within(
            "transfer_s_per_token",
            transfer,
            0.0,
            10.0,
            "between 0 and 10 s",
        )?;
        within(
            "max_model_len",
            self.max_model_len.into(),
            2.0,
            1e9,
            "between 2 and 10⁹",
        )?;
        within(
            "block_tokens",
            self.block_tokens.into(),
            1.0,
            65536.0,
            "between 1 and 65536",
        )?;
        within(
            "answer_tokens",
            self.answer_tokens.into(),
            1.0,
            1e9,
            "at least 1",
        )?;
        for (what, delay) in [("start_up", self.start_up), ("wake_up", self.wake_up)] {
            within(what, delay.as_secs_f64(), 0.0, 1e9, "at most 10⁹ s")?;
        }
        let law = &self.replica.law;
        for (_, value) in law.parameters() {
            within(
                "a parameter of the law",
                value,
                0.0,
                1e3,
                "between 0 and 1000 s",
            )?;
        }
        let limits = &self.replica.limits;
        let kv = f64::from(self.max_model_len);
        within(
            "limits.kv_tokens",
            limits.kv_tokens,
            kv,
            4e9,
            "at least max_model_len",
        )?;
        within(
            "limits.token_budget",
            limits.token_budget,
            1.0,
            4e9,
            "at least 1",
        )?;
        within(
            "limits.max_sequences",
            limits.max_sequences,
            1.0,
            4e9,
            "at least 1",
        )
    }

    /// The engine of a server that runs `speed` times as fast.
    pub(crate) fn engine(&self, speed: f64) -> ReplicaSpec {
        ReplicaSpec {
            prefix_caching: self.prefix_caching,
            block_tokens: self.block_tokens,
            ..ReplicaSpec::plain(ReplicaModel {
                law: times(&self.replica.law, self.truth / speed),
                ..self.replica
            })
        }
    }
}

/// A law whose every time is multiplied.
fn times(law: &IterationLaw, factor: f64) -> IterationLaw {
    IterationLaw {
        overhead_s: law.overhead_s * factor,
        floor_s: law.floor_s * factor,
        per_token_s: law.per_token_s * factor,
        per_kv_token_s: law.per_kv_token_s * factor,
        per_sequence_s: law.per_sequence_s * factor,
        per_chunk_context_s: law.per_chunk_context_s * factor,
        prefill_overhead_s: law.prefill_overhead_s * factor,
        front_end_s: law.front_end_s * factor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anywhere() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn names_of_the_catalogue_just_work() {
        let spec = ServerSpec::of("llama-3.1-8b", "l40s", anywhere()).expect("built in");
        spec.check().expect("sound");
        assert_eq!(spec.served_names, ["llama-3.1-8b"]);
        assert_eq!(
            spec.max_model_len,
            131_072.min(spec.replica.limits.kv_tokens as u32)
        );
        let hub = ServerSpec::of(
            "meta-llama/Llama-3.1-8B-Instruct",
            "NVIDIA-L40S",
            anywhere(),
        );
        assert_eq!(hub.expect("by registry id").replica, spec.replica);
        for (model, accelerator, said) in [
            ("llama-9", "l40s", "llama-9"),
            ("llama-3.1-8b", "l40z", "l40z"),
            ("llama-3.1-405b", "t4", "405b"),
        ] {
            let error = ServerSpec::of(model, accelerator, anywhere()).expect_err("refused");
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn absurd_numbers_are_refused() {
        let good = ServerSpec::of("llama-3.1-8b", "h100", anywhere()).expect("built in");
        let mut bad: [ServerSpec; 5] = std::array::from_fn(|_| good.clone());
        bad[0].truth = f64::NAN;
        bad[1].served_names = vec![String::new()];
        bad[2].replica.limits.kv_tokens = 10.0;
        bad[3].replica.law.floor_s = -1.0;
        bad[4].start_up = Duration::MAX;
        assert!(bad.iter().all(|spec| spec.check().is_err()));
    }

    #[test]
    fn truth_slows_and_speed_quickens_every_parameter() {
        let mut spec = ServerSpec::of("llama-3.1-8b", "h100", anywhere()).expect("built in");
        spec.truth = 3.0;
        let (law, engine) = (spec.replica.law, spec.engine(6.0).model.law);
        assert_eq!(engine.overhead_s, law.overhead_s * 0.5);
        assert_eq!(engine.front_end_s, law.front_end_s * 0.5);
        assert_eq!(engine.per_chunk_context_s, law.per_chunk_context_s * 0.5);
    }
}
