//! Requests as the engine knows them.

use std::sync::Arc;

use wva_simulations::sequence::SequenceId;
use wva_simulations::time::Time;

use crate::delivery::{Delivery, Reason};

/// A request as the engine needs to know it.
#[derive(Debug)]
pub struct Ask {
    /// Prompt tokens.
    pub input: u32,
    /// Output tokens that it will have.
    pub output: u32,
    /// Why it will end there.
    pub reason: Reason,
    /// Hashes of the prompt's full blocks.
    pub blocks: Box<[u64]>,
    /// Whether another server computed the prompt.
    pub transferred: bool,
    /// Whether each token is wanted when it is emitted.
    pub streaming: bool,
    /// Place of its adapter in the server's list.
    pub lora: Option<usize>,
    /// Most output tokens, as the client asked.
    pub max_tokens: Option<u32>,
}

/// A request's name in the engine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    pub(super) slot: SequenceId,
    /// Requests submitted before it.
    pub number: u64,
}

/// What the engine keeps of a request besides its sequence.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) received: Time,
    /// Whether it is past front end and link.
    pub(super) inside: bool,
    /// Tokens that its reader knows of.
    pub(super) told: u32,
    pub(super) ask: Ask,
    pub(super) delivery: Arc<Delivery>,
}
