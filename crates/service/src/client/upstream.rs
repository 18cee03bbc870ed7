//! Passes a question on to another service, and its answer back.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use poem::Response;
use poem::http::StatusCode;
use poem::http::uri::Authority;
use tokio::time::timeout;

use super::{Address, Answer, Connection, NoAnswer};
use crate::Problem;

/// Connections that are kept for the next questions. To connect, with the search for the host, takes longer than most
/// answers.
const MAX_IDLE_CONNECTIONS: usize = 64;

/// A service that is asked questions which change nothing.
pub struct Upstream {
    name: String,
    host: Authority,
    /// The one that was used last is the last.
    idle: Mutex<Vec<Connection>>,
}

impl Upstream {
    /// Nothing is asked yet. `name` is how answers call the service.
    pub fn new(name: &str, host: Authority) -> Self {
        Self {
            name: name.to_owned(),
            host,
            idle: Mutex::default(),
        }
    }

    /// Asks the service for a path. Its answer is passed back as it is.
    ///
    /// # Errors
    /// 503 when the service is out of reach, and 504 when it has not answered within `deadline`.
    pub async fn forward(&self, path: &str, deadline: Duration) -> Result<Response, Problem> {
        let service = &self.name;
        let Ok(asked) = timeout(deadline, self.ask(path)).await else {
            // The other connections may lead to the same nowhere.
            self.idle.lock().clear();
            let detail = format!("{service} has not answered in time: ask again");
            return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail));
        };
        let away = |reason: String| Problem::unavailable(format!("{service}: out of reach ({reason})"));
        let Answer { status, body } = asked.map_err(away)?;
        let content_type = if status == StatusCode::OK {
            "application/json"
        } else {
            "application/problem+json"
        };
        Ok(Response::builder().status(status).content_type(content_type).body(body))
    }

    async fn ask(&self, path: &str) -> Result<Answer, String> {
        let mut address = Address::new(self.host.clone());
        // The service may close a connection while a question is on its way to it. To ask twice does no harm.
        if let Some(mut connection) = self.take_idle().await
            && let Ok(answer) = connection.send(address.get(path)).await
        {
            self.keep(connection);
            return Ok(answer);
        }
        let mut connection = address.connect().await.map_err(|error| format!("{error:#}"))?;
        let answer = connection
            .send(address.get(path))
            .await
            .map_err(NoAnswer::into_reason)?;
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

impl fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Upstream")
            .field("name", &self.name)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    /// A service that answers so many requests on each connection, and then closes it. Returns how many have connected.
    async fn service(requests: usize) -> (Upstream, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let connected = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connected);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, requests));
            }
        });
        (Upstream::new("service-1", host.parse().expect("a host")), connected)
    }

    async fn serve(mut stream: TcpStream, requests: usize) {
        let mut buffer = [0; 4096];
        for _ in 0..requests {
            // A request without a body is one packet.
            if stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer).await.expect("written");
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
    async fn a_connection_is_used_again() {
        let (upstream, connected) = service(usize::MAX).await;
        for _ in 0..3 {
            assert_eq!(status(&upstream, DEADLINE).await, StatusCode::OK);
        }
        assert_eq!(connected.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_question_that_meets_the_end_of_a_connection_is_asked_again() {
        let (upstream, connected) = service(1).await;
        for _ in 0..3 {
            assert_eq!(status(&upstream, DEADLINE).await, StatusCode::OK);
        }
        assert_eq!(connected.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_question_without_an_answer_no_connection_is_trusted() {
        let upstream = Upstream::new("service-1", "127.0.0.1:1".parse().expect("a host"));
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
