//! How long one metrics page takes.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/telemetry/pages.rs"]
mod pages;

use wva_controllers::telemetry::engine::EngineReading;
use wva_controllers::telemetry::exposition::Syntax;

fn main() {
    divan::main();
}

/// A vLLM page of one engine, about 54 kB: the target is 0.1 ms.
#[divan::bench]
fn vllm_page(bencher: divan::Bencher<'_, '_>) {
    let page = pages::vllm("meta-llama/Llama-3.1-8B-Instruct", &[pages::LOAD]);
    bencher
        .counter(divan::counter::BytesCount::of_str(&page))
        .bench(|| {
            EngineReading::of_pages([(divan::black_box(page.as_bytes()), Syntax::Text)], None)
        });
}
