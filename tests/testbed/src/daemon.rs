//! A component that runs: it can be stopped, frozen and started again, and is waited for until it is ready.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::{Error, Sandbox, use_ring};

/// Long enough for a machine that does much else at the same time; only what never comes takes so long.
const PATIENCE: Duration = Duration::from_secs(240);

/// Between two looks: short against what is waited for, long against what a look costs.
const PAUSE: Duration = Duration::from_millis(50);
/// The same where it has taken long already.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How to start a component, and how to see that it is ready.
#[derive(Debug)]
pub struct Recipe {
    /// Names its log.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Answers 200 when the component is ready.
    pub health: String,
    /// Who signed the certificate behind `health`, PEM, where that is `https`.
    pub authority: Option<String>,
}

/// A component of a sandbox, running or not.
///
/// All calls take `&self`, so that tests which share a cluster can break parts of it.
#[derive(Debug)]
pub struct Daemon {
    recipe: Recipe,
    sandbox: Sandbox,
    process: Mutex<Option<Process>>,
}

impl Daemon {
    /// A component that is not started yet.
    pub fn new(sandbox: &Sandbox, recipe: Recipe) -> Self {
        Self {
            recipe,
            sandbox: sandbox.clone(),
            process: Mutex::new(None),
        }
    }

    /// Starts it, unless it runs, and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::System`], [`Error::Ended`] or [`Error::NotReady`].
    pub async fn start(&self) -> Result<(), Error> {
        self.launch()?;
        self.ready().await
    }

    fn launch(&self) -> Result<(), Error> {
        let mut process = self.process();
        if process.as_ref().is_none_or(|p| p.ended().is_some()) {
            let mut command = Command::new(&self.recipe.program);
            command
                .args(&self.recipe.arguments)
                .current_dir(self.sandbox.folder());
            *process = Some(Process::start(
                &self.sandbox,
                self.recipe.name,
                &mut command,
            )?);
        }
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Ended`] when it ends instead, [`Error::Answer`] when it is stopped,
    /// [`Error::NotReady`] when it takes too long.
    pub async fn ready(&self) -> Result<(), Error> {
        let client = self.client()?;
        let begin = Instant::now();
        loop {
            let Err(reason) = probe(&client, &self.recipe.health).await else {
                return Ok(());
            };
            let log = self.log_while_running()?;
            if begin.elapsed() > PATIENCE {
                return Err(Error::NotReady {
                    name: self.recipe.name.to_owned(),
                    seconds: PATIENCE.as_secs(),
                    reason,
                    log,
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Kills it. What it had not written is lost, as in a crash.
    pub fn stop(&self) {
        *self.process() = None;
    }

    /// Asks it to end (SIGTERM), as the kubelet does.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn terminate(&self) -> Result<(), Error> {
        self.signal("TERM")
    }

    /// Kills it, starts it again and waits until it is ready.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop();
        self.start().await
    }

    /// Stops its time: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn freeze(&self) -> Result<(), Error> {
        self.signal("STOP")
    }

    /// Lets its time go on.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn thaw(&self) -> Result<(), Error> {
        self.signal("CONT")
    }

    /// Whether it runs (frozen or not).
    pub fn runs(&self) -> bool {
        self.process().as_ref().is_some_and(|p| p.ended().is_none())
    }

    /// All that it has logged; nothing when it is stopped.
    pub fn log(&self) -> String {
        self.process()
            .as_ref()
            .map(Process::log)
            .unwrap_or_default()
    }

    fn log_while_running(&self) -> Result<String, Error> {
        let process = self.process();
        let stopped = || answer(self.recipe.name)("is stopped");
        let process = process.as_ref().ok_or_else(stopped)?;
        process.must_run()?;
        Ok(process.log_tail())
    }

    fn signal(&self, signal: &str) -> Result<(), Error> {
        self.process().as_ref().map_or(Ok(()), |p| p.signal(signal))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Result<reqwest::Client, Error> {
        use_ring();
        let authority = self.recipe.authority.as_ref();
        let trusted = authority.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()));
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(trusted.transpose().map_err(answer("authority"))?)
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(answer("HTTP client"))
    }
}

fn answer<E: Display>(what: &str) -> impl FnOnce(E) -> Error {
    let what = what.to_owned();
    move |error| Error::Answer {
        what,
        answer: error.to_string(),
    }
}

async fn probe(client: &reqwest::Client, url: &str) -> Result<(), String> {
    let response = client.get(url).send().await.map_err(|e| e.to_string())?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let body = response.text().await.unwrap_or_default();
    Err(format!("{url} answers {status}: {body}"))
}

/// What `look` finds, looked for again until it is there.
///
/// # Errors
/// [`Error::Never`] after four minutes, with what the last look said.
pub async fn eventually<T, E: Display>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, Error> {
    let begin = Instant::now();
    loop {
        let reason = match look().await {
            Ok(found) => return Ok(found),
            Err(reason) => reason,
        };
        if begin.elapsed() > PATIENCE {
            return Err(Error::Never {
                what: what.to_owned(),
                seconds: PATIENCE.as_secs(),
                reason: reason.to_string(),
            });
        }
        // What takes long is looked at less often: looking costs what it waits for.
        let pause = (begin.elapsed() / 10).clamp(PAUSE, LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}
