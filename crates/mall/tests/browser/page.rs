//! The dashboard of the mall of compose.yaml.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::driver::Browser;

/// The page is there, and has its first figures.
const START: Duration = Duration::from_secs(30);
/// What the tests ask of the page, in its words.
const WORDS: &str = "
    window.$ = (selector) => document.querySelector(selector);
    window.text = (selector) => $(selector)?.textContent ?? '';
    window.accepted = (n) => +text(`#picture [data-row='${n}'] .log.o b`).replaceAll(',', '');
    window.station = (name) => [...document.querySelectorAll('.station')].find((one) => one.textContent.includes(name));
    window.ready = (name) => station(name).classList.contains('ready');
    window.away = (name) => station(name).classList.contains('gone');
    window.button = (id) => [...document.querySelectorAll('#orders button')].find((one) => one.value === id);
    window.row = (id) => button(id)?.closest('tr').textContent;
";

/// The top of the checkout.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn output(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).current_dir(checkout()).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Runs a recipe.
pub(crate) fn just(arguments: &[&str]) {
    let output = output("just", arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Where a service is published.
fn address(service: &str) -> String {
    let output = output("docker", &["compose", "port", service, "80"]);
    let address = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(!address.is_empty(), "{service} does not run: just up");
    format!("http://{address}")
}

/// Orders something. Returns the id, or nothing when the order was refused.
pub(crate) fn order(region: u16) -> Option<String> {
    // Asked once: Compose takes longer to say it than an order does.
    static GATEWAY: LazyLock<String> = LazyLock::new(|| address("gateway"));
    let url = format!("{}/submit-order", *GATEWAY);
    let reply = output("curl", &["-s", "-m", "10", "-d", &format!("partition={region}"), &url]);
    let reply: Value = serde_json::from_slice(&reply.stdout).expect("JSON");
    reply["order_id"]
        .as_str()
        .filter(|_| reply.get("status").is_none())
        .map(str::to_owned)
}

/// The dashboard in a browser.
pub(crate) struct Page(Browser);

impl Page {
    pub(crate) async fn open(width: u32, scheme: &str) -> Self {
        let page = Self(Browser::start().await);
        page.look(width, scheme).await;
        page.0.open(&address("statistics")).await;
        page.run(WORDS).await;
        page.within(START, "return !!$('#picture .row') && !!$('.end.ready')")
            .await;
        page
    }

    pub(crate) async fn look(&self, width: u32, scheme: &str) {
        let height = match width {
            360 => 760,
            1280 => 800,
            _ => 1440,
        };
        self.0.look(width, height, scheme).await;
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.0.run(script).await
    }

    /// How many orders of a region have been accepted.
    pub(crate) async fn accepted(&self, region: u16) -> u64 {
        let accepted = self.run(&format!("return accepted({region})")).await;
        accepted.as_u64().expect("a number")
    }

    /// Waits until a script returns true, and says how long that took.
    #[expect(clippy::print_stdout, reason = "shown by --nocapture")]
    pub(crate) async fn within(&self, limit: Duration, script: &str) {
        let begun = Instant::now();
        while self.run(script).await != Value::Bool(true) {
            if begun.elapsed() > limit {
                self.keep("failed").await;
                let page = self.run("return document.body.innerText.slice(0, 3000)").await;
                panic!("not within {limit:?}: {script}\n{}", page.as_str().unwrap_or_default());
            }
            sleep(Duration::from_millis(20)).await;
        }
        println!("{:5} ms: {script}", begun.elapsed().as_millis());
    }

    /// Keeps what is to be seen, in target/screenshots.
    pub(crate) async fn keep(&self, name: &str) {
        let folder = checkout().join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{name}.png"));
        let encoded = file.with_extension("base64");
        std::fs::write(&encoded, self.0.screenshot().await).expect("written");
        let decoded = output("base64", &["-d", &encoded.to_string_lossy()]);
        std::fs::write(&file, decoded.stdout).expect("written");
        std::fs::remove_file(encoded).expect("removed");
    }

    /// Closes it. Nothing may have been written to its console.
    pub(crate) async fn close(self) {
        assert_eq!(self.0.console().await, Vec::<String>::new());
        self.0.close().await;
    }

    /// Closes it. The console has lines of the browser about a connection that was cut on purpose, and no others.
    pub(crate) async fn close_without_console(self) {
        let mut lines = self.0.console().await;
        lines.retain(|line| !line.contains("net::ERR_"));
        assert_eq!(lines, Vec::<String>::new());
        self.0.close().await;
    }
}
