//! One Envoy for all tests; each test has a place behind it, with a picker and servers of its own.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::sync::OnceCell;
use wva_testbed::daemon::Recipe;
use wva_testbed::{Daemon, Envoy, Error, Sandbox, eventually, or_skip};

use crate::puppet::Puppet;
use crate::routes;

/// A listener of Envoy, and addresses of its own for a picker and servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Picks,
    Prefixes,
    Bodies,
    Passthrough,
    Limits,
    Disconnects,
    Restarts,
    Fallbacks,
    Pool,
    LegacyPool,
    Selected,
    Overload,
}

impl Place {
    pub const ALL: [Self; 12] = [
        Self::Picks,
        Self::Prefixes,
        Self::Bodies,
        Self::Passthrough,
        Self::Limits,
        Self::Disconnects,
        Self::Restarts,
        Self::Fallbacks,
        Self::Pool,
        Self::LegacyPool,
        Self::Selected,
        Self::Overload,
    ];

    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Port of its listener.
    pub const fn port(self) -> u16 {
        8100 + self as u16
    }

    /// Whether requests go on without a picker.
    pub const fn fails_open(self) -> bool {
        matches!(self, Self::Restarts | Self::Fallbacks)
    }

    /// Whether Envoy has a list of the servers.
    pub const fn knows_servers(self) -> bool {
        self.fails_open()
    }

    /// Whether the picker serves TLS, by a certificate of its own, as it does by default.
    pub const fn has_tls(self) -> bool {
        matches!(self, Self::Picks)
    }

    /// Addresses of the pickers: one, but for the test that has two.
    pub fn pickers(self, host: Ipv4Addr) -> Vec<Ipv4Addr> {
        let number = if self == Self::Restarts { 2 } else { 1 };
        let last = [1, 250].into_iter().take(number);
        last.map(|last| Ipv4Addr::new(127, host.octets()[1], 10 + self.number(), last))
            .collect()
    }

    /// Address of a server.
    pub fn pod(self, host: Ipv4Addr, index: u8) -> SocketAddr {
        let ip = Ipv4Addr::new(127, host.octets()[1], 10 + self.number(), 2 + index);
        SocketAddr::from((ip, 8000))
    }
}

/// The shared Envoy; `None` where tests without components are skipped.
pub async fn envoy() -> Option<&'static Envoy> {
    static ENVOY: OnceCell<Result<Envoy, Error>> = OnceCell::const_new();
    let started = ENVOY.get_or_init(|| Envoy::start(routes::configuration));
    or_skip(started.await.as_ref())
}

/// The picker's count of requests that it has sent on and not seen end.
pub const RUNNING: &str = "llm_d_epp_request_running";

/// Queue, KV cache, prefix and adapters, each with weight 1, as the upstream's own tests have it.
pub const FOUR_SCORERS: &str = "\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: queue-scorer}, {type: kv-cache-utilization-scorer}, {type: prefix-cache-scorer}, {type: lora-affinity-scorer}]
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: queue-scorer, weight: 1}
  - {pluginRef: kv-cache-utilization-scorer, weight: 1}
  - {pluginRef: prefix-cache-scorer, weight: 1}
  - {pluginRef: lora-affinity-scorer, weight: 1}
";

/// A picker and the place that it is at.
pub struct Picker {
    pub daemon: Daemon,
    place: Place,
    host: Ipv4Addr,
    address: Ipv4Addr,
}

impl Picker {
    /// The first of the place. Where there are servers it picks from them, by a file.
    pub fn new(
        envoy: &Envoy,
        place: Place,
        config: &str,
        servers: &[SocketAddr],
        arguments: &[&str],
    ) -> Self {
        let address = place.pickers(envoy.host())[0];
        Self::at(envoy, place, address, config, servers, arguments)
    }

    /// One at this address. None is started yet.
    pub fn at(
        envoy: &Envoy,
        place: Place,
        address: Ipv4Addr,
        config: &str,
        servers: &[SocketAddr],
        arguments: &[&str],
    ) -> Self {
        let sandbox = Sandbox::new("epp").unwrap();
        let host = envoy.host();
        let config = sandbox.write("config.yaml", config).unwrap();
        let mut all = vec![
            "epp".to_owned(),
            format!("--bind-address={address}"),
            format!("--config-file={}", config.display()),
            format!("--secure-serving={}", place.has_tls()),
            "--refresh-metrics-interval=50ms".to_owned(),
            "--threads=1".to_owned(),
        ];
        if !servers.is_empty() {
            let file = sandbox.write("endpoints.yaml", &listing(servers)).unwrap();
            all.push(format!("--endpoints={}", file.display()));
        }
        all.extend(arguments.iter().map(|a| (*a).to_owned()));
        let recipe = Recipe {
            name: "epp",
            program: env!("CARGO_BIN_EXE_wva").into(),
            arguments: all,
            health: format!("http://{address}:9090/readyz"),
            authority: None,
        };
        Self {
            daemon: Daemon::new(&sandbox, recipe),
            place,
            host,
            address,
        }
    }

    /// One that picks from these servers, and runs.
    pub async fn of(envoy: &Envoy, place: Place, config: &str, servers: &[Puppet]) -> Self {
        Self::with(envoy, place, config, servers, &[]).await
    }

    /// The same with more arguments.
    pub async fn with(
        envoy: &Envoy,
        place: Place,
        config: &str,
        servers: &[Puppet],
        arguments: &[&str],
    ) -> Self {
        let servers: Vec<SocketAddr> = servers.iter().map(|p| p.address).collect();
        let picker = Self::new(envoy, place, config, &servers, arguments);
        picker.daemon.start().await.unwrap();
        picker
    }

    /// Where clients send requests.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.front())
    }

    /// The same as an address.
    pub fn front(&self) -> SocketAddr {
        SocketAddr::from((self.host, self.place.port()))
    }

    /// The sum of all series of a metric, as the picker exports it.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}:9090/metrics", self.address);
        let page = crate::client::client().get(url).send().await.unwrap();
        let page = page.text().await.unwrap();
        let series = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|r| r.starts_with(['{', ' ']))
        });
        let value = |line: &str| line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
        series.filter_map(value).sum()
    }

    /// Waits until a metric has a value.
    pub async fn settles(&self, name: &str, value: f64) {
        let look = async || {
            let now = self.metric(name).await;
            (now == value)
                .then_some(())
                .ok_or(format!("{name} is {now}"))
        };
        eventually(&format!("{name} of {value}"), look)
            .await
            .unwrap();
    }
}

fn listing(servers: &[SocketAddr]) -> String {
    let one = |(i, a): (usize, &SocketAddr)| format!("- {{name: pod-{i}, address: '{a}'}}\n");
    let list: String = servers.iter().enumerate().map(one).collect();
    format!("endpoints:\n{list}")
}

/// Servers of a place that the test plays itself.
pub async fn puppets(envoy: &Envoy, place: Place, number: u8) -> Vec<Puppet> {
    let mut puppets = Vec::new();
    for index in 0..number {
        puppets.push(Puppet::start(place.pod(envoy.host(), index)).await);
    }
    puppets
}
