//! What a client asks for, checked.

use serde::Deserialize;
use serde_json::Value;

use super::refusal::Refusal;
use crate::delivery::Reason;
use crate::engine::Ask;
use crate::prompt::{Prompt, root};
use crate::spec::ServerSpec;

/// Most output tokens of a completion that does not say, as OpenAI has it.
const COMPLETION_TOKENS: u32 = 16;

/// Which of the two APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Completion,
    Chat,
}

/// The body of either API; what is not listed changes nothing here.
#[derive(Debug, Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Option<PromptText>,
    messages: Option<Vec<Message>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    min_tokens: Option<u32>,
    ignore_eos: Option<bool>,
    n: Option<u32>,
    cache_salt: Option<String>,
    kv_transfer_params: Option<KvTransferParams>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "prompt must be a string, a list of token ids, or a list of one of these"
)]
enum PromptText {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
    Lists(Vec<Vec<u32>>),
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "content must be a string or a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
}

/// What vLLM's KV connectors pass between servers.
#[derive(Debug, Deserialize)]
struct KvTransferParams {
    do_remote_decode: Option<bool>,
    do_remote_prefill: Option<bool>,
    remote_engine_id: Option<Value>,
    remote_block_ids: Option<Value>,
    remote_host: Option<Value>,
    remote_port: Option<Value>,
}

impl KvTransferParams {
    /// Whether the prompt's KV cache can be had elsewhere. As in vLLM, half an address means to compute it here.
    fn is_offered(&self) -> bool {
        let address = [
            &self.remote_engine_id,
            &self.remote_block_ids,
            &self.remote_host,
            &self.remote_port,
        ];
        self.do_remote_prefill == Some(true) && address.iter().all(|part| part.is_some())
    }
}

/// A request that can be served.
#[derive(Debug)]
pub struct Wanted {
    /// For the engine.
    pub ask: Ask,
    /// For the answer.
    pub about: About,
}

/// What the answer has to know of its request.
#[derive(Debug)]
pub struct About {
    /// Which API.
    pub kind: Kind,
    /// The model as asked for.
    pub model: String,
    /// Prompt tokens.
    pub input: u32,
    /// Which filler to answer with.
    pub seed: u64,
    /// Whether a last event says what was used.
    pub include_usage: bool,
    /// Whether another server will decode.
    pub decoded_elsewhere: bool,
}

impl Wanted {
    /// Reads a body and checks it against the server.
    pub fn read(kind: Kind, bytes: &[u8], spec: &ServerSpec) -> Result<Self, Refusal> {
        let body: Body =
            serde_json::from_slice(bytes).map_err(|e| Refusal::bad(e.to_string(), None))?;
        if body.n.is_some_and(|n| n != 1) {
            return Err(Refusal::bad(
                "an emulated server makes one choice a request: n must be 1",
                Some("n"),
            ));
        }
        let model = body.model.as_ref().unwrap_or(&spec.served_names[0]).clone();
        let lora = adapter(&model, spec)?;
        let names = [
            &*spec.served_names[0],
            lora.map_or("", |l| &spec.loras[l]),
            body.cache_salt.as_deref().unwrap_or(""),
        ];
        let prompt = body.prompt(kind, root(&names), spec.block_tokens)?;
        let room = spec.max_model_len as usize;
        if prompt.tokens >= room {
            return Err(too_long(room, prompt.tokens, 1));
        }
        // It fits: the room is a u32.
        let input = prompt.tokens as u32;
        let (output, reason) = body.output(kind, input, spec)?;
        let transfer = body.kv_transfer_params.as_ref();
        let about = About {
            kind,
            model,
            input,
            seed: prompt.seed,
            include_usage: body.stream_options.as_ref().and_then(|o| o.include_usage) == Some(true),
            decoded_elsewhere: body.is_decoded_elsewhere(),
        };
        Ok(Self {
            about,
            ask: Ask {
                input,
                output,
                reason,
                blocks: prompt.blocks,
                transferred: transfer.is_some_and(KvTransferParams::is_offered),
                streaming: body.stream == Some(true),
                lora,
                max_tokens: body.max_output(),
            },
        })
    }
}

impl Body {
    fn prompt(&self, kind: Kind, root: u64, block: u32) -> Result<Prompt, Refusal> {
        if kind == Kind::Chat {
            let messages = self.messages.as_deref().unwrap_or_default();
            if messages.is_empty() {
                return Err(Refusal::bad(
                    "`messages` must hold at least one message",
                    Some("messages"),
                ));
            }
            return Ok(Prompt::of_text(&rendered(messages), root, block));
        }
        match &self.prompt {
            Some(PromptText::Text(text)) => Ok(Prompt::of_text(text, root, block)),
            Some(PromptText::Ids(ids)) if !ids.is_empty() => Ok(Prompt::of_ids(ids, root, block)),
            Some(PromptText::Texts(texts)) if texts.len() == 1 => {
                Ok(Prompt::of_text(&texts[0], root, block))
            }
            Some(PromptText::Lists(lists)) if lists.len() == 1 && !lists[0].is_empty() => {
                Ok(Prompt::of_ids(&lists[0], root, block))
            }
            None => Err(Refusal::bad("`prompt` is missing", Some("prompt"))),
            Some(_) => Err(Refusal::bad(
                "an emulated server takes one prompt a request, and not an empty list",
                Some("prompt"),
            )),
        }
    }

    fn max_output(&self) -> Option<u32> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    fn is_decoded_elsewhere(&self) -> bool {
        let params = self.kv_transfer_params.as_ref();
        params.and_then(|p| p.do_remote_decode) == Some(true)
    }

    /// Output tokens, and why there are no more.
    fn output(&self, kind: Kind, input: u32, spec: &ServerSpec) -> Result<(u32, Reason), Refusal> {
        let left = spec.max_model_len - input;
        if self.max_output() == Some(0) {
            return Err(Refusal::bad(
                "max_tokens must be at least 1, got 0.",
                Some("max_tokens"),
            ));
        }
        if let Some(most) = self.max_output().filter(|&most| most > left) {
            return Err(too_long(spec.max_model_len as usize, input as usize, most));
        }
        if self.is_decoded_elsewhere() {
            return Ok((1, Reason::Length));
        }
        let default = if kind == Kind::Chat {
            left
        } else {
            COMPLETION_TOKENS.min(left)
        };
        let most = self.max_output().unwrap_or(default);
        let natural = spec.answer_tokens.max(self.min_tokens.unwrap_or(0));
        if self.ignore_eos == Some(true) || natural >= most {
            Ok((most, Reason::Length))
        } else {
            Ok((natural, Reason::Stop))
        }
    }
}

/// The adapter of this name, none for the model itself.
fn adapter(model: &str, spec: &ServerSpec) -> Result<Option<usize>, Refusal> {
    if spec.served_names.iter().any(|name| name == model) {
        return Ok(None);
    }
    let place = spec.loras.iter().position(|name| name == model);
    place.map(Some).ok_or_else(|| Refusal::unknown_model(model))
}

/// A chat as one text, in the form of ChatML.
fn rendered(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        text.push_str("<|im_start|>");
        text.push_str(&message.role);
        text.push('\n');
        match &message.content {
            Some(Content::Text(content)) => text.push_str(content),
            Some(Content::Parts(parts)) => {
                let texts = parts.iter().filter_map(|p| p.text.as_deref());
                texts.for_each(|content| text.push_str(content));
            }
            None => {}
        }
        text.push_str("<|im_end|>\n");
    }
    text
}

fn too_long(room: usize, input: usize, output: u32) -> Refusal {
    Refusal::bad(
        format!(
            "This model's maximum context length is {room} tokens. However, you requested {} tokens ({input} in the \
             prompt, {output} for the answer).",
            input + output as usize
        ),
        Some("max_tokens"),
    )
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn spec() -> ServerSpec {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut spec = ServerSpec::of("llama-3.1-8b", "h100", anywhere).expect("built in");
        (spec.max_model_len, spec.answer_tokens) = (1000, 50);
        spec
    }

    fn output(kind: Kind, body: &str) -> (u32, Reason) {
        let wanted = Wanted::read(kind, body.as_bytes(), &spec()).expect("served");
        (wanted.ask.output, wanted.ask.reason)
    }

    #[test]
    fn answers_end_where_the_client_or_the_model_wants() {
        let completion =
            |more: &str| output(Kind::Completion, &format!(r#"{{"prompt": "abcd"{more}}}"#));
        assert_eq!(completion(""), (16, Reason::Length));
        assert_eq!(completion(r#", "max_tokens": 50"#), (50, Reason::Length));
        assert_eq!(completion(r#", "max_tokens": 51"#), (50, Reason::Stop));
        assert_eq!(
            completion(r#", "max_tokens": 90, "min_tokens": 70"#),
            (70, Reason::Stop)
        );
        assert_eq!(
            completion(r#", "max_tokens": 90, "ignore_eos": true"#),
            (90, Reason::Length)
        );
        let remote = r#", "max_tokens": 90, "kv_transfer_params": {"do_remote_decode": true}"#;
        assert_eq!(completion(remote), (1, Reason::Length));
        let chat = |more: &str| {
            let body = format!(r#"{{"messages": [{{"role": "user", "content": "hi"}}]{more}}}"#);
            output(Kind::Chat, &body)
        };
        assert_eq!(chat(""), (50, Reason::Stop));
        assert_eq!(
            chat(r#", "max_completion_tokens": 7, "max_tokens": 9"#),
            (7, Reason::Length)
        );
    }

    #[test]
    fn contents_may_be_parts_or_absent() {
        let chat = |content: &str| {
            let body = format!(r#"{{"messages": [{{"role": "user"{content}}}]}}"#);
            Wanted::read(Kind::Chat, body.as_bytes(), &spec())
                .expect("served")
                .ask
                .input
        };
        let parts = r#", "content": [{"type": "text", "text": "ab"}, {"type": "image_url"}, {"text": "cd"}]"#;
        assert_eq!(chat(parts), chat(r#", "content": "abcd""#));
        assert_eq!(chat(""), chat(r#", "content": null"#));
    }

    #[test]
    fn half_an_address_of_a_kv_cache_means_to_compute_it() {
        let transferred = |params: &str| {
            let body = format!(r#"{{"prompt": "abcd", "kv_transfer_params": {params}}}"#);
            let wanted = Wanted::read(Kind::Completion, body.as_bytes(), &spec());
            wanted.expect("served").ask.transferred
        };
        let whole = r#"{"do_remote_prefill": true, "remote_engine_id": "e", "remote_block_ids": [[1]],
                        "remote_host": "h", "remote_port": 1}"#;
        assert!(transferred(whole));
        assert!(!transferred(&whole.replace(r#""remote_host": "h","#, "")));
        assert!(!transferred("null"));
    }
}
