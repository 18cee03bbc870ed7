//! One connection to a service that takes orders, and what is certain after each request. It shares no code with the
//! mall's own client: what is proved is not to be part of the proof.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::ledger::Answer;
use crate::{OrderId, ServiceUrl};

/// A gateway that runs accepts at once, since the kernel does it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// More than any answer takes: the gateway gives up after less than 7 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers have some 200 bytes.
const MAX_ANSWER_BYTES: usize = 1 << 16;
/// Names that are looked up at the same time.
const MAX_LOOKUPS: usize = 16;
/// The time between two searches for a service that is not where it was. Docker's resolver can hang for 4 s on a name that
/// is away: if all connections searched at once, none could ask again when the name is back.
const SEARCH_INTERVAL: Duration = Duration::from_millis(250);
/// A request that meets the closing of its connection goes over a new one. Twice is no coincidence.
const CONNECTIONS_PER_ATTEMPT: usize = 3;

/// Sends one order after the other.
#[derive(Debug)]
pub(crate) struct Client {
    authority: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An order as a client posts it to the gateway: a form, and perhaps a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) form: &'a str,
    pub(crate) key: Option<&'a str>,
}

/// The part of a 200 that is read.
#[derive(Deserialize)]
struct Receipt {
    order_id: OrderId,
    partition: u16,
    offset: i64,
}

/// The part of a problem that is read.
#[derive(Deserialize)]
struct Problem {
    order_id: Option<OrderId>,
}

/// The gateway got nothing of the request.
struct NotSent;

impl Client {
    pub(crate) fn new(service: &ServiceUrl) -> Self {
        Self {
            authority: service.authority().to_owned(),
            connection: None,
        }
    }

    /// Posts an order. Ends within 13 s.
    pub(crate) async fn post(&mut self, order: Order<'_>) -> Answer {
        for _ in 0..CONNECTIONS_PER_ATTEMPT {
            let connection = match &mut self.connection {
                Some(connection) if connection.is_ready() => connection,
                _ => match connect(&self.authority).await {
                    Some(connection) => self.connection.insert(connection),
                    None => break,
                },
            };
            let request = request(&self.authority, order);
            match timeout(ANSWER_TIMEOUT, exchange(connection, request)).await {
                Ok(Ok(answer)) => {
                    if is_of_another_service(&answer) {
                        self.connection = None;
                        look_up_again(&self.authority);
                    }
                    return answer;
                }
                Ok(Err(NotSent)) => self.connection = None,
                Err(_) => {
                    self.connection = None;
                    return unknown(None);
                }
            }
        }
        self.connection = None;
        Answer::Refused { status: None }
    }
}

/// The gateway refuses a valid order with 503, or with 409 for its key. With another status another service may have its
/// address: containers that start at the same time can swap theirs.
fn is_of_another_service(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { status: Some(status) } if ![409, 503].contains(status))
}

fn unknown(status: Option<StatusCode>) -> Answer {
    Answer::Unknown {
        status: status.map(|status| status.as_u16()),
        order_id: None,
    }
}

/// The last addresses of services.
static FOUND: LazyLock<Mutex<HashMap<String, Vec<SocketAddr>>>> = LazyLock::new(Mutex::default);
/// Names that are being looked up.
static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_LOOKUPS)));

/// Returns the addresses of a service. The system's resolver takes a thread for each look-up, and may keep it for many
/// seconds: only some run at the same time, and all clients use the result as long as it works.
async fn look_up(authority: &str) -> Option<Vec<SocketAddr>> {
    if let Some(found) = found().get(authority) {
        return Some(found.clone());
    }
    let permit = Arc::clone(&LOOKUPS).acquire_owned().await.ok()?;
    resolve(authority, permit).await.ok().flatten()
}

/// Asks the resolver, on a thread that has the permit, and keeps the answer for all.
fn resolve(authority: &str, permit: OwnedSemaphorePermit) -> JoinHandle<Option<Vec<SocketAddr>>> {
    let authority = authority.to_owned();
    spawn_blocking(move || {
        let _permit = permit;
        let addresses: Vec<SocketAddr> = authority.to_socket_addrs().ok()?.collect();
        found().insert(authority, addresses.clone());
        Some(addresses)
    })
}

fn found() -> MutexGuard<'static, HashMap<String, Vec<SocketAddr>>> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(authority: &str) -> Option<SendRequest<Full<Bytes>>> {
    let connecting = async {
        let stream = TcpStream::connect(&*look_up(authority).await?).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (requests, driver) = handshake(TokioIo::new(stream)).await.ok()?;
        // It ends with the connection, and an error is told to the request that is under way.
        tokio::spawn(driver);
        Some(requests)
    };
    let connected = timeout(CONNECT_TIMEOUT, connecting).await.ok().flatten();
    if connected.is_none() {
        look_up_again(authority);
    }
    connected
}

/// Searches for a service that is not where it was, beside what goes on: the next connection goes where it is now.
fn look_up_again(authority: &str) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);

    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_some_and(|last| last.elapsed() < SEARCH_INTERVAL) {
        return;
    }
    *last = Some(Instant::now());
    if let Ok(permit) = Arc::clone(&LOOKUPS).try_acquire_owned() {
        drop(resolve(authority, permit));
    }
}

fn request(authority: &str, order: Order<'_>) -> Request<Full<Bytes>> {
    let Order { form, key } = order;
    let request = Request::post("/submit-order")
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    };
    request
        .body(Full::new(Bytes::copy_from_slice(form.as_bytes())))
        .expect("an authority and a key of visible characters are headers")
}

async fn exchange(connection: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Answer, NotSent> {
    let response = match connection.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            let never_sent = error.take_message().is_some();
            return if never_sent { Err(NotSent) } else { Ok(unknown(None)) };
        }
    };
    let (head, body) = response.into_parts();
    let replayed = head.headers.contains_key("idempotency-replayed");
    let Ok(body) = Limited::new(body, MAX_ANSWER_BYTES).collect().await else {
        return Ok(unknown(Some(head.status)));
    };
    Ok(answer(head.status, replayed, &body.to_bytes()))
}

/// The meaning of a reply for its order: the table of statuses of the contract.
fn answer(status: StatusCode, replayed: bool, body: &[u8]) -> Answer {
    match status {
        StatusCode::OK => match serde_json::from_slice(body) {
            Ok(Receipt {
                order_id,
                partition,
                offset,
            }) => Answer::Acknowledged {
                order_id,
                partition,
                offset,
                replayed,
            },
            Err(_) => unknown(Some(status)),
        },
        StatusCode::SERVICE_UNAVAILABLE => Answer::Refused {
            status: Some(status.as_u16()),
        },
        status if status.is_client_error() => Answer::Refused {
            status: Some(status.as_u16()),
        },
        status => Answer::Unknown {
            status: Some(status.as_u16()),
            order_id: serde_json::from_slice(body)
                .ok()
                .and_then(|problem: Problem| problem.order_id),
        },
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn another_service_at_the_address_gets_one_order_of_a_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let service = format!("http://{}", listener.local_addr().expect("its address"));
        let mut client = Client::new(&service.parse().expect("a URL"));
        let order = Order { form: "", key: None };
        for (status, is_kept) in [("404 Not Found", false), ("503 Service Unavailable", true)] {
            let serve = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                stream.read_u8().await.expect("a request");
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("sent");
                stream
            };
            let (answer, _stream) = tokio::join!(client.post(order), serve);
            assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
            assert_eq!(client.connection.is_some(), is_kept, "{status}");
        }
    }

    #[test]
    fn a_status_says_what_is_certain() {
        let answer =
            |status: u16, body: &str| answer(StatusCode::from_u16(status).expect("a status"), false, body.as_bytes());
        let order_id = "7".parse().expect("an id");
        let receipt = r#"{"money":1,"offset":9,"order_id":"7","partition":1,"region":"关中","time":1,"user_id":"1"}"#;
        let acknowledged = Answer::Acknowledged {
            order_id,
            partition: 1,
            offset: 9,
            replayed: false,
        };
        assert_eq!(answer(200, receipt), acknowledged);
        for status in [400, 409, 503] {
            assert_eq!(answer(status, "{}"), Answer::Refused { status: Some(status) });
        }
        let unknown = |status, order_id| Answer::Unknown {
            status: Some(status),
            order_id,
        };
        assert_eq!(
            answer(504, r#"{"status":504,"order_id":"7"}"#),
            unknown(504, Some(order_id))
        );
        // A reply outside of the contract promises nothing.
        for (status, body) in [(200, "OK"), (204, ""), (302, ""), (500, "{}"), (502, "")] {
            assert_eq!(answer(status, body), unknown(status, None));
        }
    }
}
