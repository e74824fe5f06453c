//! A server of its own for each test, and the plainest HTTP client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::fixture::{arc, random_tasks};

const TRAIN: [&str; 14] = [
    "train",
    "arc-small",
    "--data=data",
    "--run-dir=run",
    "--threads=1",
    "--device=cpu",
    "model.hidden_size=32",
    "model.num_heads=2",
    "model.h_layers=1",
    "model.l_layers=1",
    "model.puzzle_emb_ndim=32",
    "model.halt_max_steps=3",
    "train.batch_size=4",
    "train.max_steps=2",
];

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub child: Child,
    pub address: String,
    pub dir: TempDir,
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub fn hrm(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrm"));
    command.current_dir(dir).env("WANDB_MODE", "disabled");
    command
}

/// A folder with `data` (tasks task0, task1, task2) and `run`, trained with `settings` besides
/// [`TRAIN`].
fn trained(settings: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    arc(&dir.path().join("data"), &random_tasks(1, 3));
    let output = hrm(dir.path()).args(TRAIN).args(settings).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    dir
}

impl Server {
    pub fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[], |_| ())
    }

    /// `change`: what happens to the folder before the server starts.
    pub fn start_with(flags: &[&str], settings: &[&str], change: impl FnOnce(&Path)) -> Self {
        let dir = trained(settings);
        change(dir.path());
        let mut command = hrm(dir.path());
        command.args(["serve", "run", "--port=0", "--threads=1", "--device=cpu"]).args(flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").expect("an address").to_owned();
        Self { child, address, dir }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Bytes out, everything that comes back until the server closes.
    pub fn raw(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        read_reply(&mut stream)
    }

    /// The same of a client that says that nothing more comes.
    pub fn raw_and_over(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_reply(&mut stream)
    }

    pub fn ask(&self, method: &str, path: &str, kind: &str, body: &str) -> Reply {
        self.raw(format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        ))
    }

    pub fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let reply = self.ask(method, path, "application/json", body);
        (reply.status, serde_json::from_str(&reply.body).unwrap())
    }

    /// What the server's process takes, such as `VmRSS:` in kB or `Threads:`, by /proc/PID/status.
    #[cfg(target_os = "linux")]
    pub fn takes(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.ask("GET", "/metrics", "", "").body;
        let line = text.lines().find_map(|l| l.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    pub fn terminate(&self) {
        let kill = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(kill.success());
    }

    pub fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the server goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_lowercase(), body: body.to_owned() }
}
