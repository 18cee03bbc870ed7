//! The real binary as a process.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Client, eventually};

/// A process of the mall. It is killed when dropped; what it printed is shown when the test fails.
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    printed: Arc<Mutex<String>>,
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
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary starts");
        let printed = Arc::new(Mutex::new(String::new()));
        collect(process.stdout.take().expect("piped"), Arc::clone(&printed));
        collect(process.stderr.take().expect("piped"), Arc::clone(&printed));
        Self {
            name: format!("mall {} {settings:?}", arguments.join(" ")),
            process,
            printed,
        }
    }

    /// Starts a service on a broker, listening at an address.
    pub(crate) fn service(
        arguments: &[&str],
        kafka: &kafka::Config,
        listen: SocketAddr,
        settings: &[(&str, &str)],
    ) -> Self {
        let listen = listen.to_string();
        let mut all = vec![
            ("MALL_HTTP__LISTEN", listen.as_str()),
            ("MALL_KAFKA__BOOTSTRAP_SERVERS", &kafka.bootstrap_servers),
            ("MALL_KAFKA__PREFIX", &kafka.prefix),
            ("MALL_KAFKA__PROPERTIES__FETCH_WAIT_MAX_MS", "10"),
        ];
        all.extend(settings);
        Self::start(arguments, &all)
    }

    /// Everything that it has printed.
    pub(crate) fn printed(&self) -> String {
        self.printed.lock().expect("no panic").clone()
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

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self, address: SocketAddr) {
        let client = Client::new();
        eventually(&format!("{} is ready", self.name), async || {
            let request = hyper::Request::get(format!("http://{address}/ready")).body(Default::default());
            let reply = client.try_request(request.expect("a valid request")).await;
            reply.is_ok_and(|reply| reply.status.is_success())
        })
        .await;
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

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            into.lock()
                .expect("no panic")
                .push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
}

/// A loopback address that is free at the moment.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}
