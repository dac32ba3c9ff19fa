//! One process of a sandbox: its log in a file, its end certain.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Sandbox};

/// How much of a log an error shows: enough for the reason, not the whole start.
const LOG_TAIL_BYTES: u64 = 3000;

/// A running process, killed with all its children when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    group: u32,
    child: Mutex<Child>,
    log: PathBuf,
    sandbox: Sandbox,
}

impl Process {
    /// Starts the command, with what it prints added to `logs/<name>.log` of the sandbox.
    ///
    /// # Errors
    /// [`Error::System`] when it cannot be started.
    pub fn start(sandbox: &Sandbox, name: &str, command: &mut Command) -> Result<Self, Error> {
        let log = sandbox.logs().join(format!("{name}.log"));
        let output = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(Error::system(format!("cannot open {}", log.display())))?;
        let errors = output
            .try_clone()
            .map_err(Error::system("cannot share a log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(Error::system(format!("cannot start {name}")))?;
        sandbox.watch(child.id());
        Ok(Self {
            name: name.to_owned(),
            group: child.id(),
            child: Mutex::new(child),
            log,
            sandbox: sandbox.clone(),
        })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number, which is also that of its group.
    pub const fn id(&self) -> u32 {
        self.group
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten()
    }

    /// An error with the end of the log, if it ended.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub fn must_run(&self) -> Result<(), Error> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(Error::Ended {
                name: self.name.clone(),
                status,
                log: self.log_tail(),
            }),
        }
    }

    /// Sends a signal (`TERM`, `STOP`, `CONT`, …) to the process and its children.
    ///
    /// # Errors
    /// [`Error::System`] when there is no shell to send it.
    pub fn signal(&self, signal: &str) -> Result<(), Error> {
        let group = format!("-{}", self.group);
        Command::new("sh")
            .args(["-c", r#"kill -s "$1" -- "$2""#, "kill", signal, &group])
            .stdin(Stdio::null())
            .stderr(Stdio::null()) // a process that has just ended need not be told
            .status()
            .map(drop)
            .map_err(Error::system("cannot start sh"))
    }

    /// The whole log, of earlier runs under this name too.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(tail)
        };
        match read() {
            Ok(tail) => String::from_utf8_lossy(&tail).into_owned(),
            Err(error) => format!("(no log: {error})"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its children are in its group; the process itself must be waited for, or it stays as a zombie.
        self.signal("KILL").ok();
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        child.kill().ok();
        child.wait().ok();
        self.sandbox.forget(self.group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn alive(pid: &str) -> bool {
        std::path::Path::new("/proc").join(pid.trim()).exists()
    }

    fn written(process: &Process) -> String {
        while !process.log().ends_with('\n') {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        process.log()
    }

    #[test]
    fn a_process_goes_with_its_children() {
        let sandbox = Sandbox::new("children").unwrap();
        let mut command = shell("sleep 1000 & echo $!; wait");
        let process = Process::start(&sandbox, "parent", &mut command).unwrap();
        let child = written(&process);
        assert!(alive(&child));
        process.must_run().unwrap();
        drop(process);
        // Killed, it is gone as soon as the system's first process has noticed.
        while alive(&child) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn an_ended_process_is_reported_with_its_log() {
        let sandbox = Sandbox::new("ended").unwrap();
        let mut command = shell("echo out; echo no such flag >&2; exit 4");
        let process = Process::start(&sandbox, "tool", &mut command).unwrap();
        while process.ended().is_none() {
            std::thread::yield_now();
        }
        let error = process.must_run().unwrap_err().to_string();
        assert!(error.contains("tool") && error.contains('4'), "{error}");
        assert!(error.contains("out\nno such flag"), "{error}");
    }

    #[test]
    fn the_watchdog_kills_what_the_test_could_not() {
        let sandbox = Sandbox::new("orphan").unwrap();
        let process =
            Process::start(&sandbox, "orphan", &mut shell("echo $$; sleep 1000")).unwrap();
        let pid = written(&process);
        // As if the test had been killed: nothing here is dropped but the watchdog's pipe.
        sandbox.abandon();
        while process.ended().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!alive(&pid));
    }
}
