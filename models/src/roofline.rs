//! The roofline: what a variant that nobody has measured can be expected to do, and what no engine can beat.
//!
//! A decode step must read the weights and every KV token it attends to: bytes over bandwidth. A prefill must multiply
//! each token with the active parameters: operations over peak FLOP/s. The *prior* divides both by the efficiencies that
//! good engines reach; the *floors* leave the efficiencies out and are bounds.
//!
//! | parameter | prior |
//! |---|---|
//! | floor | weight bytes read / (η_bw · bandwidth · N) |
//! | b | 2 · active parameters / (η_f · FLOP/s · N) + all-reduce bytes per token / link |
//! | g | KV bytes per token / (η_bw · bandwidth · KV shards) |
//! | p | 4 · layers · attention width / (η_f · 16-bit FLOP/s · N) |
//! | a | 0.7 ms + 37 µs a layer + two all-reduces of 10 µs a layer when N > 1 |
//!
//! with N = TP · η_tp. Constants: η_bw 0.85, η_f 0.65, η_tp 0.95. How near that is (mean absolute error):
//!
//! | against | error |
//! |---|---|
//! | parameters fitted on vLLM, Llama 3.1 8B, bf16, H100 class | each within 15 % |
//! | TPOT at 1024 in and out, fp8, H100 to B300, vLLM 0.19 and TensorRT-LLM (AIConfigurator's silicon data) | 18 %; vLLM with Llama 70B 4–9 % |
//! | splitwise-sim's A100 and H100 measurements, TP 2 | prompt 10 %, token 19 % |
//! | the same at TP 8, host-bound engines of 2023 | prompt 31 %, token 52 %, always too fast |
//! | LLM-Inference-Bench, vLLM of early 2024, A100 and H100 | batch latency 27 %, too fast |
//!
//! The constants follow the engines of today; the older ones spend on the host what the prior does not know of.
//!
//! The floor of a mixture of experts depends on the batch; the law has one floor, so it is taken at
//! [`REPRESENTATIVE_BATCH`] sequences: right in the busy range where capacity is decided, high for a lone request (with the
//! true batch the 18 % above would be 14 %).

use crate::accelerator::Accelerator;
use crate::iteration::{EngineLimits, IterationLaw, ReplicaModel};
use crate::model::{Model, Precision};
use crate::shape::{RequestShape, ShapePoint};
use crate::variant::EngineSettings;

/// Sequences in the batch for which the weight-read floor of a mixture of experts is taken.
pub const REPRESENTATIVE_BATCH: f64 = 32.0;

/// Devices of an ordinary node: tensor parallelism beyond it crosses the network.
pub const NODE_DEVICES: u32 = 8;

/// Coefficients of variation of the prior, in the order of [`IterationLaw`]'s fields: how far a measured law may be
/// expected to be from it.
pub const PRIOR_CV: [f64; 8] = [0.4, 0.3, 0.3, 0.3, 0.5, 0.5, 0.5, 0.5];

const BANDWIDTH_EFFICIENCY: f64 = 0.85;
const COMPUTE_EFFICIENCY: f64 = 0.65;
const PARALLEL_EFFICIENCY: f64 = 0.95;
const LINK_EFFICIENCY: f64 = 0.7;
const LAUNCH_S: f64 = 0.7e-3;
const LAUNCH_PER_LAYER_S: f64 = 37e-6;
const ALL_REDUCE_S: f64 = 10e-6;
const PER_SEQUENCE_S: f64 = 23e-6;
const PREFILL_OVERHEAD_S: f64 = 0.59e-3;
const FRONT_END_S: f64 = 11e-3;
/// Bandwidth of a device's share of the network between nodes, bytes/s: a 400 Gbit/s adapter each.
const NETWORK_BANDWIDTH: f64 = 50e9;
/// Memory for the runtime, captured graphs and communication buffers of a device, bytes.
const RUNTIME_BYTES: f64 = 3e9;
/// Activation elements per token of the budget, in units of the hidden size.
const ACTIVATION_WIDTHS: f64 = 14.0;

/// A model on some devices with some engine settings, before anything is measured.
#[derive(Debug, Clone, Copy)]
pub struct Roofline<'a> {
    /// Model served.
    pub model: &'a Model,
    /// Device type.
    pub accelerator: &'a Accelerator,
    /// Devices that share each layer; at least 1.
    pub tensor_parallel: u32,
    /// Engine settings.
    pub engine: &'a EngineSettings,
}

/// Where the memory of one device goes, bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceMemory {
    /// What the engine may use: memory × utilization.
    pub usable: f64,
    /// Share of the weights on this device.
    pub weights: f64,
    /// Runtime and activations.
    pub reserve: f64,
}

impl DeviceMemory {
    /// What is left for the KV cache; negative when the model does not fit.
    #[must_use]
    pub fn kv_cache(&self) -> f64 {
        self.usable - self.weights - self.reserve
    }
}

impl Roofline<'_> {
    /// Where the memory of one device goes.
    #[must_use]
    pub fn memory(&self) -> DeviceMemory {
        let tokens = f64::from(self.engine.max_num_batched_tokens);
        let activations = ACTIVATION_WIDTHS
            * tokens
            * f64::from(self.model.hidden_size)
            * Precision::Bf16.bytes();
        DeviceMemory {
            usable: self.accelerator.memory_bytes() * self.engine.gpu_memory_utilization,
            weights: self.model.weight_bytes(self.engine.precision) / self.devices(),
            reserve: RUNTIME_BYTES + activations / self.devices(),
        }
    }

    /// KV-cache capacity in tokens (C): as the engine settings state it, otherwise from memory. At least 0.
    #[must_use]
    pub fn kv_tokens(&self) -> f64 {
        self.engine.kv_cache_tokens.map_or_else(
            || {
                let per_device = self.kv_bytes() / self.model.kv_shards(self.tensor_parallel);
                (self.memory().kv_cache() / per_device).max(0.0).floor()
            },
            f64::from,
        )
    }

    /// The prior iteration law (see the module).
    #[must_use]
    pub fn law(&self) -> IterationLaw {
        let (model, device) = (self.model, self.accelerator);
        let compute = COMPUTE_EFFICIENCY * self.effective_devices();
        let bandwidth = BANDWIDTH_EFFICIENCY * device.bandwidth();
        let weights =
            model.weight_bytes(self.engine.precision) * model.read_share(REPRESENTATIVE_BATCH);
        let shards = model.kv_shards(self.tensor_parallel) * self.parallel_efficiency();
        IterationLaw {
            overhead_s: LAUNCH_S
                + f64::from(model.layers) * (LAUNCH_PER_LAYER_S + self.all_reduce_s()),
            floor_s: weights / (bandwidth * self.effective_devices()),
            per_token_s: 2.0 * model.active_parameters()
                / (compute * device.flops(self.engine.precision))
                + self.all_reduce_per_token_s(),
            per_kv_token_s: self.kv_bytes() / (bandwidth * shards),
            per_sequence_s: PER_SEQUENCE_S,
            per_chunk_context_s: self.attention_flops() / (compute * device.flops(Precision::Bf16)),
            prefill_overhead_s: PREFILL_OVERHEAD_S,
            front_end_s: FRONT_END_S,
        }
    }

    /// Limits of the engine's batch.
    #[must_use]
    pub fn limits(&self) -> EngineLimits {
        EngineLimits {
            token_budget: f64::from(self.engine.max_num_batched_tokens),
            max_sequences: f64::from(self.engine.max_num_seqs),
            kv_tokens: self.kv_tokens(),
        }
    }

    /// The prior law with the limits.
    #[must_use]
    pub fn replica(&self) -> ReplicaModel {
        ReplicaModel {
            law: self.law(),
            limits: self.limits(),
        }
    }

    /// Whether tensor parallelism reaches beyond one ordinary node, where the all-reduce crosses the network.
    #[must_use]
    pub const fn crosses_nodes(&self) -> bool {
        self.tensor_parallel > NODE_DEVICES
    }

    /// Least possible gap between output tokens of a request with this input and output, seconds: one read of the
    /// weights that a lone token touches and of the request's own mean context, at full bandwidth.
    #[must_use]
    pub fn itl_floor(&self, request: &ShapePoint) -> f64 {
        let weights = self.model.weight_bytes(self.engine.precision) * self.model.read_share(1.0)
            / self.devices();
        let context = request.input + request.output / 2.0;
        let kv = context * self.kv_bytes() / self.model.kv_shards(self.tensor_parallel);
        (weights + kv) / self.accelerator.bandwidth()
    }

    /// Least possible time to first token of a request with this input of which a share `prefix_hit` is cached,
    /// seconds: 2 · active parameters · computed tokens at peak FLOP/s, no queue. At least one token is computed.
    #[must_use]
    pub fn ttft_floor(&self, request: &ShapePoint, prefix_hit: f64) -> f64 {
        let tokens = (request.input * (1.0 - prefix_hit)).max(1.0);
        2.0 * self.model.active_parameters() * tokens
            / (self.devices() * self.accelerator.flops(self.engine.precision))
    }

    /// Mean of [`Roofline::itl_floor`] over the requests of a shape, seconds.
    #[must_use]
    pub fn mean_itl_floor(&self, shape: &RequestShape) -> f64 {
        shape.mean_of(|p| self.itl_floor(p))
    }

    /// Mean of [`Roofline::ttft_floor`] over the requests of a shape, seconds.
    #[must_use]
    pub fn mean_ttft_floor(&self, shape: &RequestShape) -> f64 {
        shape.mean_of(|p| self.ttft_floor(p, shape.prefix_hit()))
    }

    fn devices(&self) -> f64 {
        f64::from(self.tensor_parallel.max(1))
    }

    fn parallel_efficiency(&self) -> f64 {
        if self.tensor_parallel > 1 {
            PARALLEL_EFFICIENCY
        } else {
            1.0
        }
    }

    fn effective_devices(&self) -> f64 {
        self.devices() * self.parallel_efficiency()
    }

    fn kv_bytes(&self) -> f64 {
        self.model.kv_bytes_per_token(self.engine.kv_precision)
    }

    /// Operations per (token × context token): scores and weighted values.
    fn attention_flops(&self) -> f64 {
        4.0 * f64::from(self.model.layers) * self.model.attention_width()
    }

    /// Latency of a layer's two all-reduces.
    fn all_reduce_s(&self) -> f64 {
        match self.tensor_parallel {
            0 | 1 => 0.0,
            tp if tp <= NODE_DEVICES => 2.0 * ALL_REDUCE_S,
            // The network's latency is several times the link's.
            _ => 8.0 * ALL_REDUCE_S,
        }
    }

    /// Transfer time of a token's activations in all all-reduces (ring: each device sends 2(N−1)/N of them).
    fn all_reduce_per_token_s(&self) -> f64 {
        let n = self.devices();
        let link = if self.crosses_nodes() {
            NETWORK_BANDWIDTH.min(self.accelerator.link_bandwidth())
        } else {
            self.accelerator.link_bandwidth()
        };
        let bytes = 2.0
            * f64::from(self.model.layers)
            * f64::from(self.model.hidden_size)
            * Precision::Bf16.bytes();
        bytes * 2.0 * (n - 1.0) / n / (LINK_EFFICIENCY * link)
    }
}
