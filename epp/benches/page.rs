//! What one metrics page costs: a page of 54 kB, as a vLLM server of the end of 2025 serves it, in pieces as they come
//! from a socket. The budget is 0.1 ms.

use std::fmt::Write as _;
use std::sync::Arc;

use divan::{Bencher, black_box, counter::BytesCount};
use wva_epp::scrape::reading::PageReader;
use wva_epp_core::endpoint::Engine;

fn main() {
    divan::main();
}

/// Gauges first, then histograms until it is as long as a real one.
fn page(length: usize) -> String {
    const MODEL: &str = "engine=\"0\",model_name=\"meta-llama/Llama-3.1-8B-Instruct\"";
    let mut page = String::new();
    for (name, value) in [
        ("num_requests_running", "17.0"),
        ("num_requests_waiting", "3.0"),
        ("kv_cache_usage_perc", "0.4375"),
    ] {
        let text = format!(
            "# HELP vllm:{name} A gauge.\n# TYPE vllm:{name} gauge\nvllm:{name}{{{MODEL}}} {value}\n"
        );
        page.push_str(&text);
    }
    page.push_str("vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"sql,chat\",waiting_lora_adapters=\"\"} 1.7636e+09\n");
    page.push_str("vllm:cache_config_info{block_size=\"16\",cache_dtype=\"auto\",engine=\"0\",num_gpu_blocks=\"27650\"} 1.0\n");
    for number in 0.. {
        let name = format!("vllm:some_latency_{number}_seconds");
        writeln!(page, "# HELP {name} A histogram.\n# TYPE {name} histogram")
            .expect("a string takes text");
        for bucket in 0..22 {
            writeln!(
                page,
                "{name}_bucket{{{MODEL},le=\"{}\"}} {}.0",
                f64::from(bucket) / 8.0,
                bucket * 311
            )
            .expect("a string takes text");
        }
        writeln!(
            page,
            "{name}_count{{{MODEL}}} 6842.0\n{name}_sum{{{MODEL}}} 12345.678"
        )
        .expect("a string takes text");
        if page.len() >= length {
            break;
        }
    }
    page
}

/// Pieces of the size of a socket's reads.
#[divan::bench(args = [54_000, 540_000])]
fn read(bencher: Bencher, length: usize) {
    let page = page(length);
    let mut reader = PageReader::new(Arc::default());
    bencher.counter(BytesCount::of_str(&page)).bench_local(|| {
        reader.start();
        for piece in black_box(page.as_bytes()).chunks(16 << 10) {
            reader.feed(piece);
        }
        let reading = reader.finish(Engine::Vllm).expect("known");
        assert_eq!(reading.running, 17.0);
        reading
    });
}
