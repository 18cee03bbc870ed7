//! A browser, by the WebDriver protocol: the five of its commands that these tests need. A library for all of them is
//! fifty crates.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// A browser starts in a fraction of this, on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser without a window.
pub(crate) struct Browser {
    driver: Child,
    client: Client<HttpConnector, Full<Bytes>>,
    session: String,
}

impl Browser {
    /// Starts Chromium and its driver.
    pub(crate) async fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .spawn()
            .expect("chromedriver, of Debian's package chromium-driver");
        let mut browser = Self {
            driver,
            client: Client::builder(TokioExecutor::new()).build_http(),
            session: format!("http://127.0.0.1:{port}"),
        };
        // CI is root in a container, where Chromium's sandbox and /dev/shm cannot be used.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let begin = async {
            loop {
                if let Some(started) = browser.send(Method::POST, "/session", &wanted).await {
                    break started;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        let started = timeout(PATIENCE, begin).await.expect("a browser in time");
        let id = started["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {started}"));
        browser.session = format!("{}/session/{id}", browser.session);
        browser
    }

    /// `None` when the driver cannot be reached.
    async fn send(&self, method: Method, path: &str, body: &Value) -> Option<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header("content-type", "application/json")
            .body(Full::new(body.to_string().into()))
            .expect("a valid request");
        let response = self.client.request(request).await.ok()?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        let mut answer: Value = serde_json::from_slice(&body).expect("the driver speaks JSON");
        Some(answer["value"].take())
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        let answer = timeout(PATIENCE, self.send(Method::POST, path, &body)).await;
        let value = answer.expect("an answer in time").expect("a driver");
        assert!(value.get("error").is_none(), "{path}: {value}");
        value
    }

    /// Opens a page.
    pub(crate) async fn open(&self, url: &str) {
        self.command("/url", json!({ "url": url })).await;
    }

    /// What a script returns that runs in the page; a promise is waited for.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", json!({"script": script, "args": []}))
            .await
    }

    /// A command of Chromium's own protocol.
    async fn chromium(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.command("/goog/cdp/execute", body).await
    }

    /// Makes the window this large, and the system's colours dark or light.
    pub(crate) async fn look(&self, width: u32, height: u32, scheme: &str) {
        let window = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", window).await;
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.chromium("Emulation.setEmulatedMedia", scheme).await;
    }

    /// A PNG of what is to be seen, in Base64.
    pub(crate) async fn screenshot(&self) -> String {
        let taken = self.chromium("Page.captureScreenshot", json!({"format": "png"})).await;
        taken["data"].as_str().expect("a picture").to_owned()
    }

    /// What was written to the console since it was asked last.
    pub(crate) async fn console(&self) -> Vec<String> {
        let lines = self.command("/se/log", json!({"type": "browser"})).await;
        let line = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
        lines.as_array().expect("lines").iter().map(line).collect()
    }

    /// Ends it.
    pub(crate) async fn close(mut self) {
        // An error leaves nothing to close but the driver.
        let _ = timeout(PATIENCE, self.send(Method::DELETE, "", &json!({}))).await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Drop for Browser {
    /// Of a test that has failed. A browser outlives a driver that is killed before it.
    fn drop(&mut self) {
        if matches!(self.driver.try_wait(), Ok(None)) {
            let end = ["-s", "-m", "10", "-o", "/dev/null", "-X", "DELETE", &self.session];
            let _ = Command::new("curl").args(end).status();
            let _ = self.driver.kill();
            let _ = self.driver.wait();
        }
    }
}
