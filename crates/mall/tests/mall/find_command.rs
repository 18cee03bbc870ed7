//! `mall find ID`: what it prints of what a gateway answers.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rstest::rstest;

use crate::support::NOWHERE;

const ID: &str = "1468136426238382080";
/// The most that the command may take: 3 s for the gateway, and some for a busy machine.
const LIMIT: Duration = Duration::from_secs(6);

/// A server that gives one reply, byte for byte. Its handle returns the head of the request.
fn gateway(reply: String) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let handle = thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut head = String::new();
        let mut reader = BufReader::new(connection.try_clone().expect("a socket"));
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).expect("a head") > 0 {}
        connection.write_all(reply.as_bytes()).expect("sent");
        head
    });
    (address, handle)
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn journey() -> String {
    let order = format!(r#"{{"money":81,"order_id":"{ID}","time":1638865974,"user_id":"42"}}"#);
    format!(
        concat!(
            r#"{{"order":{order},"accepted":{{"partition":0,"offset":12,"region":"陕北","service":"order-0","#,
            r#""time":"2021-12-07T08:32:55.328Z"}},"shipment":{{"outcome":"shipped","offset":14,"#,
            r#""service":"repository-0","packed":"2021-12-07T08:32:55.342Z","time":"2021-12-07T08:32:55.346Z"}}}}"#
        ),
        order = order
    )
}

/// Runs `mall` to its end: its exit code, and what it has printed to stdout and to stderr, with single spaces.
fn mall(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("mall"))
        .env_clear()
        .args(arguments)
        .timeout(LIMIT)
        .output()
        .expect("it runs");
    let words = |bytes| {
        let text = String::from_utf8(bytes).expect("UTF-8");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    (output.status.code(), words(output.stdout), words(output.stderr))
}

/// Asks the gateway that listens there, in vain: what is said of it.
fn fail_to_find(gateway: impl Display) -> String {
    let (code, printed, error) = mall(&["find", ID, "--gateway", &format!("http://{gateway}")]);
    assert_eq!((code, printed.as_str()), (Some(1), ""), "{error}");
    error
}

#[test]
fn an_order_that_is_found_is_printed_as_a_timeline() {
    let (address, request) = gateway(http("200 OK", &journey()));
    let (code, printed, error) = mall(&["find", ID, "--gateway", &format!("http://{address}")]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let expected = "order 1468136426238382080 陕北 (partition 0) money 81 user 42 \
        2021-12-07 accepted 08:32:54 UTC gateway written 08:32:55.328 order-0 order[0] offset 12 \
        packed 08:32:55.342 repository-0 +14 ms shipped 08:32:55.346 repository-0 shipment[0] offset 14 +4 ms";
    assert_eq!(printed, expected);
    let request = request.join().expect("a request");
    assert!(request.starts_with(&format!("GET /orders/{ID} HTTP/1.")), "{request}");
}

#[rstest]
#[case::unknown("404 Not Found", 404, "there is no order 1468136426238382080: the reason")]
#[case::unreadable("503 Service Unavailable", 503, "could not find out (status 503): the reason")]
#[case::late("504 Gateway Timeout", 504, "could not find out (status 504): the reason")]
#[case::refused("400 Bad Request", 400, "refused the request (status 400): the reason")]
#[test]
fn a_problem_is_told_in_the_words_of_the_gateway(#[case] line: &str, #[case] status: u16, #[case] expected: &str) {
    let body = format!(r#"{{"type":"about:blank","title":"x","status":{status},"detail":"the reason"}}"#);
    let (address, _request) = gateway(http(line, &body));
    let error = fail_to_find(address);
    assert!(error.contains(expected), "{error}");
}

#[rstest]
#[case::a_page(http("200 OK", "<html>"), "found status 200 and \"<html>\"")]
#[case::another_order(http("200 OK", &journey().replace(ID, "7")), "expected the journey of order 1468136426238382080")]
#[case::a_page_that_is_missing(http("404 Not Found", "<html>"), "found status 404 and \"<html>\"")]
#[case::half_of_it(http("200 OK", &journey()[..200]), "found status 200 and")]
#[case::no_http("SSH-2.0-OpenSSH_9.6\r\n".to_owned(), "does not answer at http://127.0.0.1:")]
#[case::nothing(String::new(), "connection closed before message completed")]
#[test]
fn rubbish_is_told_with_what_was_expected(#[case] reply: String, #[case] expected: &str) {
    let (address, _request) = gateway(reply);
    let error = fail_to_find(address);
    assert!(error.contains(expected), "{error}");
}

#[test]
fn where_nobody_listens_it_says_so_and_what_to_do() {
    let error = fail_to_find(NOWHERE);
    assert!(
        error.contains("the gateway does not answer at http://127.0.0.1:1: nothing listens on 127.0.0.1:1"),
        "{error}"
    );
    assert!(error.contains("Is the mall open?"), "{error}");
}

#[test]
fn a_gateway_that_does_not_answer_is_left_after_three_seconds() {
    // It accepts connections, in its backlog, and reads nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let error = fail_to_find(silent.local_addr().expect("an address"));
    assert!(error.contains(": no answer within 3 s Is the mall open?"), "{error}");
}

#[rstest]
#[case::no_id(&["find", "0815"], "expected an order id")]
#[case::no_url(&["find", "1", "--gateway", "localhost:8080"], "expected http://HOST")]
#[case::nothing(&["find", ""], "expected an order id")]
#[case::an_id_for_a_service(&["order", "1"], "unexpected argument")]
#[case::a_url_for_a_service(&["order", "--gateway", "http://localhost"], "unexpected argument")]
#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error(#[case] arguments: &[&str], #[case] expected: &str) {
    let (code, _, error) = mall(arguments);
    assert_eq!(code, Some(64), "{error}");
    assert!(error.contains(expected), "{error}");
}
