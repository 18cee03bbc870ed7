//! A second container that loses answers of Kafka: its connections go through a relay that breaks them when an answer
//! comes. What the broker has written already is then sent again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use bollard::models::{ContainerCreateBody, HostConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::engine::{Container, Engine, networks};
use super::twin::name_of_relay;

/// The name and port of the broker for services, see compose.yaml.
const BROKER: &str = "kafka";
const PORT: u16 = 19092;
/// A connection is broken at the first answer after this: long enough for some orders, short enough that a fault breaks
/// dozens.
const LIFETIME: Duration = Duration::from_millis(250);
/// A broker of the same machine accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The most bytes of an answer that are passed on at once.
const BUFFER_BYTES: usize = 1 << 16;

impl Engine {
    /// Starts a second container like this one in which the broker's name means localhost, and a relay in its network
    /// namespace that listens there.
    pub(crate) async fn lossy_twin(&self, container: &Container) -> anyhow::Result<()> {
        let broker = self.container(BROKER).await?;
        let broker = self.docker().inspect_container(&broker.id, None).await?;
        let mut addresses = networks(&broker)
            .into_iter()
            .flatten()
            .map(|(_, found)| &found.ip_address);
        let address: Option<IpAddr> = addresses.find_map(|address| address.as_ref()?.parse().ok());
        let address = SocketAddr::new(address.context("expected an address of Kafka, found none")?, PORT);
        let name = self.name_of_twin(&container.service);
        let mut twin = self.body_of_twin(container).await?;
        if let Some(host) = &mut twin.host_config {
            host.extra_hosts = Some(vec![format!("{BROKER}:{}", Ipv4Addr::LOCALHOST)]);
        }
        let relay = ContainerCreateBody {
            image: twin.image.clone(),
            cmd: Some(["drill", "relay", &address.to_string()].map(str::to_owned).to_vec()),
            labels: Some(self.labels(&[])),
            host_config: Some(HostConfig {
                network_mode: Some(format!("container:{name}")),
                cap_drop: Some(vec!["ALL".to_owned()]),
                readonly_rootfs: Some(true),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        self.create_and_start(&name, twin).await?;
        self.create_and_start(&name_of_relay(&name), relay).await
    }
}

/// Listens where the second container looks for the broker, until it is asked to stop.
pub(super) async fn relay(broker: SocketAddr, stop: &CancellationToken) -> anyhow::Result<()> {
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let listener = TcpListener::bind(own).await;
    let listener = listener.with_context(|| format!("expected to listen on {own}"))?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(connections.spawn(pass(accepted?.0, broker, Instant::now() + LIFETIME))),
            // However one ends, its client makes a new one.
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Passes on what both say, until the broker answers after `end`: that answer is lost, with the connection.
async fn pass(mut client: TcpStream, broker: SocketAddr, end: Instant) -> std::io::Result<()> {
    let mut broker = timeout(CONNECT_TIMEOUT, TcpStream::connect(broker)).await??;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_broker, mut to_broker) = broker.split();
    let answers = async {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let length = from_broker.read(&mut buffer).await?;
            if length == 0 || Instant::now() >= end {
                return Ok(());
            }
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    tokio::select! {
        requests = copy(&mut from_client, &mut to_broker) => requests.map(drop),
        answers = answers => answers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer that the client gets after the broker has answered.
    async fn heard(end: Instant) -> String {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let (relay, broker) = tokio::try_join!(listen(), listen()).expect("two ports");
        let of = |listener: &TcpListener| listener.local_addr().expect("its address");
        let (at_relay, at_broker) = (of(&relay), of(&broker));
        let pass = async { pass(relay.accept().await?.0, at_broker, end).await };
        let ask = async {
            let mut client = TcpStream::connect(at_relay).await?;
            client.write_all(b"?").await?;
            let mut answer = [0];
            let length = client.read(&mut answer).await.unwrap_or(0);
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        };
        let answer = async {
            let mut connection = broker.accept().await?.0;
            assert_eq!(connection.read_u8().await?, b'?', "the broker is asked");
            connection.write_all(b"!").await
        };
        let ((), heard, ()) = tokio::try_join!(pass, ask, answer).expect("connections");
        heard
    }

    #[tokio::test]
    async fn answers_are_passed_on_until_the_end_and_then_lost() {
        assert_eq!(heard(Instant::now() + Duration::from_secs(60)).await, "!");
        assert_eq!(heard(Instant::now()).await, "");
    }
}
