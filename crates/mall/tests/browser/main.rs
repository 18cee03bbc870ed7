//! The dashboard in a browser, on the mall of compose.yaml: see `.ci/browser-checks`.

mod driver;
mod page;

use std::time::Duration;

use crate::page::{Page, just, order};

/// An order is seen this soon after its reply.
const FOLLOWS: Duration = Duration::from_secs(1);
/// A service that is away is seen this soon.
const SEEN: Duration = Duration::from_secs(2);
/// A service has started after this.
const RETURN: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "needs the mall of compose.yaml, and chromium"]
async fn figures_follow_orders() {
    let page = Page::open(1280, "light").await;
    for region in [0, 1, 2] {
        let before = page.accepted(region).await;
        let id = order(region).expect("an order");
        let shows = format!("return accepted({region}) === {} && !!row('{id}')", before + 1);
        page.within(FOLLOWS, &shows).await;
        page.within(Duration::from_secs(5), &format!("return row('{id}').includes(' ms')"))
            .await;
        page.run(&format!("button('{id}').click()")).await;
        page.within(Duration::from_secs(5), "return text('#journey').includes('shipment')")
            .await;
    }
    let sums = "return ['accepted', 'shipped', 'lost', 'twice'].map((name) => text(`#sums .${name} dd`)).join()";
    page.within(FOLLOWS, "return text('#sums .waiting dd') === '0'").await;
    let sums = page.run(sums).await.as_str().expect("text").to_owned();
    let parts: Vec<_> = sums.rsplit(',').collect();
    assert_eq!(parts[..2], ["0", "0"], "{sums}");
    page.run("document.activeElement.blur()").await;
    page.keep("well").await;
    page.close().await;
}

#[tokio::test]
#[ignore = "needs the mall of compose.yaml, and chromium"]
async fn who_is_killed_is_away_within_two_seconds_and_then_back() {
    let page = Page::open(1280, "dark").await;
    page.within(RETURN, "return ready('order-1') && ready('repository-1')")
        .await;
    just(&["kill", "order-1"]);
    page.within(
        SEEN,
        "return away('order-1') && text('#headline') === 'order-1 is away.'",
    )
    .await;
    assert!(order(1).is_none(), "its region takes no orders");
    assert!(order(0).is_some(), "the others do");
    page.within(SEEN, "return /takes no orders.*Nothing is lost/.test(text('#meaning'))")
        .await;
    page.keep("order-1-is-away").await;
    just(&["revive", "order-1"]);
    page.within(
        RETURN,
        "return ready('order-1') && text('#headline').startsWith('order-1 is back')",
    )
    .await;
    page.keep("order-1-is-back").await;

    just(&["kill", "repository-1"]);
    page.within(SEEN, "return away('repository-1')").await;
    for _ in 0..5 {
        assert!(order(1).is_some(), "they are taken, and wait");
    }
    page.within(
        FOLLOWS,
        "return text('#sums .waiting dd') === '5' && text('#meaning').includes('5 now')",
    )
    .await;
    page.keep("repository-1-is-away").await;
    just(&["revive", "repository-1"]);
    page.within(
        RETURN,
        "return ready('repository-1') && text('#sums .waiting dd') === '0'",
    )
    .await;
    page.close().await;
}

#[tokio::test]
#[ignore = "needs the mall of compose.yaml, and chromium"]
async fn a_connection_that_is_cut_is_said_and_comes_back_with_the_right_figures() {
    let page = Page::open(1280, "light").await;
    page.run("document.untouched = true").await;
    let before = page.accepted(2).await;
    just(&["kill", "statistics"]);
    page.within(SEEN, "return text('#headline') === 'Statistics is out of reach.'")
        .await;
    page.keep("connection-lost").await;
    for _ in 0..3 {
        assert!(order(2).is_some(), "nobody needs statistics");
    }
    just(&["revive", "statistics"]);
    let right = format!(
        "return accepted(2) === {} && document.untouched && !text('#headline').includes('reach')",
        before + 3
    );
    page.within(RETURN, &right).await;
    page.close_without_console().await;
}

#[tokio::test]
#[ignore = "needs the mall of compose.yaml, chromium, and axe-core in MALL_TEST_AXE"]
async fn the_page_fits_every_screen_and_everybody_can_use_it() {
    let page = Page::open(1280, "light").await;
    let axe = std::env::var("MALL_TEST_AXE").expect("MALL_TEST_AXE, the path of axe.min.js");
    let axe = std::fs::read_to_string(axe).expect("axe-core");
    page.run(&axe).await;
    page.run("document.querySelector('#table').open = true").await;
    for (width, scheme) in [
        (360, "light"),
        (360, "dark"),
        (1280, "light"),
        (1280, "dark"),
        (2560, "light"),
        (2560, "dark"),
    ] {
        page.look(width, scheme).await;
        let fits = "return document.documentElement.scrollWidth <= innerWidth";
        page.within(SEEN, fits).await;
        let found = "return axe.run().then((found) => found.violations.map((one) => \
                     `${one.id}: ${one.nodes.map((node) => node.html).join(' ')}`))";
        assert_eq!(page.run(found).await, serde_json::json!([]), "{width} pixels, {scheme}");
        page.keep(&format!("{width}-{scheme}")).await;
    }
    page.close().await;
}

/// The picture of the README.
#[tokio::test]
#[ignore = "writes a picture: .ci/browser-checks picture"]
async fn the_picture() {
    let page = Page::open(1280, "light").await;
    let load = async |rounds: u32| {
        let mut beat = tokio::time::interval(Duration::from_millis(150));
        for round in 0..rounds {
            beat.tick().await;
            // Some regions order more than others.
            let region = [0, 1, 1, 2, 1, 2, 0][round as usize % 7];
            tokio::task::spawn_blocking(move || order(region))
                .await
                .expect("no panic");
        }
    };
    load(300).await;
    just(&["kill", "repository-1"]);
    load(120).await;
    page.within(SEEN, "return away('repository-1')").await;
    page.keep("picture").await;
    just(&["revive", "repository-1"]);
    page.close().await;
}
