//! Passes a request on to another service, and its answer back.

use std::time::Duration;

use hyper::body::Bytes;
use parking_lot::Mutex;
use poem::http::{Response, StatusCode, header};
use tokio::time::timeout;

use super::{Address, Connection, NoAnswer};
use crate::Problem;

/// Connections that are kept for the next requests. To connect, with the DNS look-up, takes longer than most answers.
const MAX_IDLE_CONNECTIONS: usize = 64;
/// The headers of an answer that are passed back: what the body is, and when to ask again.
const PASSED_HEADERS: [header::HeaderName; 2] = [header::CONTENT_TYPE, header::RETRY_AFTER];

/// A service that gets requests which change nothing, and so may be repeated.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    address: Address,
    /// The connection that was used last is the last.
    idle: Mutex<Vec<Connection>>,
}

impl Upstream {
    /// Makes no request yet. `name` is what problems call the service.
    pub fn new(name: &str, address: Address) -> Self {
        Self {
            name: name.to_owned(),
            address,
            idle: Mutex::default(),
        }
    }

    /// Requests a path from the service, and passes its answer back as it is.
    ///
    /// # Errors
    /// 503 when the service is out of reach, and 504 when it has not answered within `limit`.
    pub async fn forward(&self, path: &str, limit: Duration) -> Result<poem::Response, Problem> {
        let service = &self.name;
        let Ok(answer) = timeout(limit, self.get(path)).await else {
            // The other connections may lead to the same nowhere.
            self.idle.lock().clear();
            let detail = format!("{service} has not answered in time: ask again");
            return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail));
        };
        let out_of_reach = |reason| Problem::unavailable(format!("{service}: out of reach ({reason})"));
        let (head, body) = answer.map_err(out_of_reach)?.into_parts();
        let mut response = poem::Response::builder().status(head.status).body(body);
        for name in PASSED_HEADERS {
            if let Some(value) = head.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        Ok(response)
    }

    /// Requests a path from the service, without a timeout of its own.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub async fn get(&self, path: &str) -> Result<Response<Bytes>, String> {
        // The service may close a connection while a request is on its way, which is then repeated.
        if let Some(mut connection) = self.take_idle().await
            && let Ok(answer) = connection.send(self.address.get(path)).await
        {
            self.keep(connection);
            return Ok(answer);
        }
        let connection = self.address.connect().await;
        let mut connection = connection.map_err(|error| format!("{error:#}"))?;
        let answer = connection.send(self.address.get(path)).await;
        let answer = answer.map_err(NoAnswer::into_reason)?;
        self.keep(connection);
        Ok(answer)
    }

    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.lock().pop()?;
            if connection.is_usable().await {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use poem::http::uri::Authority;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    /// A service that gives an answer to so many requests on each connection, and then closes it. Returns how many have
    /// connected.
    async fn service(requests: usize, answer: &'static str) -> (Upstream, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let connected = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connected);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, requests, answer));
            }
        });
        (
            Upstream::new("service-1", Address::new(host.parse().expect("a host"))),
            connected,
        )
    }

    async fn serve(mut stream: TcpStream, requests: usize, answer: &str) {
        let mut buffer = [0; 4096];
        for _ in 0..requests {
            // A request without a body is one packet.
            if stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        }
        // Reads the next one, and closes.
        let _ = stream.read(&mut buffer).await;
    }

    async fn status(upstream: &Upstream, deadline: Duration) -> StatusCode {
        match upstream.forward("/orders/1", deadline).await {
            Ok(response) => response.status(),
            Err(problem) => poem::IntoResponse::into_response(problem).status(),
        }
    }

    #[tokio::test]
    async fn an_answer_is_passed_on_as_it_is() {
        let refused = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/html\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy";
        let (upstream, _) = service(1, refused).await;
        let mut response = upstream.forward("/orders/1", DEADLINE).await.expect("an answer");
        assert_eq!(
            (response.status(), response.content_type()),
            (StatusCode::SERVICE_UNAVAILABLE, Some("text/html"))
        );
        assert_eq!(response.header(header::RETRY_AFTER), Some("7"));
        assert_eq!(response.take_body().into_string().await.expect("text"), "busy");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_share_the_lookups_of_their_host() {
        let host = Authority::from_static("repository-1.repository");
        let upstream = Upstream::new("repository-1", Address::of_hanging_resolver(host));
        let begun = tokio::time::Instant::now();
        let asked = (0..100).map(|_| upstream.forward("/orders/1", DEADLINE));
        for answer in futures_util::future::join_all(asked).await {
            assert_eq!(answer.expect_err("no answer").status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(begun.elapsed(), Duration::from_millis(500));
    }

    #[tokio::test]
    async fn a_connection_is_used_again() {
        let (upstream, connected) = service(usize::MAX, OK).await;
        for _ in 0..3 {
            assert_eq!(status(&upstream, DEADLINE).await, StatusCode::OK);
        }
        assert_eq!(connected.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_question_that_meets_the_end_of_a_connection_is_asked_again() {
        let (upstream, connected) = service(1, OK).await;
        for _ in 0..3 {
            assert_eq!(status(&upstream, DEADLINE).await, StatusCode::OK);
        }
        assert_eq!(connected.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_question_without_an_answer_no_connection_is_trusted() {
        let upstream = Upstream::new("service-1", Address::new("127.0.0.1:1".parse().expect("a host")));
        let mut ends = Vec::new();
        for _ in 0..2 {
            let (ours, theirs) = tokio::io::duplex(1024);
            ends.push(theirs);
            upstream.keep(Connection::new(ours).await.expect("a connection"));
        }
        assert_eq!(status(&upstream, DEADLINE).await, StatusCode::GATEWAY_TIMEOUT);
        assert!(upstream.idle.lock().is_empty());
    }
}
