//! A process whose output nobody reads.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use crate::support::{Child, Client, Load, PATIENCE, eventually};

/// Between two looks at how many lines were dropped.
const POLL: Duration = Duration::from_millis(10);

#[tokio::test]
async fn a_mall_whose_log_nobody_reads_goes_on_and_says_later_how_many_lines_are_missing() {
    let settings = [
        ("MALL_EMBEDDED__GATEWAY_LISTEN", "127.0.0.1:0"),
        ("MALL_EMBEDDED__STATISTICS_LISTEN", "127.0.0.1:0"),
    ];
    let mall = Child::start(&[], &settings);
    let gateway = mall.ready("gateway").await;
    let unread = mall.stop_reading().await;
    let (load, client) = (Load::to_gateway(gateway, 16, 3), Client::new());
    let dropped = async || {
        let metrics = client.get(gateway, "/metrics").await.text;
        metrics.contains("mall_log_dropped_lines_total ") && !metrics.contains("mall_log_dropped_lines_total 0\n")
    };
    let goes_on = async {
        while !dropped().await {
            tokio::time::sleep(POLL).await;
        }
        assert_eq!(client.get(gateway, "/live").await.status, StatusCode::OK);
        for partition in 0..3 {
            assert_eq!(client.order(gateway, partition).await.status, StatusCode::OK);
        }
    };
    // Without a limit, a mall that stands still would hold up the test instead of failing it. It takes a thousand orders
    // until lines are dropped.
    timeout(4 * PATIENCE, goes_on).await.expect("answers");
    load.stop().await;
    drop(unread);
    eventually("the log says how many", async || {
        mall.printed().contains("dropped lines of the log: stdout was not read")
    })
    .await;
}
