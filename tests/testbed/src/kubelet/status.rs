//! What kubelet writes into a pod's status at each stage of its life.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::server::Assignment;

/// How far a pod has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Bound, its server not started yet.
    Creating,
    /// The server could not be started, for this reason.
    Failing(String),
    /// The server runs; it takes no requests yet, or not any more.
    Running,
    /// The server takes requests.
    Ready,
}

/// What the status tells beside the stage.
#[derive(Debug, Clone, Copy)]
pub struct History {
    /// When the pod came to its node.
    pub bound: Timestamp,
    /// When the server was last started.
    pub started: Timestamp,
    /// When the pod last became ready, or unready.
    pub turned: Timestamp,
    /// How often the server was started again.
    pub restarts: u32,
}

/// A strategic merge patch with the status.
pub fn patch(assignment: &Assignment, stage: &Stage, history: &History) -> Value {
    let (ready, running) = (stage == &Stage::Ready, is_running(stage));
    let condition = |kind: &str, holds: bool, since: Timestamp| {
        let mut condition = json!({
            "type": kind,
            "status": if holds { "True" } else { "False" },
            "lastTransitionTime": since,
            "reason": null,
            "message": null,
        });
        if !holds {
            condition["reason"] = "ContainersNotReady".into();
            condition["message"] = "containers with unready status".into();
        }
        condition
    };
    let phase = if running || history.restarts > 0 {
        "Running"
    } else {
        "Pending"
    };
    json!({"status": {
        "phase": phase,
        "startTime": history.bound,
        "podIP": assignment.address,
        "podIPs": [{"ip": assignment.address}],
        "conditions": [
            condition("PodReadyToStartContainers", true, history.bound),
            condition("Initialized", true, history.bound),
            condition("ContainersReady", ready, history.turned),
            condition("Ready", ready, history.turned),
        ],
        "containerStatuses": containers(assignment, stage, history),
    }})
}

fn is_running(stage: &Stage) -> bool {
    matches!(stage, Stage::Running | Stage::Ready)
}

/// All containers of a pod share the fate of the first.
fn containers(assignment: &Assignment, stage: &Stage, history: &History) -> Vec<Value> {
    let state = match stage {
        Stage::Creating => json!({"waiting": {"reason": "ContainerCreating"}}),
        Stage::Failing(reason) => {
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": reason}})
        }
        Stage::Running | Stage::Ready => json!({"running": {"startedAt": history.started}}),
    };
    let spec = assignment.pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| &spec.containers);
    containers
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": stage == &Stage::Ready,
                "started": is_running(stage),
                "restartCount": history.restarts,
                "state": state,
            })
        })
        .collect()
}

/// A strategic merge patch that says why a pod has no node.
pub fn unschedulable(message: &str, now: Timestamp) -> Value {
    json!({"status": {"conditions": [{
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": now,
    }]}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    fn status(stage: &Stage, restarts: u32) -> Value {
        let containers = json!([{"name": "server"}, {"name": "sidecar"}]);
        let pod = json!({"spec": {"containers": containers}});
        let assignment = Assignment {
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            node: Arc::default(),
            address: Ipv4Addr::new(127, 9, 1, 2),
        };
        let then = Timestamp::from_second(1_700_000_000).unwrap();
        let history = History {
            bound: then,
            started: then,
            turned: then,
            restarts,
        };
        patch(&assignment, stage, &history)["status"].take()
    }

    fn phase_and_ready(stage: &Stage, restarts: u32) -> (String, String) {
        let status = status(stage, restarts);
        let conditions = status["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|c| c["type"] == "Ready").unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&status["phase"]), text(&ready["status"]))
    }

    #[test]
    fn stages_have_the_phases_kubelet_gives_them() {
        let pair = |phase: &str, ready: &str| (phase.to_owned(), ready.to_owned());
        let failing = Stage::Failing("no such model".to_owned());
        assert_eq!(
            phase_and_ready(&Stage::Creating, 0),
            pair("Pending", "False")
        );
        assert_eq!(phase_and_ready(&failing, 0), pair("Pending", "False"));
        assert_eq!(
            phase_and_ready(&Stage::Running, 0),
            pair("Running", "False")
        );
        assert_eq!(phase_and_ready(&Stage::Ready, 0), pair("Running", "True"));
        assert_eq!(phase_and_ready(&failing, 2), pair("Running", "False"));
    }

    #[test]
    fn all_containers_are_told_of() {
        let status = status(&Stage::Failing("no such model".to_owned()), 2);
        let containers = status["containerStatuses"].as_array().unwrap();
        assert_eq!(containers.len(), 2);
        for container in containers {
            assert_eq!(container["restartCount"], 2);
            assert_eq!(container["state"]["waiting"]["message"], "no such model");
        }
    }
}
