//! `mall relay`: stands in for a replica that runs outside of its container, for example in a debugger.
//!
//! It copies bytes between a port of the container and the replica. While the replica does not run, it answers 503:
//! nothing was written.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use service::{http, telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The replica is on the same machine: no connection within this time means that it does not run.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Connections at one time; further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;
/// A client that is to be told that there is no replica has this long to send its request, and to take the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// When the relay is asked to stop, an answer that a client waits for has this long to come.
const DRAIN: Duration = Duration::from_secs(6);

/// From a port of this container to where the replica runs: `80=host.docker.internal:8101`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    port: u16,
    target: Arc<str>,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (port, target) = text.split_once('=')?;
            let (host, target_port) = target.rsplit_once(':')?;
            target_port.parse::<u16>().ok().filter(|_| !host.is_empty())?;
            Some(Self {
                port: port.parse().ok()?,
                target: target.into(),
            })
        };
        parse().ok_or_else(|| "expected PORT=HOST:PORT, like 80=host.docker.internal:8101".to_owned())
    }
}

/// Relays every route until the process is asked to stop.
pub(crate) fn run(config: &Config, routes: Vec<Route>) -> ExitCode {
    telemetry::init(&config.log);
    service::run(config.grace_period, |shutdown| async move {
        let mut relays = service::Tasks::new(&shutdown);
        for Route { port, target } in routes {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let listener = http::bind(address, "the relay's route").await?;
            tracing::info!(port, target = &*target, "relaying");
            let shutdown = shutdown.clone();
            relays.spawn("relay", async move {
                relay(listener, target, shutdown).await;
                Ok(())
            });
        }
        relays.join().await
    })
}

/// Relays connections until `shutdown`. Then it closes the connections without a request under way, and the others have
/// six seconds.
async fn relay(listener: TcpListener, target: Arc<str>, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let away = Arc::new(AtomicBool::new(false));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let Some((accepted, permit)) = shutdown.run_until_cancelled(accepted).await else {
            break;
        };
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = accepted else {
            // For want of file descriptors, for example: a pause, so that the loop does not spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (target, shutdown, away) = (Arc::clone(&target), shutdown.clone(), Arc::clone(&away));
        connections.spawn(async move {
            let _permit = permit;
            connect(client, &target, &away, shutdown).await;
        });
    }
    // From here on a client is refused, which it can tell from an answer that is lost.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connect(client: TcpStream, target: &str, away: &AtomicBool, shutdown: CancellationToken) {
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
        Ok(Ok(replica)) => {
            if away.swap(false, Ordering::Relaxed) {
                tracing::info!(target, "the replica runs");
            }
            copy(client, replica, shutdown).await;
        }
        failed => {
            if !away.swap(true, Ordering::Relaxed) {
                let error = failed.map_or_else(
                    |_| format!("no connection within {CONNECT_TIMEOUT:?}"),
                    |outcome| outcome.err().map(|error| error.to_string()).unwrap_or_default(),
                );
                tracing::warn!(target, error, "the replica does not run");
            }
            // A client that does not take its answer misses nothing else.
            let _ = timeout(REFUSAL_TIMEOUT, refuse(client, target)).await;
        }
    }
}

/// Copies both ways until both ends have closed; on `shutdown`, until no answer is awaited.
async fn copy(client: TcpStream, replica: TcpStream, shutdown: CancellationToken) {
    // A segment that is held back for the next one costs 40 ms. Without the option it is slow, not wrong.
    let _ = (client.set_nodelay(true), replica.set_nodelay(true));
    // In HTTP/1.1 the side that has sent last waits for the other.
    let (awaited, mut watched) = watch::channel(false);
    let mut client = InspectReader::new(client, |_| {
        awaited.send_replace(true);
    });
    let mut replica = InspectReader::new(replica, |_| {
        awaited.send_replace(false);
    });
    let stopped = async {
        shutdown.cancelled().await;
        let _ = timeout(DRAIN, watched.wait_for(|awaited| !awaited)).await;
    };
    tokio::select! {
        // An error is the end of the connection, and both ends see it as such.
        _ = copy_bidirectional(&mut client, &mut replica) => {}
        () = stopped => {}
    }
}

/// Answers a request with 503. The connection alone, closed, would leave the client in doubt what became of it.
async fn refuse(mut client: TcpStream, target: &str) -> std::io::Result<()> {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": format!("this replica is attached, and does not run at {target}: nothing was written"),
    })
    .to_string();
    // A client takes an answer that comes before its request for an error.
    let mut request = [0; 4096];
    if client.read(&mut request).await? == 0 {
        return Ok(());
    }
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).await?;
    client.shutdown().await?;
    // A socket that is closed while bytes are unread resets the connection, and the answer may be lost with it.
    while client.read(&mut request).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Far more than anything here takes.
    const SOON: Duration = Duration::from_secs(5);

    struct Relayed {
        address: SocketAddr,
        client: TcpStream,
        shutdown: CancellationToken,
        running: tokio::task::JoinHandle<()>,
    }

    /// A client of a relay to `target`.
    async fn relayed(target: SocketAddr) -> Relayed {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(relay(listener, target.to_string().into(), shutdown.clone()));
        let client = TcpStream::connect(address).await.expect("a connection");
        Relayed {
            address,
            client,
            shutdown,
            running,
        }
    }

    async fn replica() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    #[test]
    fn a_route_is_a_port_and_an_address_with_a_port() {
        let route: Route = "80=host.docker.internal:8101".parse().expect("a route");
        assert_eq!((route.port, &*route.target), (80, "host.docker.internal:8101"));
        for wrong in [
            "80",
            "80=",
            "80=host",
            "80=:8101",
            "80=host:x",
            "x=host:1",
            "70000=host:1",
        ] {
            assert!(wrong.parse::<Route>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_of_one_end_reaches_the_other() {
        let (listener, address) = replica().await;
        let mut relayed = relayed(address).await;
        let (mut served, _) = listener.accept().await.expect("relayed");
        let mut bytes = [0; 4];
        relayed.client.write_all(b"ping").await.expect("sent");
        served.read_exact(&mut bytes).await.expect("received");
        assert_eq!(&bytes, b"ping");
        served.write_all(b"pong").await.expect("sent");
        relayed.client.read_exact(&mut bytes).await.expect("received");
        assert_eq!(&bytes, b"pong");
        drop(served);
        let end = timeout(SOON, relayed.client.read(&mut bytes)).await.expect("in time");
        assert_eq!(end.expect("an end"), 0);
    }

    #[tokio::test]
    async fn a_replica_that_does_not_run_is_a_503_that_says_where_it_should() {
        let (listener, address) = replica().await;
        drop(listener);
        let mut relayed = relayed(address).await;
        relayed
            .client
            .write_all(b"GET /ready HTTP/1.1\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        let read = timeout(SOON, relayed.client.read_to_string(&mut answer)).await;
        read.expect("in time").expect("an answer and an end");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.contains(&format!("does not run at {address}: nothing was written")),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn a_stop_closes_what_is_idle_at_once_and_waits_for_an_answer() {
        let (listener, address) = replica().await;
        let idle = relayed(address).await;
        let _served = listener.accept().await.expect("relayed");
        let begun = Instant::now();
        idle.shutdown.cancel();
        timeout(SOON, idle.running).await.expect("in time").expect("no panic");
        assert!(begun.elapsed() < DRAIN / 2, "{:?}", begun.elapsed());

        let mut busy = relayed(address).await;
        let (mut served, _) = listener.accept().await.expect("relayed");
        busy.client.write_all(b"?").await.expect("sent");
        assert_eq!(served.read_u8().await.expect("relayed"), b'?');
        busy.shutdown.cancel();
        let refused = async { while TcpStream::connect(busy.address).await.is_ok() {} };
        timeout(SOON, refused).await.expect("stops accepting");
        served.write_all(b"!").await.expect("still open");
        assert_eq!(
            timeout(SOON, busy.client.read_u8())
                .await
                .expect("in time")
                .expect("an answer"),
            b'!'
        );
        timeout(SOON, busy.running).await.expect("in time").expect("no panic");
    }
}
