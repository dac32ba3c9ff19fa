//! Answers in one piece, and what answers and events have in common.

use serde_json::{Value, json};

use super::request::{About, Kind};
use crate::delivery::{Progress, Reason};
use crate::filler;
use crate::server::{Server, Ticket};

/// What every part of one answer says.
#[derive(Debug)]
pub struct Heading {
    /// `cmpl-…` or `chatcmpl-…`.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The request.
    pub about: About,
}

impl Heading {
    /// The heading of the answer to a request; the id is the client's where it gave one.
    pub fn new(about: About, server: &Server, ticket: &Ticket, client_id: Option<&str>) -> Self {
        let prefix = match about.kind {
            Kind::Completion => "cmpl",
            Kind::Chat => "chatcmpl",
        };
        let id = match client_id {
            Some(id) => format!("{prefix}-{id}"),
            None => format!(
                "{prefix}-{}-{:x}",
                server.spec.address.port(),
                ticket.number()
            ),
        };
        Self {
            id,
            created: server.unix_seconds() as u64,
            about,
        }
    }

    /// What the request used.
    pub fn usage(&self, progress: &Progress) -> Value {
        json!({
            "prompt_tokens": self.about.input,
            "total_tokens": self.about.input + progress.tokens,
            "completion_tokens": progress.tokens,
            "prompt_tokens_details": {"cached_tokens": progress.cached},
        })
    }

    /// The whole answer. `kv` are the `kv_transfer_params` for the server that goes on.
    pub fn whole(&self, progress: &Progress, reason: Reason, kv: Option<Value>) -> Value {
        let mut text = String::new();
        filler::write(&mut text, self.about.seed, 0, progress.tokens);
        let mut choice = json!({
            "index": 0, "logprobs": null, "finish_reason": reason.name(), "stop_reason": null,
        });
        let object = match self.about.kind {
            Kind::Completion => {
                choice["text"] = text.into();
                "text_completion"
            }
            Kind::Chat => {
                choice["message"] = json!({"role": "assistant", "content": text});
                "chat.completion"
            }
        };
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.about.model,
            "choices": [choice], "usage": self.usage(progress), "kv_transfer_params": kv,
        })
    }
}

/// Where another server finds the KV cache of a prompt computed here: `kv_transfer_params` of vLLM's NIXL connector.
pub fn kv_transfer_params(server: &Server, ticket: &Ticket, heading: &Heading) -> Value {
    let spec = &server.spec;
    let count = u64::from(heading.about.input.div_ceil(spec.block_tokens));
    let blocks = (spec.replica.limits.kv_tokens as u64 / u64::from(spec.block_tokens)).max(1);
    // Blocks in turn: which ones they are means nothing here, but each request should have its own.
    let first = ticket.number().wrapping_mul(count);
    let ids: Vec<u64> = (0..count).map(|i| first.wrapping_add(i) % blocks).collect();
    json!({
        "do_remote_prefill": true,
        "do_remote_decode": false,
        "remote_block_ids": ids,
        "remote_engine_id": format!("emulated-{}", spec.address),
        "remote_request_id": heading.id,
        "remote_host": spec.address.ip().to_string(),
        "remote_port": spec.address.port(),
        "tp_size": spec.tensor_parallel,
    })
}
