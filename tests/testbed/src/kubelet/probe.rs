//! Readiness probes over HTTP, as kubelet makes them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::server::Assignment;

/// A readiness probe with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// What is asked.
    pub url: String,
    /// Before the first time.
    pub delay: Duration,
    /// From one time to the next.
    pub period: Duration,
    /// For an answer.
    pub timeout: Duration,
    /// So many in a row make a ready pod unready.
    pub failures: u32,
    /// So many in a row make an unready pod ready.
    pub successes: u32,
}

impl Readiness {
    /// The HTTP readiness probe of the model server's container, if it has one.
    pub fn of(assignment: &Assignment) -> Option<Self> {
        let container = assignment.container()?;
        let probe = container.readiness_probe.as_ref()?;
        let seconds = |field: Option<i32>, default: u32| {
            Duration::from_secs(field.map_or(default, i32::unsigned_abs).into())
        };
        let times = |field: Option<i32>, default: u32| field.map_or(default, i32::unsigned_abs);
        Some(Self {
            url: url(assignment, container, probe)?,
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            failures: times(probe.failure_threshold, 3).max(1),
            successes: times(probe.success_threshold, 1).max(1),
        })
    }

    /// Whether the server says that it is ready: any answer from 200 to 399 does.
    pub async fn passes(&self, client: &reqwest::Client) -> bool {
        let request = client.get(&self.url).timeout(self.timeout);
        let answer = request.send().await.map(|response| response.status());
        answer.is_ok_and(|status| status.is_success() || status.is_redirection())
    }
}

fn url(assignment: &Assignment, container: &Container, probe: &Probe) -> Option<String> {
    let get = probe.http_get.as_ref()?;
    let port = match &get.port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let mut named = ports.filter(|p| p.name.as_ref() == Some(name));
            named.next()?.container_port
        }
    };
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let path = get.path.as_deref().unwrap_or("/").trim_start_matches('/');
    let host = assignment.address;
    Some(format!("{scheme}://{host}:{port}/{path}"))
}

/// How often in a row the probe said other than what the pod is said to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Streak {
    contradictions: u32,
}

impl Streak {
    /// Whether the pod is ready now, after one more probe.
    pub fn next(&mut self, probe: &Readiness, ready: bool, passed: bool) -> bool {
        if passed == ready {
            self.contradictions = 0;
            return ready;
        }
        self.contradictions += 1;
        let threshold = if ready {
            probe.failures
        } else {
            probe.successes
        };
        if self.contradictions < threshold {
            return ready;
        }
        self.contradictions = 0;
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    fn probe(probe: &Value) -> Option<Readiness> {
        let container = json!({
            "name": "server",
            "ports": [{"containerPort": 9000, "name": "http"}],
            "readinessProbe": probe,
        });
        let pod = json!({"spec": {"containers": [container]}});
        Readiness::of(&Assignment {
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            node: Arc::default(),
            address: Ipv4Addr::new(127, 9, 1, 2),
        })
    }

    #[test]
    fn fields_left_out_have_kubernetes_defaults() {
        let readiness = probe(&json!({"httpGet": {"path": "/health", "port": 8000}})).unwrap();
        assert_eq!(readiness.url, "http://127.9.1.2:8000/health");
        assert_eq!(readiness.period, Duration::from_secs(10));
        assert_eq!((readiness.failures, readiness.successes), (3, 1));
    }

    #[test]
    fn ports_have_names_too() {
        let readiness = probe(&json!({"httpGet": {"port": "http"}, "periodSeconds": 1})).unwrap();
        assert_eq!(readiness.url, "http://127.9.1.2:9000/");
        assert!(probe(&json!({"httpGet": {"port": "grpc"}})).is_none());
        assert!(probe(&json!({"exec": {"command": ["true"]}})).is_none());
    }

    #[test]
    fn thresholds_count_what_comes_in_a_row() {
        let get = json!({"port": 1});
        let thresholds = json!({"httpGet": get, "failureThreshold": 2, "successThreshold": 2});
        let probe = probe(&thresholds).unwrap();
        let (mut streak, mut ready, mut course) = (Streak::default(), false, Vec::new());
        for passed in [true, false, true, true, false, true, false, false] {
            ready = streak.next(&probe, ready, passed);
            course.push(ready);
        }
        let expected = [false, false, false, true, true, true, true, false];
        assert_eq!(course, expected);
    }
}
