//! The recipe of the image. There is no container engine to build it with here, so what can be checked is: that it names what there is,
//! and that what reaches the builder is enough to build.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::rendered::{Rendered, path, read};

/// Instructions, each on one line.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    lines
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Paths that .dockerignore lets through.
fn context() -> Vec<String> {
    let text = read(".dockerignore");
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(lines[0], "*", "everything is left out but what is named");
    let named = lines.iter().filter_map(|l| l.strip_prefix('!'));
    named.map(str::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            if name != "target" {
                copy(&from.join(&name), &to.join(&name));
            }
        }
    } else {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
}

#[test]
fn what_reaches_the_builder_is_the_whole_program() {
    let folder = std::env::temp_dir().join(format!("wva-image-{}", std::process::id()));
    for name in context() {
        assert!(
            path(&name).exists(),
            ".dockerignore names {name}, which is not there"
        );
        copy(&path(&name), &folder.join(&name));
    }
    let build = instructions()
        .into_iter()
        .find(|i| i.contains("cargo build"));
    assert!(
        build
            .unwrap()
            .contains("--profile dist --locked --package wva --bin wva")
    );
    // Locked and offline: what is left out of the context would change the lock file, or not be found.
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--format-version=1",
            "--no-deps",
        ])
        .current_dir(&folder)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let wva = packages.iter().find(|p| p["name"] == "wva").unwrap();
    let targets = wva["targets"].as_array().unwrap();
    assert!(
        targets
            .iter()
            .any(|t| t["name"] == "wva" && t["kind"][0] == "bin")
    );
}

#[test]
fn the_builder_has_the_rust_that_the_project_needs() {
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|l| l.strip_prefix("rust-version = "))
        .unwrap();
    let stages: Vec<String> = instructions()
        .into_iter()
        .filter(|i| i.starts_with("FROM "))
        .collect();
    let builder = format!(
        "FROM rust:{}-bookworm AS builder",
        version.trim_matches('"')
    );
    assert_eq!(stages[0], builder);
    // Debian 12 is bookworm: one C library in both.
    assert_eq!(stages[1], "FROM gcr.io/distroless/cc-debian12:nonroot");
}

#[test]
fn the_pod_starts_what_the_image_holds() {
    let all = instructions();
    let has = |line: &str| assert!(all.iter().any(|i| i == line), "{line} is not in {all:#?}");
    has("COPY --from=builder /out/wva /usr/local/bin/wva");
    has(r#"ENTRYPOINT ["/usr/local/bin/wva"]"#);
    has("USER 65532:65532");
    let Some(rendered) = Rendered::with("", &["--set=keda.enabled=true"]) else {
        return;
    };
    let pod = &rendered.kind("Deployment")[0]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    let container = rendered.container();
    assert!(container["command"].is_null() && container["args"][0] == "controller");
    let ports = container["ports"].as_array().unwrap().iter();
    let ports: Vec<String> = ports.map(|p| p["containerPort"].to_string()).collect();
    has(&format!("EXPOSE {}", ports.join(" ")));
    let manifest: Value = serde_saphyr::from_str(&read("charts/wva/Chart.yaml")).unwrap();
    let version = format!("version = \"{}\"", manifest["appVersion"].as_str().unwrap());
    assert!(read("Cargo.toml").contains(&version), "{version}");
}
