//! With paused time, and a repository at the other end of a pipe.

use poem::http::uri::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::*;

/// Batches that have a connection already; a new one is not to be had, because the resolver hangs.
async fn remembered() -> (RememberedOrders, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let address = Address::of_hanging_resolver(Authority::from_static("repository-1.repository"));
    let (remembered, mut batches) = QuestionBatches::new(address);
    let mut connection = Connection::new(ours).await.expect("a connection");
    assert!(connection.is_usable().await);
    batches.idle = Some(connection);
    // It ends when the sender is dropped.
    tokio::spawn(batches.run());
    (remembered, theirs)
}

fn id(number: u64) -> OrderId {
    number.to_string().parse().expect("an id")
}

/// The path that the next request asks for.
async fn asked(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    let head = String::from_utf8(head).expect("text");
    head.split(' ').nth(1).expect("a path").to_owned()
}

async fn answer(stream: &mut DuplexStream, body: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.expect("written");
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_while_a_request_is_under_way_goes_into_the_next() {
    let (remembered, mut repository) = remembered().await;
    let questions = async { tokio::join!(remembered.find(id(1)), later(&remembered, 2), later(&remembered, 3)) };
    let answers = async {
        assert_eq!(asked(&mut repository).await, "/orders?ids=1");
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer(&mut repository, r#"[{"shipped":{"order":1}}]"#).await;
        assert_eq!(asked(&mut repository).await, "/orders?ids=2,3");
        answer(&mut repository, r#"["not_there","nothing"]"#).await;
    };
    let (known, ()) = tokio::join!(questions, answers);
    let first = Known::Shipped(Bytes::from_static(br#"{"order":1}"#));
    assert_eq!(known, (first, Known::NotThere, Known::Nothing));
}

/// A question that comes as many milliseconds later as the number of its order.
async fn later(remembered: &RememberedOrders, number: u64) -> Known<Bytes> {
    tokio::time::sleep(Duration::from_millis(number)).await;
    remembered.find(id(number)).await
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_nothing_is_known_and_the_connection_is_given_up() {
    let (remembered, mut repository) = remembered().await;
    let begun = Instant::now();
    assert_eq!(remembered.find(id(1)).await, Known::Nothing);
    assert_eq!(begun.elapsed(), DEADLINE);
    let mut rest = Vec::new();
    // It ends: the connection was closed.
    repository.read_to_end(&mut rest).await.expect("the request");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_to_the_question_says_nothing_at_once() {
    for body in ["", "{}", "[]", r#"["not_there","not_there"]"#, r#"["elsewhere"]"#] {
        let (remembered, mut repository) = remembered().await;
        let begun = Instant::now();
        let repository = async {
            asked(&mut repository).await;
            answer(&mut repository, body).await;
        };
        let (known, ()) = tokio::join!(remembered.find(id(1)), repository);
        assert_eq!((known, begun.elapsed()), (Known::Nothing, Duration::ZERO), "{body}");
    }
}
