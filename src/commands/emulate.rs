//! `wva emulate`: vLLM-compatible servers without GPUs, for trying out gateways, autoscalers and load generators.

mod answer;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::runtime::Runtime;
use wva_emulator::{Config, Emulator, EmulatorError, Handle, ServerHandle, ServerSpec};
use wva_models::catalogue::{Catalogue, Place};
use wva_models::variant::Role;

use crate::commands::predict::positive;
use crate::console::Console;
use crate::diagnostic::Diagnostic;
use crate::ending::Ending;
use crate::failure::{Failure, Verdict};
use crate::fleet::Fleet;
use crate::input::Input;
use answer::{Emulated, Served};

/// Serve the vLLM API without a GPU, with the latencies that the models expect of one
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wva emulate --model llama-3.1-8b --accelerator l40s                  on 127.0.0.1:8000
  wva emulate --model qwen3-32b --accelerator h100 --count 4 --consecutive-ports
  wva emulate --model llama-3.1-8b --accelerator h100 --address 127.0.1.1 --count 300
  wva emulate examples/chat.yaml --variant h100 --truth 1.15           15 % slower than believed
  curl localhost:8000/v1/completions -d '{\"prompt\": \"Once upon\", \"stream\": true}'

Each server answers
  /v1/completions, /v1/chat/completions, /v1/models, /version, /metrics (vLLM's names)
  /health, /ping, /readyz (503 while it loads or drains), /healthz (200 while it lives)
  /sleep, /wake_up, /is_sleeping
Requests share an engine with continuous batching, KV memory, preemption and a prefix cache;
kv_transfer_params pass prompts from one server on to another. The text is filler.

  tokens    a prompt has one per four bytes of text, rounded up; token ids count as given
  length    max_tokens, or --answer-tokens if that is less and ignore_eos is not set
  time      --speed 10 is ten times as fast: latencies, in metrics too, are a tenth

Ctrl-C or SIGTERM drains: requests in flight are finished, new ones get 503. Again: end at once.")]
pub struct Emulate {
    /// A catalogue, scenario or plan file, whose variants are served with their measured laws
    file: Option<PathBuf>,
    /// Variants of the file; absent, all of them
    #[arg(long, value_name = "NAME", requires = "file")]
    variant: Vec<String>,
    /// A built-in model, by any of its names
    #[arg(
        long,
        value_name = "NAME",
        requires = "accelerator",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    model: Option<String>,
    /// A built-in accelerator, by any of its names
    #[arg(long, value_name = "NAME", requires = "model")]
    accelerator: Option<String>,
    /// What the servers are for: both, prefill or decode; a file says it for its variants
    #[arg(long, value_enum, requires = "model", hide_possible_values = true)]
    role: Option<RoleArgument>,
    /// Address of the first server
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Port of the servers, or the first one's; 0 takes free ones
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Servers of each variant
    #[arg(long, default_value_t = 1, value_name = "SERVERS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Give each further server the next port; without it, the next address
    #[arg(long)]
    consecutive_ports: bool,
    /// Names to serve the model under; absent, its own
    #[arg(long, value_name = "NAME")]
    served_model_name: Vec<String>,
    /// LoRA adapters to serve besides
    #[arg(long, value_name = "NAME")]
    lora: Vec<String>,
    /// How many times as fast as real servers they are
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    speed: f64,
    /// Times of the true law over those of the believed one
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    truth: f64,
    /// Seconds that each server loads its model, at speed 1
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS", value_parser = not_negative)]
    start_up: f64,
    /// Output tokens after which the model stops by itself
    #[arg(long, default_value_t = 256, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    answer_tokens: u32,
    /// Longest context, less than the model's and the memory's own
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(2..))]
    max_model_len: Option<u32>,
    /// Seconds to finish requests before they are cut off at the end
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS", value_parser = not_negative)]
    drain: f64,
}

/// [`Role`] as written on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArgument {
    Both,
    Prefill,
    Decode,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::Both => Self::Both,
            RoleArgument::Prefill => Self::Prefill,
            RoleArgument::Decode => Self::Decode,
        }
    }
}

/// A finite number of at most a day's seconds, 0 included.
fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=86_400.0).contains(&value) => Ok(value),
        _ => Err("must be a number from 0 to 86400".to_owned()),
    }
}

impl Emulate {
    /// Serves until it is told to end.
    pub fn run(&self, console: &Console) -> Result<Verdict, Failure> {
        let specs = self.specs()?;
        let runtime = Runtime::new().map_err(unstarted)?;
        runtime.block_on(self.serve(specs, console))
    }

    async fn serve(
        &self,
        specs: Vec<(Served, ServerSpec)>,
        console: &Console,
    ) -> Result<Verdict, Failure> {
        let mut ending = Ending::new().map_err(unstarted)?;
        let emulator = Emulator::start(Config { speed: self.speed }).map_err(refused)?;
        let mut servers = Vec::new();
        for (served, spec) in specs {
            let server = emulator.spawn_server(spec).map_err(refused)?;
            servers.push(served.at(&server));
        }
        console.answer(&Emulated { servers })?;
        console.note("serving; Ctrl-C drains and ends");
        ending.asked().await;
        self.drain(&emulator, &mut ending, console).await;
        Ok(Verdict::Done)
    }

    /// Lets requests finish, for as long as that is allowed and nobody asks again.
    async fn drain(&self, emulator: &Handle, ending: &mut Ending, console: &Console) {
        let servers = emulator.servers();
        let in_flight: usize = servers.iter().map(ServerHandle::in_flight).sum();
        if in_flight > 0 {
            console.note(&format!("finishing {in_flight} requests"));
        }
        let drained = tokio::time::timeout(Duration::from_secs_f64(self.drain), emulator.drain());
        tokio::select! {
            _ = drained => {}
            () = ending.asked() => {}
        }
        emulator.stop().await;
    }

    /// The servers, each at its place.
    fn specs(&self) -> Result<Vec<(Served, ServerSpec)>, Failure> {
        let kinds = match (&self.file, &self.model, &self.accelerator) {
            (Some(file), ..) => self.of_file(&Input::read(file, "a catalogue")?)?,
            (None, Some(model), Some(accelerator)) => {
                let mut spec = ServerSpec::of(model, accelerator, self.place(0)?)?;
                spec.role = self.role.map_or(spec.role, Role::from);
                let built_in = Catalogue::builtin();
                let known = built_in.accelerator(accelerator);
                let name = known.map_or(accelerator, |a| &a.name);
                vec![(Served::new(None, name, &spec), spec)]
            }
            // The arguments say so already; this is for whoever changes them.
            _ => return Err(Diagnostic::new("which model, on which accelerator?").into()),
        };
        let mut placed = Vec::new();
        for (served, spec) in kinds {
            for _ in 0..self.count {
                let address = self.place(placed.len())?;
                placed.push((served.clone(), self.adjusted(&spec, address)));
            }
        }
        Ok(placed)
    }

    /// One server of each variant that is wanted of the file.
    fn of_file(&self, input: &Input) -> Result<Vec<(Served, ServerSpec)>, Failure> {
        let fleet = Fleet::read(input)?;
        let catalogue: &Catalogue = &fleet.catalogue;
        let unknown =
            |name: &String| catalogue.unknown_variant(Place::file("--variant"), name.clone());
        let named = self.variant.iter();
        let named = named.map(|name| catalogue.variant(name).ok_or_else(|| unknown(name)));
        let mut variants = named.collect::<Result<Vec<_>, _>>()?;
        if variants.is_empty() {
            variants = catalogue.variants.iter().collect();
        }
        if variants.is_empty() {
            let nothing = input.complaint("there is no variant in this file", 0, 0);
            return Err(nothing
                .help("add one, or give --model and --accelerator")
                .into());
        }
        let place = self.place(0)?;
        let kind = |variant: &&_| {
            let spec = ServerSpec::of_variant(catalogue, variant, place);
            (
                Served::new(Some(&variant.name), &variant.accelerator, &spec),
                spec,
            )
        };
        Ok(variants.iter().map(kind).collect())
    }

    /// The specification with what the command line says.
    fn adjusted(&self, spec: &ServerSpec, address: SocketAddr) -> ServerSpec {
        let mut spec = spec.clone();
        spec.address = address;
        if !self.served_model_name.is_empty() {
            spec.served_names.clone_from(&self.served_model_name);
        }
        spec.loras.clone_from(&self.lora);
        spec.max_loras = u32::try_from(self.lora.len()).unwrap_or(u32::MAX).max(1);
        spec.truth = self.truth;
        spec.start_up = Duration::from_secs_f64(self.start_up);
        spec.answer_tokens = self.answer_tokens;
        if let Some(most) = self.max_model_len {
            spec.max_model_len = spec.max_model_len.min(most);
        }
        spec
    }

    /// Where the `i`-th server listens.
    fn place(&self, i: usize) -> Result<SocketAddr, Failure> {
        let beyond = || {
            let message = format!("there are not {} addresses or ports from here on", i + 1);
            Diagnostic::new(message).help("begin at a lower --address or --port, or lower --count")
        };
        if self.consecutive_ports && self.port != 0 {
            let port = u16::try_from(i).ok().and_then(|i| self.port.checked_add(i));
            return Ok((self.address, port.ok_or_else(beyond)?).into());
        }
        if self.consecutive_ports {
            return Ok((self.address, 0).into());
        }
        let address = match self.address {
            IpAddr::V4(first) => {
                let offset = u32::try_from(i).ok();
                let bits = offset.and_then(|i| first.to_bits().checked_add(i));
                IpAddr::from(Ipv4Addr::from_bits(bits.ok_or_else(beyond)?))
            }
            IpAddr::V6(first) => {
                let bits = first.to_bits().checked_add(i as u128);
                IpAddr::from(Ipv6Addr::from_bits(bits.ok_or_else(beyond)?))
            }
        };
        Ok((address, self.port).into())
    }
}

fn unstarted(error: io::Error) -> Failure {
    Diagnostic::new(format!("cannot start serving: {error}")).into()
}

fn refused(error: EmulatorError) -> Failure {
    let diagnostic = Diagnostic::new(error.to_string());
    match error {
        EmulatorError::Listen { .. } => diagnostic
            .help("choose another --port or --address, or --consecutive-ports; many servers may need `ulimit -n 8192`")
            .into(),
        _ => diagnostic.into(),
    }
}
