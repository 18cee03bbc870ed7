//! `mall find`: asks the gateway for an order, and prints the answer as a timeline.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use domain::{Journey, OrderId, Timestamp};
use lab::ServiceUrl;
use serde::Deserialize;

use crate::columns::paragraph;
use crate::get::get;
use crate::timeline;

/// The gateway answers within 2 s, or says that it could not.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Indentation of the advice below an error, in columns.
const INDENT: usize = 2;
/// The start of an unexpected reply that is shown, enough to recognise it.
const MAX_QUOTED_CHARS: usize = 60;

pub(crate) fn run(order_id: OrderId, gateway: &ServiceUrl) -> ExitCode {
    // A failed write means that the reader has gone.
    match find(order_id, gateway) {
        Ok(journey) => {
            let _ = write!(std::io::stdout(), "{}", timeline::render(&journey, Timestamp::now()));
            ExitCode::SUCCESS
        }
        Err(Failure { what, next }) => {
            let (what, next) = (paragraph(&format!("mall: {what}"), 0), paragraph(next, INDENT));
            let _ = write!(std::io::stderr(), "{what}{next}");
            ExitCode::FAILURE
        }
    }
}

/// Why there is no journey, and what to do about it.
struct Failure {
    what: String,
    next: &'static str,
}

/// The part of an error reply that is for people.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

fn find(order_id: OrderId, gateway: &ServiceUrl) -> Result<Journey, Failure> {
    let reply = get(gateway.authority(), &format!("/orders/{order_id}"), TIMEOUT).map_err(|error| Failure {
        what: format!("the gateway does not answer at {gateway}: {error:#}"),
        next: "Is the mall open? `just up` opens it, or `cargo run`; --gateway names another address.",
    })?;
    let (status, body) = (reply.status().as_u16(), &reply.into_body()[..]);
    if status == 200 {
        let journey = serde_json::from_slice::<Journey>(body).ok();
        if let Some(journey) = journey.filter(|journey| journey.order.order_id == order_id) {
            return Ok(journey);
        }
    } else if let Ok(Problem { detail }) = serde_json::from_slice(body) {
        return Err(match status {
            404 => Failure {
                what: format!("there is no order {order_id}: {detail}"),
                next: "An id is the order_id of an answer to POST /submit-order. A mall that was closed forgets its orders.",
            },
            500.. => Failure {
                what: format!("the gateway could not find out (status {status}): {detail}"),
                next: "Try again in some seconds; `just status` says what is not ready.",
            },
            _ => Failure {
                what: format!("the gateway refused the request (status {status}): {detail}"),
                next: "Is this program of the same version as the mall?",
            },
        });
    }
    let start: String = String::from_utf8_lossy(body).chars().take(MAX_QUOTED_CHARS).collect();
    Err(Failure {
        what: format!("expected the journey of order {order_id} from {gateway}, found status {status} and {start:?}"),
        next: "Is it a gateway of the mall that answers there? --gateway names another address.",
    })
}
