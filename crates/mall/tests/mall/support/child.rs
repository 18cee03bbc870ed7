//! The real binary as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Client, PATIENCE, eventually};

/// A process of the mall. It is killed when dropped; what it printed is shown when the test fails.
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    printed: Arc<Mutex<String>>,
    /// Held while a line is taken from the process.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Child {
    /// Starts `mall` with these arguments and settings, and nothing else of the environment's.
    pub(crate) fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("mall"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MALL_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("MALL_LOG__FORMAT", "json")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary starts");
        let (printed, reading) = (Arc::new(Mutex::new(String::new())), Arc::default());
        collect(process.stdout.take().expect("piped"), Arc::clone(&printed), &reading);
        collect(process.stderr.take().expect("piped"), Arc::clone(&printed), &reading);
        Self {
            name: format!("mall {} {settings:?}", arguments.join(" ")),
            process,
            printed,
            reading,
        }
    }

    /// Reads nothing more of what it prints until the guard is dropped, so that its pipe fills.
    pub(crate) async fn stop_reading(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reading.lock().await
    }

    /// Starts a service on a broker. It listens on a port of the kernel's choice: see [`Self::address`].
    pub(crate) fn service(name: &str, kafka: &kafka::Config, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("MALL_HTTP__LISTEN", "127.0.0.1:0"),
            ("MALL_KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap_servers.as_str()),
            ("MALL_KAFKA__PREFIX", &kafka.prefix),
            ("MALL_KAFKA__PROPERTIES__FETCH_WAIT_MAX_MS", "10"),
        ];
        all.extend(settings);
        Self::start(&[name], &all)
    }

    /// Where the service of this name, such as `gateway` or `order-1`, says that it listens.
    pub(crate) async fn address_of(&self, service: &str) -> SocketAddr {
        let address = || {
            let line = |line: &str| serde_json::from_str::<Value>(line).ok();
            let of_service = |line: &Value| line["message"] == "listening" && line["service"] == service;
            let found = self.printed().lines().filter_map(line).find(of_service)?;
            found["address"].as_str()?.parse().ok()
        };
        eventually(&format!("{service} listens"), async || address().is_some()).await;
        address().expect("it listens")
    }

    /// Everything that it has printed.
    pub(crate) fn printed(&self) -> String {
        self.printed.lock().expect("no panic").clone()
    }

    /// The most memory that it has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .expect("its memory");
        kibibytes.parse::<u64>().expect("a number") * 1024
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`, `INT`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.process.id().to_string())
            .status();
        assert!(
            status.expect("kill runs").success(),
            "could not send {signal} to {}",
            self.name
        );
    }

    /// Kills it, and waits until it has ended.
    pub(crate) async fn kill(mut self) {
        self.signal("KILL");
        self.ended(PATIENCE).await;
    }

    /// Waits until it ends.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("a child") {
                return status;
            }
            assert!(begun.elapsed() < within, "{} did not end within {within:?}", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the service of this name says that it is ready. Returns where it listens.
    pub(crate) async fn ready(&self, service: &str) -> SocketAddr {
        let (address, client) = (self.address_of(service).await, Client::new());
        eventually(&format!("{service} is ready"), async || {
            client.get(address, "/ready").await.status.is_success()
        })
        .await;
        address
    }
}

impl Drop for Child {
    #[allow(clippy::print_stderr, reason = "the test has failed")]
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, self.printed());
        }
    }
}

/// Keeps whole lines: what a process writes to stdout and to stderr is not mixed within a line.
fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>, reading: &Arc<tokio::sync::Mutex<()>>) {
    let reading = Arc::clone(reading);
    std::thread::spawn(move || {
        let (mut from, mut line) = (BufReader::new(from), Vec::new());
        while let Ok(1..) = from.read_until(b'\n', &mut line) {
            let _reading = reading.blocking_lock();
            into.lock().expect("no panic").push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}
