//! What a real broker makes of transactions that take long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kafka::{Record, TransactionError, TransactionalProducer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::support::{create_topics, eventually, read, real_kafka};

/// A value that fills a request, so that it is sent before the next record is asked for.
static VALUE: [u8; 40_000] = [b' '; 40_000];
/// The key of EndTxn in Kafka's protocol.
const END_TXN: [u8; 2] = [0, 26];
/// Longer than the broker's timeout of a transaction (15 s), and its interval of looking for such transactions (10 s).
const TIMED_OUT: Duration = Duration::from_secs(27);

fn open(kafka: &kafka::Config) -> TransactionalProducer {
    let stop = CancellationToken::new();
    TransactionalProducer::open(kafka, "test", "test", "shipment", &stop, |_| {}).expect("a producer")
}

/// Writes two records in one transaction, and does something between the two.
fn write_two(producer: &TransactionalProducer, between: impl Fn()) -> Result<i64, TransactionError> {
    producer.write((0..2).map(|index| {
        if index == 1 {
            between();
        }
        record()
    }))
}

fn record() -> Record<'static> {
    Record {
        partition: 0,
        key: None,
        value: &VALUE,
        timestamp: 1_790_000_000_000,
        headers: &[],
    }
}

/// Waits for this many records, and returns how many there are. The broker answers a commit before readers see its records.
async fn committed_records(kafka: &kafka::Config, least: usize) -> usize {
    let mut found = 0;
    eventually("the records are committed", async || {
        found = read(kafka, "shipment", 0).await.len();
        found >= least
    })
    .await;
    found
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_transaction_that_the_broker_timed_out_is_told_from_another_process() {
    let kafka = real_kafka();
    create_topics(&kafka, 1).await;
    let config = kafka.clone();
    let write = move || {
        let outcome = write_two(&open(&config), || thread::sleep(TIMED_OUT));
        assert!(matches!(outcome, Err(TransactionError::TimedOut(_))), "{outcome:?}");

        let (first, second) = (open(&config), open(&config));
        let outcome = first.write([record()]);
        assert!(matches!(outcome, Err(TransactionError::Fenced(_))), "{outcome:?}");
        second.write([record()]).expect("committed");
    };
    spawn_blocking(write).await.expect("no panic");
    assert_eq!(committed_records(&kafka, 1).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_commit_that_reaches_the_broker_late_commits_no_part_of_a_later_batch() {
    let kafka = real_kafka();
    create_topics(&kafka, 1).await;
    let relay = Relay::start(&kafka.bootstrap_servers).await;
    let mut config = kafka.clone();
    config.bootstrap_servers.clone_from(&relay.address);
    let write = move || {
        let producer = open(&config);
        // Its first request to commit stays in the relay. librdkafka sends another one after five seconds.
        let producer = match producer.write([record()]) {
            Ok(_) => producer,
            Err(TransactionError::Failed(_)) => open(&config),
            Err(error) => panic!("{error}"),
        };
        let late = || {
            relay.release.notify_one();
            thread::sleep(Duration::from_secs(1));
        };
        write_two(&producer, late).expect("committed")
    };
    spawn_blocking(write).await.expect("no panic");
    // The first batch is in the log or was aborted; the second is there as a whole.
    assert!(matches!(committed_records(&kafka, 2).await, 2 | 3));
}

/// Stands in for the broker, and keeps the first EndTxn back.
struct Relay {
    address: String,
    release: Arc<Notify>,
}

impl Relay {
    async fn start(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (host, port) = broker.rsplit_once(':').expect("host:port");
        let own_port = listener.local_addr().expect("an address").port();
        let port = port.parse().expect("a port");
        let advertised = [port, own_port].map(|port| [host.as_bytes(), &u32::from(port).to_be_bytes()].concat());
        let release = Arc::new(Notify::new());
        let (delayed, broker) = (
            Arc::new(AtomicBool::new(false)),
            SocketAddr::from(([127, 0, 0, 1], port)),
        );
        let notified = Arc::clone(&release);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, to_client) = client.into_split();
                let (from_broker, to_broker) = TcpStream::connect(broker).await.expect("a broker").into_split();
                tokio::spawn(pass_requests(
                    from_client,
                    to_broker,
                    Arc::clone(&delayed),
                    Arc::clone(&notified),
                ));
                tokio::spawn(pass_answers(from_broker, to_client, advertised.clone()));
            }
        });
        Self {
            address: format!("{host}:{own_port}"),
            release,
        }
    }
}

/// Passes requests on. The first EndTxn waits for `release`, also when its client has gone.
async fn pass_requests(
    mut client: OwnedReadHalf,
    mut broker: OwnedWriteHalf,
    delayed: Arc<AtomicBool>,
    release: Arc<Notify>,
) -> std::io::Result<()> {
    loop {
        let frame = read_frame(&mut client).await?;
        if frame[4..].starts_with(&END_TXN) && !delayed.swap(true, Ordering::Relaxed) {
            release.notified().await;
        }
        broker.write_all(&frame).await?;
    }
}

/// Passes answers on, with the address of the relay in place of the one that the broker advertises.
async fn pass_answers(
    mut broker: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    [advertised, own]: [Vec<u8>; 2],
) -> std::io::Result<()> {
    loop {
        let mut frame = read_frame(&mut broker).await?;
        for start in 0..frame.len().saturating_sub(own.len() - 1) {
            if frame[start..].starts_with(&advertised) {
                frame[start..start + own.len()].copy_from_slice(&own);
            }
        }
        client.write_all(&frame).await?;
    }
}

/// Reads a request or an answer with its length.
async fn read_frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + length as usize, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}
