//! Accelerators, models, variants and classes as an answer.

use serde::Serialize;
use wva_models::accelerator::Accelerator;
use wva_models::catalogue::Catalogue;
use wva_models::iteration::IterationLaw;
use wva_models::model::{Model, Precision};
use wva_models::service_class::{Bound, Promise, ServiceClass};
use wva_models::units::DollarsPerHour;
use wva_models::variant::{Role, Variant};

use crate::console::{Answer, Page};
use crate::figures::{dollars, grouped, seconds, short};
use crate::table::{Cell, Table, Tone};

/// Everything that has a name, and what follows from it.
#[derive(Debug, Serialize)]
pub struct Listing {
    accelerators: Vec<Accelerator>,
    models: Vec<Model>,
    /// Variants with their replicas.
    pub variants: Vec<Entry>,
    /// Service classes.
    pub classes: Vec<ServiceClass>,
}

/// A variant and one replica of it.
#[derive(Debug, Serialize)]
pub struct Entry {
    #[serde(flatten)]
    variant: Variant,
    replica: Replica,
}

/// What follows from a variant for one replica.
#[derive(Debug, Serialize)]
struct Replica {
    price_per_hour_usd: f64,
    devices: u32,
    kv_cache_tokens: f64,
    weights_gb_per_device: f64,
    /// `measured` or `roofline`.
    law_from: &'static str,
    law: IterationLaw,
}

impl std::ops::Deref for Entry {
    type Target = Variant;
    fn deref(&self) -> &Variant {
        &self.variant
    }
}

impl Listing {
    /// Everything in a catalogue.
    pub fn new(catalogue: &Catalogue) -> Self {
        Self {
            accelerators: catalogue.accelerators.clone(),
            models: catalogue.models.clone(),
            variants: catalogue
                .variants
                .iter()
                .map(|v| Entry::new(catalogue, v))
                .collect(),
            classes: catalogue.classes.clone(),
        }
    }

    /// Leaves out what the conditions do not hold for.
    pub fn keep(
        &mut self,
        accelerators: impl Fn(&Accelerator) -> bool,
        models: impl Fn(&Model) -> bool,
        variants: impl Fn(&Variant) -> bool,
        classes: impl Fn(&ServiceClass) -> bool,
    ) {
        self.accelerators.retain(accelerators);
        self.models.retain(models);
        self.variants.retain(|v| variants(v));
        self.classes.retain(classes);
    }
}

impl Entry {
    fn new(catalogue: &Catalogue, variant: &Variant) -> Self {
        let roofline = catalogue.roofline(variant);
        let model = catalogue.replica_model(variant);
        let replica = Replica {
            price_per_hour_usd: catalogue.price_per_replica(variant).get(),
            devices: variant.tensor_parallel,
            kv_cache_tokens: model.limits.kv_tokens,
            weights_gb_per_device: roofline.memory().weights / 1e9,
            law_from: if variant.law.is_some() {
                "measured"
            } else {
                "roofline"
            },
            law: model.law,
        };
        Self {
            variant: variant.clone(),
            replica,
        }
    }
}

impl Answer for Listing {
    const VERB: &'static str = "catalogue";

    fn describe(&self, page: &mut Page) {
        let sections = [
            ("Accelerators", accelerators(&self.accelerators, page.wide)),
            ("Models", models(&self.models, page.wide)),
            ("Variants", variants(&self.variants, page.wide)),
            ("Classes", classes(&self.classes)),
        ];
        for (title, table) in sections.into_iter().filter(|(_, t)| !t.is_empty()) {
            page.title(title);
            page.table(&table);
        }
    }
}

/// Text of something that may be unknown.
fn known<T>(value: Option<T>, show: impl Fn(T) -> String) -> Cell {
    value.map_or_else(|| Cell::toned("-", Tone::Dim), |v| show(v).into())
}

fn accelerators(all: &[Accelerator], wide: bool) -> Table {
    let plain = [
        "NAME",
        ">GiB",
        ">TB/s",
        ">BF16 TFLOPS",
        ">FP8 TFLOPS",
        ">WATTS",
        ">$/H",
    ];
    let mut table = Table::new(
        &[
            &plain[..],
            if wide {
                &[">LINK GB/s", "ALSO", "SOURCE"]
            } else {
                &[]
            },
        ]
        .concat(),
    );
    for a in all {
        let mut row: Vec<Cell> = vec![
            a.name.as_str().into(),
            short(a.memory_gb).into(),
            short(a.bandwidth_tb_s).into(),
            short(a.bf16_tflops).into(),
            known(a.fp8_tflops, short),
            known(a.power_w, short),
            known(a.price_per_hour_usd.map(DollarsPerHour::get), dollars),
        ];
        if wide {
            row.extend([
                known(a.link_gb_s, short),
                a.aliases.join(", ").into(),
                a.source.as_str().into(),
            ]);
        }
        table.row(row);
    }
    table
}

fn models(all: &[Model], wide: bool) -> Table {
    let plain = [
        "NAME",
        ">BILLIONS",
        ">ACTIVE",
        "WEIGHTS",
        ">LAYERS",
        ">KV KiB/TOKEN",
        ">CONTEXT",
    ];
    let mut table =
        Table::new(&[&plain[..], if wide { &["ALSO", "SOURCE"] } else { &[] }].concat());
    for m in all {
        let mut row: Vec<Cell> = vec![
            m.name.as_str().into(),
            short(m.parameters_b).into(),
            short(m.active_parameters() / 1e9).into(),
            format!("{:?}", m.precision).to_lowercase().into(),
            m.layers.to_string().into(),
            short(m.kv_bytes_per_token(Precision::Bf16) / 1024.0).into(),
            grouped(f64::from(m.max_context_tokens)).into(),
        ];
        if wide {
            row.extend([m.aliases.join(", ").into(), m.source.as_str().into()]);
        }
        table.row(row);
    }
    table
}

fn variants(all: &[Entry], wide: bool) -> Table {
    let plain = [
        "NAME",
        "MODEL",
        "ACCELERATOR",
        ">DEVICES",
        "ROLE",
        ">$/H",
        ">KV TOKENS",
        ">REPLICAS",
        ">START-UP",
    ];
    let more = ["LAW", ">OVERHEAD", ">FLOOR", ">µs/TOKEN", ">ns/KV TOKEN"];
    let mut table = Table::new(&[&plain[..], if wide { &more } else { &[] }].concat());
    for entry in all {
        let (v, replica) = (&entry.variant, &entry.replica);
        let role = match v.role {
            Role::Both => "both",
            Role::Prefill => "prefill",
            Role::Decode => "decode",
        };
        let mut row: Vec<Cell> = vec![
            v.name.as_str().into(),
            v.model.as_str().into(),
            v.accelerator.as_str().into(),
            replica.devices.to_string().into(),
            role.into(),
            dollars(replica.price_per_hour_usd).into(),
            grouped(replica.kv_cache_tokens).into(),
            format!(
                "{}..{}",
                v.min_replicas,
                v.max_replicas.map_or(String::new(), |m| m.to_string())
            )
            .into(),
            seconds(v.start_up.get()).into(),
        ];
        if wide {
            let law = &replica.law;
            row.extend([
                replica.law_from.into(),
                seconds(law.overhead_s).into(),
                seconds(law.floor_s).into(),
                short(law.per_token_s * 1e6).into(),
                short(law.per_kv_token_s * 1e9).into(),
            ]);
        }
        table.row(row);
    }
    table
}

fn classes(all: &[ServiceClass]) -> Table {
    let mut table = Table::new(&["NAME", ">PRIORITY", "TTFT", "ITL", "END TO END", "DEADLINE"]);
    for class in all {
        let slo = class.slo().copied().unwrap_or_default();
        let deadline = match class.promise {
            Promise::Batch { deadline } => Some(deadline.get()),
            Promise::Interactive(_) => None,
        };
        table.row([
            class.name.as_str().into(),
            class.priority.to_string().into(),
            known(slo.ttft, bound),
            known(slo.itl, bound),
            known(slo.e2e, bound),
            known(deadline, seconds),
        ]);
    }
    table
}

/// `p99 ≤ 500 ms`, with the allowance for the input where there is one.
fn bound(bound: Bound) -> String {
    let allowance = bound.per_input_token.get();
    let grows = if allowance > 0.0 {
        format!(" + {} per 1k input", seconds(allowance * 1e3))
    } else {
        String::new()
    };
    format!(
        "{} ≤ {}{grows}",
        bound.statistic,
        seconds(bound.limit.get())
    )
}
