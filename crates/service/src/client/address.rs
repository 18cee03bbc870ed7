//! The address of a service, and the DNS look-ups for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, select_all};
use http_body_util::Full;
use hyper::body::Bytes;
use parking_lot::Mutex;
use poem::http::uri::Authority;
use poem::http::{Request, Uri, header};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::Connection;

/// Services are on the same network: no connection within this time means that the service is down.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Concurrent DNS look-ups for one host. Each takes a thread until it ends: `getaddrinfo` cannot be cancelled, and Docker's
/// resolver can hang for 4 s on an unknown name. The look-ups of 32 regions leave threads for others.
const MAX_LOOKUPS: usize = 4;
/// Another look-up begins beside one that has taken this long: the name may be known by now.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// The address of a service. Clones share their DNS look-ups.
#[derive(Clone, Debug)]
pub struct Address {
    /// As the URL has it.
    host: Authority,
    /// Look-ups that have not ended, the newest last.
    lookups: Arc<Mutex<Vec<Lookup>>>,
}

#[derive(Clone, Debug)]
struct Lookup {
    started: Instant,
    found: Shared<BoxFuture<'static, Found>>,
}

type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

impl Lookup {
    fn start(lookup: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static) -> Self {
        Self {
            started: Instant::now(),
            found: lookup.map(|found| found.map_err(Arc::new)).boxed().shared(),
        }
    }
}

impl Address {
    /// Makes no request yet.
    pub fn new(host: Authority) -> Self {
        Self {
            host,
            lookups: Arc::default(),
        }
    }

    /// The address of a host whose resolver hangs, for tests.
    pub fn of_hanging_resolver(host: Authority) -> Self {
        let address = Self::new(host);
        let hanging = || Lookup::start(std::future::pending());
        address.lookups.lock().resize_with(MAX_LOOKUPS, hanging);
        address
    }

    /// The host, and the port where it is not 80.
    pub fn host(&self) -> &Authority {
        &self.host
    }

    /// A request for a path that begins with `/`.
    ///
    /// # Panics
    /// When that is no path.
    pub fn get(&self, path: &str) -> Request<Full<Bytes>> {
        Request::get(path)
            .header(header::HOST, self.host.as_str())
            .body(Full::default())
            .expect("a path and an authority")
    }

    /// Connects.
    ///
    /// # Errors
    /// When there is no connection within half a second, the DNS look-up included.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let attempt = async {
            let found = self.look_up().await?;
            let stream = TcpStream::connect(&*found).await?;
            stream.set_nodelay(true)?;
            Ok(Connection::new(stream).await?)
        };
        let expired = |_| Err(anyhow::anyhow!("no connection within {CONNECT_TIMEOUT:?}"));
        timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or_else(expired)
    }

    /// Looks up the host. An address counts whichever look-up finds it; an error counts if the newest one has it.
    async fn look_up(&self) -> Found {
        let mut lookups: Vec<_> = self.lookups().into_iter().map(|lookup| lookup.found).collect();
        loop {
            let (found, ended, _) = select_all(lookups.iter_mut()).await;
            drop(lookups.remove(ended));
            let was_newest = ended == lookups.len();
            if found.is_ok() || was_newest {
                return found;
            }
        }
    }

    /// The look-ups that are under way, at least one.
    fn lookups(&self) -> Vec<Lookup> {
        let mut lookups = self.lookups.lock();
        // An address that was found earlier may be another service's by now.
        lookups.retain(|lookup| lookup.found.clone().now_or_never().is_none());
        let is_due = lookups
            .last()
            .is_none_or(|newest| newest.started.elapsed() >= LOOKUP_INTERVAL);
        if is_due && lookups.len() < MAX_LOOKUPS {
            let target = format!("{}:{}", self.host.host(), self.host.port_u16().unwrap_or(80));
            lookups.push(Lookup::start(async { Ok(lookup_host(target).await?.collect()) }));
        }
        lookups.clone()
    }
}

/// The host of a URL that has a scheme and a host, perhaps with a port, and nothing else.
pub fn parse_server(url: &str, scheme: &str) -> Option<Authority> {
    let uri = url.parse::<Uri>().ok()?;
    let host = uri.authority()?;
    // User information stands before the host. `port_u16` is `None` for what is no port, too.
    let port = host.as_str().strip_prefix(host.host())?;
    let is_server = !host.host().is_empty()
        && (port.is_empty() || host.port_u16().is_some())
        && uri.scheme_str() == Some(scheme)
        && uri.path() == "/"
        && uri.query().is_none();
    is_server.then(|| host.clone())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;

    fn localhost() -> Address {
        Address::new(Authority::from_static("127.0.0.1"))
    }

    fn found(port: u16) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([127, 0, 0, 1], port))]
    }

    fn under_way(address: &Address) -> usize {
        address.lookups.lock().len()
    }

    #[tokio::test(start_paused = true)]
    async fn many_requests_to_a_host_with_a_hanging_resolver_share_few_lookups() {
        let address = Address::new(Authority::from_static("order-1.order"));
        address.lookups.lock().push(Lookup::start(pending()));
        let begun = Instant::now();
        let errors =
            join_all((0..100).map(async |_| address.clone().connect().await.expect_err("no connection"))).await;
        assert!(
            errors
                .iter()
                .all(|error| error.to_string() == "no connection within 500ms")
        );
        assert_eq!((begun.elapsed(), under_way(&address)), (CONNECT_TIMEOUT, 1));
        let hanging = Address::of_hanging_resolver(Authority::from_static("order-1.order"));
        tokio::time::advance(LOOKUP_INTERVAL).await;
        assert_eq!(
            (hanging.lookups().len(), under_way(&hanging)),
            (MAX_LOOKUPS, MAX_LOOKUPS)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn another_lookup_begins_beside_one_that_hangs() {
        let address = localhost();
        address.lookups.lock().push(Lookup::start(pending()));
        tokio::time::advance(LOOKUP_INTERVAL).await;
        assert_eq!(address.look_up().await.expect("an address"), found(80));
        assert_eq!(under_way(&address), 2, "the one that hangs is still counted");
    }

    #[tokio::test]
    async fn an_address_that_was_found_before_is_looked_up_again() {
        let address = localhost();
        address.lookups.lock().push(Lookup::start(ready(Ok(found(81)))));
        assert_eq!(address.look_up().await.expect("an address"), found(80));
    }

    #[tokio::test]
    async fn an_older_lookup_counts_when_it_finds_an_address() {
        let address = Address::of_hanging_resolver(Authority::from_static("order-1.order"));
        address.lookups.lock()[0] = Lookup::start(async {
            yield_now().await;
            Err(io::Error::other("unknown name"))
        });
        address.lookups.lock()[1] = Lookup::start(async {
            yield_now().await;
            Ok(found(81))
        });
        assert_eq!(address.look_up().await.expect("an address"), found(81));
    }

    #[test]
    fn a_server_is_a_scheme_and_a_host_and_nothing_else() {
        for (url, host) in [
            ("http://order-0.order", "order-0.order"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("http://[::1]:80", "[::1]:80"),
        ] {
            let found = parse_server(url, "http");
            assert_eq!(found.as_ref().map(Authority::as_str), Some(host), "{url}");
        }
        for url in [
            "",
            "order-0",
            "https://order-0",
            "http://",
            "http://:80",
            "http://order-0:x",
            "http://order-0:99999",
            "http://me@order-0",
            "http://order-0/x",
            "http://order-0?a=b",
        ] {
            assert_eq!(parse_server(url, "http"), None, "{url}");
        }
    }
}
