use domain::{Detail, Order, Outcome};

use super::*;

const ID: &str = "1468136426238382080";
/// The time in that id: 2021-12-07T08:32:55.328Z.
const WRITTEN: u64 = 1_638_865_975_328;

fn at(milliseconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from_unix_millis(WRITTEN + milliseconds))
}

fn today() -> Timestamp {
    Timestamp::from_unix_millis(WRITTEN + 3_600_000)
}

fn accepted(order: &Order, offset: i64) -> Accepted {
    let partition = domain::Replicas::THREE.parse_partition("0").expect("a partition");
    Accepted::new(order, partition, offset)
}

fn shipped(outcome: Outcome, offset: i64) -> Shipped {
    Shipped {
        outcome,
        offset,
        service: "repository-0".to_owned(),
        duplicate_of: None,
        detail: None,
        packed: None,
        time: None,
    }
}

fn journey(shipment: Option<Shipped>) -> Journey {
    let record = format!(r#"{{"money":81,"order_id":"{ID}","time":1638865974,"user_id":"42"}}"#);
    let order = Order::from_record(record.as_bytes()).expect("an order");
    Journey {
        accepted: accepted(&order, 12),
        order,
        shipment,
    }
}

fn done(packed: u64, time: u64) -> Option<Shipped> {
    Some(Shipped {
        packed: at(packed),
        time: at(time),
        ..shipped(Outcome::Shipped, 14)
    })
}

fn assert_renders(journey: &Journey, expected: &[&str]) {
    let text = render(journey, today());
    assert_eq!(text.lines().collect::<Vec<_>>(), expected, "\n{text}");
}

#[test]
fn an_order_that_was_shipped_has_four_steps() {
    assert_renders(
        &journey(done(14, 18)),
        &[
            "order 1468136426238382080   陕北 (partition 0)   money 81   user 42",
            "  accepted   08:32:54 UTC   gateway",
            "  written    08:32:55.328   order-0        order[0] offset 12",
            "  packed     08:32:55.342   repository-0                           +14 ms",
            "  shipped    08:32:55.346   repository-0   shipment[0] offset 14   +4 ms",
        ],
    );
}

#[test]
fn an_order_without_an_outcome_waits() {
    assert_renders(
        &journey(None),
        &[
            "order 1468136426238382080   陕北 (partition 0)   money 81   user 42",
            "  accepted   08:32:54 UTC   gateway",
            "  written    08:32:55.328   order-0   order[0] offset 12",
            "  waits to be shipped by repository-0",
        ],
    );
}

#[test]
fn an_order_that_was_not_shipped_says_why() {
    let detail = "the record came so late that the order may have been shipped before";
    let rejected = Shipped {
        detail: Some(Detail::new(detail)),
        ..shipped(Outcome::Rejected, 14)
    };
    assert_renders(
        &journey(Some(rejected)),
        &[
            "order 1468136426238382080   陕北 (partition 0)   money 81   user 42",
            "  accepted   08:32:54 UTC   gateway",
            "  written    08:32:55.328   order-0        order[0] offset 12",
            "  rejected                  repository-0   shipment[0] offset 14",
            "    the record came so late that the order may have been shipped before",
        ],
    );
}

#[test]
fn a_day_that_is_not_today_is_printed_above_its_steps() {
    let text = render(&journey(done(14, 86_400_000)), at(86_400_000).expect("a time"));
    let lines: Vec<&str> = text.lines().skip(1).map(|line| &line[..line.len().min(12)]).collect();
    let expected = [
        "  2021-12-07",
        "  accepted  ",
        "  written   ",
        "  packed    ",
        "  2021-12-08",
        "  shipped   ",
    ];
    assert_eq!(lines, expected);
    assert!(text.ends_with("+23 h 59 min\n"), "{text}");
}

#[test]
fn the_largest_journey_fits_into_80_columns() {
    let mut journey = journey(done(u64::MAX / 2, u64::MAX / 2));
    journey.order.time = u64::MAX;
    journey.order.money = domain::Money::try_from(1_000_000).expect("money");
    journey.order.user_id = "9".repeat(19).parse().expect("a user");
    journey.accepted.region = "商".repeat(60);
    journey.accepted.service = "order-".repeat(30);
    journey.accepted.offset = i64::MAX;
    journey.shipment.as_mut().expect("shipped").detail = Some(Detail::new("…".repeat(300)));
    let text = render(&journey, today());
    for line in text.lines() {
        let width = unicode_width::UnicodeWidthStr::width(line);
        assert!(width <= 80, "{width}: {line}");
    }
}
