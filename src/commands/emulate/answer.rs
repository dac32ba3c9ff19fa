//! The answer of `wva emulate`: who listens where.

use serde::Serialize;
use wva_emulator::{ServerHandle, ServerSpec};
use wva_models::variant::Role;

use crate::console::{Answer, Page};
use crate::figures::{count, grouped};
use crate::table::{Cell, Table};

/// The servers that were started.
#[derive(Debug, Serialize)]
pub struct Emulated {
    /// In the order of their addresses.
    pub servers: Vec<Served>,
}

/// One server.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    address: String,
    url: String,
    model: String,
    variant: Option<String>,
    accelerator: String,
    role: Role,
    devices: u32,
    kv_cache_tokens: f64,
    max_model_len: u32,
}

impl Served {
    /// A server that listens nowhere yet.
    pub fn new(variant: Option<&String>, accelerator: &str, spec: &ServerSpec) -> Self {
        Self {
            address: String::new(),
            url: String::new(),
            model: String::new(),
            variant: variant.cloned(),
            accelerator: accelerator.to_owned(),
            role: spec.role,
            devices: spec.tensor_parallel,
            kv_cache_tokens: spec.replica.limits.kv_tokens,
            max_model_len: spec.max_model_len,
        }
    }

    /// The same, started.
    pub fn at(self, server: &ServerHandle) -> Self {
        let spec = server.spec();
        Self {
            address: server.address().to_string(),
            url: server.url(),
            model: spec.served_names[0].clone(),
            max_model_len: spec.max_model_len,
            ..self
        }
    }
}

impl Answer for Emulated {
    const VERB: &'static str = "emulate";

    fn describe(&self, page: &mut Page) {
        let named = self.servers.iter().any(|s| s.variant.is_some());
        let mut headers = vec![
            "URL",
            "MODEL",
            "ACCELERATOR",
            "ROLE",
            ">KV TOKENS",
            ">CONTEXT",
        ];
        headers.extend(named.then_some("VARIANT"));
        let mut table = Table::new(&headers);
        for server in &self.servers {
            let role = match server.role {
                Role::Both => "both",
                Role::Prefill => "prefill",
                Role::Decode => "decode",
            };
            let mut row = vec![
                server.url.clone().into(),
                server.model.clone().into(),
                format!("{} × {}", server.devices, server.accelerator).into(),
                role.into(),
                grouped(server.kv_cache_tokens).into(),
                grouped(server.max_model_len.into()).into(),
            ];
            row.extend(server.variant.clone().map(Cell::from));
            table.row(row);
        }
        page.table(&table);
        page.line(count(self.servers.len(), "server", "servers"));
    }
}
