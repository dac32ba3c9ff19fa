//! A Prometheus server on loopback.

use std::time::Duration;

use serde_json::Value;

use crate::daemon::{Daemon, Recipe};
use crate::{Error, Sandbox, component};

const PORT: u16 = 9090;

/// A running Prometheus; it goes when it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    daemon: Daemon,
    url: String,
    sandbox: Sandbox,
}

impl Prometheus {
    /// Starts one with this configuration (the text of `prometheus.yml`) and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::MissingComponent`], or what keeps it from starting.
    pub async fn start(configuration: &str) -> Result<Self, Error> {
        let program = component::folder("prometheus")?.join("usr/bin/prometheus");
        let sandbox = Sandbox::new("prometheus")?;
        let file = sandbox.write("prometheus.yml", configuration)?;
        let url = format!("http://{}:{PORT}", sandbox.host());
        let recipe = Recipe {
            name: "prometheus",
            program,
            arguments: vec![
                format!("--config.file={}", file.display()),
                format!(
                    "--storage.tsdb.path={}",
                    sandbox.folder().join("data").display()
                ),
                format!("--web.listen-address={}:{PORT}", sandbox.host()),
                "--web.enable-lifecycle".to_owned(),
            ],
            health: format!("{url}/-/ready"),
            authority: None,
        };
        let prometheus = Self {
            daemon: Daemon::new(&sandbox, recipe),
            url,
            sandbox,
        };
        prometheus.daemon.start().await?;
        Ok(prometheus)
    }

    /// Where it answers queries.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops, freezes and starts it; what it has scraped survives.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Gives it another configuration.
    ///
    /// # Errors
    /// [`Error::Answer`] when it does not accept it.
    pub async fn configure(&self, configuration: &str) -> Result<(), Error> {
        self.sandbox.write("prometheus.yml", configuration)?;
        let request = self.client()?.post(format!("{}/-/reload", self.url));
        text("reload", request).await.map(drop)
    }

    /// The result of an instant query: the entry `data.result` of the answer.
    ///
    /// # Errors
    /// [`Error::Answer`] when the query is refused, or nobody answers.
    pub async fn query(&self, query: &str) -> Result<Value, Error> {
        let url = format!("{}/api/v1/query", self.url);
        let form = format!("query={}", percent_encoded(query));
        let request = self
            .client()?
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = text(query, request).await?;
        let mut answer: Value =
            serde_json::from_str(&answer).map_err(|error| failure(query, &error))?;
        Ok(answer["data"]["result"].take())
    }

    fn client(&self) -> Result<reqwest::Client, Error> {
        crate::use_ring();
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| failure("HTTP client", &error))
    }
}

async fn text(what: &str, request: reqwest::RequestBuilder) -> Result<String, Error> {
    let response = request
        .send()
        .await
        .map_err(|error| failure(what, &error))?;
    let status = response.status();
    let body = response
        .text()
        .await
        .map_err(|error| failure(what, &error))?;
    if status.is_success() {
        return Ok(body);
    }
    Err(Error::Answer {
        what: what.to_owned(),
        answer: format!("{status}: {body}"),
    })
}

fn failure(what: &str, error: &dyn std::error::Error) -> Error {
    Error::Answer {
        what: what.to_owned(),
        answer: error.to_string(),
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_survive_the_form() {
        assert_eq!(percent_encoded("up{a=\"b\"}"), "up%7Ba%3D%22b%22%7D");
    }
}
