//! A folder, a range of loopback addresses and the processes that use them: all gone when it is dropped.
//!
//! Rust's `Drop` is not enough for that. It does not run for a `static` that several tests share, nor when the test
//! is killed, and half a cluster would stay behind. Asking the kernel for a signal at the parent's death
//! does not fit either: it counts the death of the *thread* that started the process, and test threads end with
//! their test. So a sandbox has a watchdog: a shell that reads from a pipe what to look after, and clears up
//! when the pipe closes, for whatever reason.
//!
//! Addresses: all of 127.0.0.0/8 is loopback on Linux. Each sandbox reserves a 127.N.0.0/16 by listening on a port
//! in it, so components use their usual ports, pods have addresses of their own, and sandboxes of parallel
//! test binaries cannot collide.

use std::fs::DirBuilder;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use crate::Error;

/// Reads `watch ID`, `forget ID` (process groups) and `keep` (the logs) from its standard input. At its end, kills
/// the groups and removes the folder.
const WATCHDOG: &str = r#"
folder=$1 keep='' groups=''
while read -r verb id; do
    case $verb in
    watch) groups="$groups $id" ;;
    forget)
        rest=''
        for group in $groups; do [ "$group" = "$id" ] || rest="$rest $group"; done
        groups=$rest
        ;;
    keep) keep=yes ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
[ -z "$groups" ] || sleep 0.1
for entry in "$folder"/*; do
    [ "$keep" = yes ] && [ "$entry" = "$folder/logs" ] || rm -rf "$entry"
done
[ "$keep" = yes ] || rm -rf "$folder"
"#;

/// Above the range from which Linux gives ports to outgoing connections, and used by nothing well known.
const RESERVATION_PORT: u16 = 61_990;

/// Sandboxes whose logs are worth keeping if a test panics.
static LIVE: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

/// A temporary folder, a loopback network and a watchdog. Clones share them; the last one to go clears up.
#[derive(Clone, Debug)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// Holds the network: nobody else can bind it.
    _reservation: TcpListener,
    network: u8,
    addresses: AtomicU16,
    watchdog: Mutex<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    orders: Option<ChildStdin>,
    process: Child,
}

impl Sandbox {
    /// A new sandbox; the label makes its folder recognisable.
    ///
    /// # Errors
    /// [`Error::System`] when there is no folder, no network or no shell to be had.
    pub fn new(label: &str) -> Result<Self, Error> {
        let folder = new_folder(label)?;
        let (network, reservation) = reserve_network()?;
        let watchdog = Watchdog::start(&folder)?;
        let inner = Arc::new(Inner {
            folder,
            _reservation: reservation,
            network,
            addresses: AtomicU16::new(0),
            watchdog: Mutex::new(watchdog),
        });
        keep_logs_after_panics(&inner);
        Ok(Self { inner })
    }

    /// The folder: for certificates, data and configuration.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Where processes write their logs; kept after a panic.
    pub fn logs(&self) -> PathBuf {
        self.inner.folder.join("logs")
    }

    /// The address of the components themselves: 127.N.0.1.
    pub fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.inner.network, 0, 1)
    }

    /// An address that nobody here has had yet, from 127.N.1.1 on.
    ///
    /// # Panics
    /// After 64 770 of them.
    pub fn address(&self) -> Ipv4Addr {
        let index = self.inner.addresses.fetch_add(1, Ordering::Relaxed);
        let (block, place) = (index / 254 + 1, index % 254 + 1);
        let block = u8::try_from(block).expect("no test has 64 770 pods");
        Ipv4Addr::new(127, self.inner.network, block, place as u8)
    }

    /// Writes a file into the folder, and returns its path.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf, Error> {
        let path = self.inner.folder.join(name);
        let problem = || format!("cannot write {}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::system(problem()))?;
        }
        std::fs::write(&path, content).map_err(Error::system(problem()))?;
        Ok(path)
    }

    /// Has the watchdog look after a process group.
    pub(crate) fn watch(&self, group: u32) {
        self.inner.order(&format!("watch {group}"));
    }

    /// Closes the watchdog's pipe, as the end of this process would.
    #[cfg(test)]
    pub(crate) fn abandon(&self) {
        let mut watchdog = self.inner.watchdog.lock().unwrap();
        watchdog.orders = None;
    }

    /// Takes an ended process group off the watchdog's list: its number may be somebody else's soon.
    pub(crate) fn forget(&self, group: u32) {
        self.inner.order(&format!("forget {group}"));
    }
}

impl Inner {
    fn order(&self, line: &str) {
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(orders) = &mut watchdog.orders {
            // It fails only if somebody killed the watchdog, and then nothing is left to tell it.
            writeln!(orders, "{line}").ok();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        watchdog.orders = None;
        watchdog.process.wait().ok();
    }
}

impl Watchdog {
    fn start(folder: &Path) -> Result<Self, Error> {
        let mut process = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // an interrupt from the keyboard must not reach it
            .spawn()
            .map_err(Error::system("cannot start sh"))?;
        let orders = process.stdin.take();
        Ok(Self { orders, process })
    }
}

fn new_folder(label: &str) -> Result<PathBuf, Error> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("wva-testbed-{}-{label}-{count}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    // Left from a process that had this number before: its logs, at most.
    std::fs::remove_dir_all(&folder).ok();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder.join("logs"))
        .map_err(Error::system(format!("cannot make {}", folder.display())))?;
    Ok(folder)
}

/// The second byte of a network that is ours as long as the listener lives.
fn reserve_network() -> Result<(u8, TcpListener), Error> {
    let first = std::process::id() % 253;
    let mut refusal = None;
    for offset in 0..253 {
        let network = 2 + ((first + offset) % 253) as u8;
        match TcpListener::bind((Ipv4Addr::new(127, network, 0, 1), RESERVATION_PORT)) {
            Ok(listener) => return Ok((network, listener)),
            Err(error) => refusal = Some(error),
        }
    }
    let refusal = refusal.expect("253 attempts were made");
    Err(Error::system("no loopback network is free")(refusal))
}

/// From now on, a panic anywhere in this process keeps the logs of this sandbox and says where they are.
fn keep_logs_after_panics(inner: &Arc<Inner>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            previous(panic);
            keep_all_logs();
        }));
    });
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|sandbox| sandbox.strong_count() > 0);
    live.push(Arc::downgrade(inner));
}

fn keep_all_logs() {
    let Ok(live) = LIVE.try_lock() else {
        return; // the panicking thread may hold it
    };
    for sandbox in live.iter().filter_map(Weak::upgrade) {
        sandbox.order("keep");
        eprintln!("logs: {}", sandbox.folder.join("logs").display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_have_networks_and_addresses_of_their_own() {
        let (one, two) = (Sandbox::new("a").unwrap(), Sandbox::new("b").unwrap());
        assert_ne!(one.host(), two.host());
        let addresses: std::collections::HashSet<_> = (0..600).map(|_| one.address()).collect();
        assert_eq!(addresses.len(), 600);
        let network = one.host().octets()[1];
        for address in addresses {
            assert_eq!(address.octets()[..2], [127, network]);
            assert!(address.octets()[2] > 0 && (1..255).contains(&address.octets()[3]));
        }
    }

    #[test]
    fn the_folder_goes_with_the_last_clone() {
        let sandbox = Sandbox::new("clone").unwrap();
        let file = sandbox.write("deep/er/file", "text").unwrap();
        let folder = sandbox.folder().to_owned();
        let clone = sandbox.clone();
        drop(sandbox);
        assert!(file.exists());
        drop(clone);
        assert!(!folder.exists());
    }

    #[test]
    fn kept_logs_are_all_that_is_kept() {
        let sandbox = Sandbox::new("kept").unwrap();
        sandbox.write("logs/a.log", "line").unwrap();
        sandbox.write("data/big", "rubbish").unwrap();
        sandbox.inner.order("keep");
        let folder = sandbox.folder().to_owned();
        drop(sandbox);
        assert!(folder.join("logs/a.log").exists() && !folder.join("data").exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
