//! Emulated model servers: the HTTP face of vLLM, the timing of the simulated replica.
//!
//! ```text
//!  client ──HTTP──▶ api ──Ask──▶ Server ──▶ Engine (pure: replica, metrics; time is an argument)
//!     ▲              │             │            │
//!     └── answer ◀── Delivery ◀────┼────────────┘ tokens
//!                                  ▼
//!                              Schedule ◀── one driver task, asleep until the next event of any server
//! ```
//! One process holds hundreds of servers. An idle one costs a listening socket and nothing else: the driver sleeps until the
//! next event of the simulator's replica, and only where a client streams does it wake for every iteration. Tokens are
//! counted into a cell that the answer's body reads; there is no task and no timer per token.
//!
//! Why not a sleep per token in each request's handler, as mock servers do: the latency of one request depends on all
//! the others in its batch, which is the very thing that an autoscaler has to cope with.
//!
//! **Time.** A process that runs `speed` times as fast has servers that *are* that much faster: their iteration law is
//! divided by it, and every latency, in the metrics as on the wire, is in seconds of the clock on the wall.
//!
//! **Tokens.** A prompt has one token per four bytes of text, rounded up; a prompt of token ids has as many as it lists. A
//! chat is the text `<|im_start|>ROLE\nCONTENT<|im_end|>\n` of each message. The answer is deterministic filler of four bytes
//! a token, so that an answer sent back in the next prompt counts as many tokens as it had. A model wants to stop after
//! [`ServerSpec::answer_tokens`]; `ignore_eos` makes it go on until `max_tokens`.
//!
//! **Prefix caching** works on the hash chain of the prompt's blocks of [`ServerSpec::block_tokens`] tokens, with LRU eviction
//! within the KV memory. Blocks of answers are not cached, unlike vLLM's.
//!
//! **Disaggregation** follows vLLM's NIXL connector: `do_remote_decode` ends a request with its first token and answers with
//! `kv_transfer_params`; a request with those skips its prompt and waits for the link instead. The prefill server frees its
//! KV memory when the prompt is done.

mod api;
mod delivery;
mod emulator;
mod engine;
mod error;
mod exposition;
mod filler;
mod listener;
mod prompt;
mod schedule;
mod server;
mod spec;

pub use emulator::{Config, Emulator, Handle, ServerHandle};
pub use error::EmulatorError;
pub use server::Status;
pub use spec::ServerSpec;
