//! A gateway, a scripted order service, and a client.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use domain::{Partition, Region, Replicas};
use serde_json::{Value, json};
use service::{Context, http};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The contract's bound for any answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(6);
/// Far more than what takes no time takes.
pub(crate) const SOON: Duration = Duration::from_millis(400);

/// What an order service does on a connection.
#[derive(Debug)]
pub(crate) enum Step {
    /// Reads a request and answers with a receipt for each of its orders.
    Receipts,
    /// Reads a request, waits until it is told to go on, and answers with a receipt for each.
    Wait(oneshot::Receiver<()>),
    /// Reads a request and answers this.
    Answer(String),
    /// Reads a request and nothing more until the other side closes.
    Hang,
    /// Closes its side at once, and reads what still comes.
    CloseAtOnce,
    /// Reads a request and closes.
    CloseAfterRequest,
}

/// An order service: the steps of each connection that it accepts.
pub(crate) struct OrderService {
    pub(crate) address: SocketAddr,
    /// The body of each request, and how many bytes came where it read no request.
    pub(crate) received: mpsc::UnboundedReceiver<Value>,
    /// Told when a connection has been closed.
    pub(crate) closed: mpsc::UnboundedReceiver<()>,
}

impl OrderService {
    pub(crate) async fn start(
        partition: Partition,
        connections: impl IntoIterator<Item = Vec<Step>>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (requests, received) = mpsc::unbounded_channel();
        let (close, closed) = mpsc::unbounded_channel();
        let connections: VecDeque<Vec<Step>> = connections.into_iter().collect();
        tasks.spawn(async move {
            for steps in connections {
                let (stream, _) = listener.accept().await.expect("a connection");
                play(steps, stream, partition, &requests).await;
                // Errors mean that the test is over.
                let _ = close.send(());
            }
        });
        Self {
            address,
            received,
            closed,
        }
    }

    /// The orders of the next request.
    pub(crate) async fn batch(&mut self) -> Vec<Value> {
        let body = self.received.recv().await.expect("a request");
        body.as_array().unwrap_or_else(|| panic!("no array: {body}")).clone()
    }
}

async fn play(steps: Vec<Step>, stream: TcpStream, partition: Partition, requests: &mpsc::UnboundedSender<Value>) {
    let mut stream = BufReader::new(stream);
    for step in steps {
        if let Step::CloseAtOnce = step {
            stream.shutdown().await.expect("closed");
            let mut bytes = Vec::new();
            // An error means that the other side has closed too.
            let _ = stream.read_to_end(&mut bytes).await;
            let _ = requests.send(json!(bytes.len()));
            return;
        }
        let Some(body) = read_request(&mut stream).await else {
            return;
        };
        let _ = requests.send(body.clone());
        let answer = match step {
            Step::Receipts => receipts(&body, partition),
            Step::Wait(go_on) => {
                go_on.await.expect("told to go on");
                receipts(&body, partition)
            }
            Step::Answer(answer) => answer,
            Step::Hang => {
                let _ = stream.read_u8().await;
                return;
            }
            Step::CloseAtOnce | Step::CloseAfterRequest => return,
        };
        stream.write_all(answer.as_bytes()).await.expect("sent");
    }
}

/// The body of a request; `None` when the connection is closed instead.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    assert!(head.starts_with("post /submit-orders http/1.1\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    stream.read_exact(&mut body).await.ok()?;
    Some(serde_json::from_slice(&body).expect("JSON"))
}

/// A response with this status and body.
pub(crate) fn response(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn receipts(batch: &Value, partition: Partition) -> String {
    let orders = batch.as_array().expect("an array");
    let receipts: Vec<Value> = orders.iter().map(|order| receipt(order, partition)).collect();
    response(200, &json!(receipts).to_string())
}

/// A receipt of this partition's order service.
pub(crate) fn receipt(order: &Value, partition: Partition) -> Value {
    let order = &order["submission"];
    let (money, time, user_id) = (&order["money"], &order["time"], &order["user_id"]);
    let region = Region::from(partition).to_string();
    json!({"receipt": {
        "money": money, "offset": 0, "order_id": "1468136426238382080", "partition": partition, "region": region,
        "time": time, "user_id": user_id,
    }})
}

/// A gateway of three regions. Where no order service was given, nothing listens.
pub(crate) struct Gateway {
    address: SocketAddr,
}

impl Gateway {
    pub(crate) async fn start(
        order_services: &[(Partition, SocketAddr)],
        max_in_flight: u32,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let nowhere = free.local_addr().expect("an address");
        drop(free);
        let mut orders: BTreeMap<Partition, SocketAddr> = Replicas::THREE
            .partitions()
            .map(|partition| (partition, nowhere))
            .collect();
        orders.extend(order_services.iter().copied());
        let host = |address: SocketAddr| address.to_string().parse().expect("a host");
        let listener = http::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let config = gateway::Config {
            orders: orders
                .into_iter()
                .map(|(partition, address)| (partition, host(address)))
                .collect(),
            repositories: Replicas::THREE
                .partitions()
                .map(|partition| (partition, host(nowhere)))
                .collect(),
            replicas: Replicas::THREE,
            settings: gateway::Settings {
                max_in_flight: NonZeroU32::new(max_in_flight).expect("more than none"),
                ..gateway::Settings::default()
            },
        };
        let context = Context::new("gateway", listener, CancellationToken::new());
        tasks.spawn(async { gateway::run(config, context).await.expect("a gateway that runs") });
        Self { address }
    }

    /// Orders something, as `curl -d partition=N` does.
    pub(crate) async fn order(&self, number: u16) -> Reply {
        self.order_with(number, "").await
    }

    /// The same with more headers.
    pub(crate) async fn order_with(&self, number: u16, headers: &str) -> Reply {
        let text = format!(
            "POST /submit-order HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 11\r\n\
             content-type: application/x-www-form-urlencoded\r\n{headers}\r\npartition={number}"
        );
        self.request(&text).await
    }

    pub(crate) async fn metrics(&self) -> String {
        self.request("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .text
    }

    async fn request(&self, text: &str) -> Reply {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("a reply");
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        Reply {
            status: status.unwrap_or_else(|| panic!("no status in {text:?}")),
            took: begun.elapsed(),
            text,
        }
    }
}

/// A reply of the gateway.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// Head and body.
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

pub(crate) fn partition(number: u16) -> Partition {
    Replicas::THREE.partitions().nth(number.into()).expect("one of three")
}
