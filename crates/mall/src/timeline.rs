//! The journey of an order as text for people: a line for each step.

use domain::{Accepted, Journey, Partition, Shipped, Timestamp};

use crate::clock::{date, elapsed, time_of_day};
use crate::columns::{align, paragraph, side_by_side};

/// Indentation of the steps, in columns.
const INDENT: usize = 2;
const GAP: usize = 3;

/// The journey in lines of at most 80 columns. The day of `now` is not printed.
pub(crate) fn render(journey: &Journey, now: Timestamp) -> String {
    let (order, accepted) = (&journey.order, &journey.accepted);
    let head = [
        format!("order {}", order.order_id),
        format!("{} (partition {})", accepted.region, accepted.partition),
        format!("money {}", order.money),
        format!("user {}", order.user_id),
    ];
    let mut text = side_by_side(head, GAP, 0, INDENT);

    let steps = steps(journey);
    let mut rows: Vec<Vec<String>> = steps.iter().map(Step::cells).collect();
    align(&mut rows);
    let mut day = date(now);
    for (step, row) in steps.iter().zip(rows) {
        if let Some(new) = step.time.map(date).filter(|new| *new != day) {
            text.push_str(&paragraph(&new, INDENT));
            day = new;
        }
        text.push_str(&side_by_side(row, GAP, INDENT, 2 * INDENT));
    }
    text.push_str(&remark(journey.shipment.as_ref(), accepted.partition, INDENT));
    text
}

/// An event of an order.
struct Step<'a> {
    name: &'static str,
    time: Option<Timestamp>,
    /// The time as it is printed.
    clock: String,
    service: &'a str,
    /// The record that says so, if there is one.
    record: String,
    /// Since the step before it.
    elapsed: String,
}

impl Step<'_> {
    fn cells(&self) -> Vec<String> {
        [self.name, &self.clock, self.service, &self.record, &self.elapsed]
            .map(str::to_owned)
            .into()
    }
}

fn steps(journey: &Journey) -> Vec<Step<'_>> {
    let Journey { order, accepted, .. } = journey;
    let received = Timestamp::from_unix_millis(order.time.saturating_mul(1000));
    let mut steps = vec![
        Step {
            name: "accepted",
            time: Some(received),
            // The gateway's time has no milliseconds. In their place stands what holds for all times.
            clock: format!("{} UTC", &time_of_day(received)[.."hh:mm:ss".len()]),
            service: "gateway",
            record: String::new(),
            elapsed: String::new(),
        },
        Step {
            name: "written",
            time: Some(accepted.time),
            clock: time_of_day(accepted.time),
            service: &accepted.service,
            record: order_record(accepted),
            elapsed: String::new(),
        },
    ];
    let Some(shipped) = &journey.shipment else {
        return steps;
    };
    let mut last = accepted.time;
    let mut step = |name, time: Option<Timestamp>, record| {
        steps.push(Step {
            name,
            time,
            clock: time.map(time_of_day).unwrap_or_default(),
            service: &shipped.service,
            record,
            elapsed: time.map(|time| elapsed(last, time)).unwrap_or_default(),
        });
        last = time.unwrap_or(last);
    };
    if shipped.packed.is_some() {
        step("packed", shipped.packed, String::new());
    }
    step(
        shipped.outcome.name(),
        shipped.time,
        shipment_record(shipped, accepted.partition),
    );
    steps
}

/// The text below a record: the order waits, or the reason why it was not shipped.
fn remark(shipment: Option<&Shipped>, partition: Partition, indent: usize) -> String {
    match shipment {
        None => paragraph(&format!("waits to be shipped by repository-{partition}"), indent),
        Some(Shipped {
            detail: Some(detail), ..
        }) => paragraph(detail.as_str(), indent + INDENT),
        Some(_) => String::new(),
    }
}

fn order_record(accepted: &Accepted) -> String {
    format!("order[{}] offset {}", accepted.partition, accepted.offset)
}

fn shipment_record(shipped: &Shipped, partition: Partition) -> String {
    format!("shipment[{partition}] offset {}", shipped.offset)
}

#[cfg(test)]
mod tests;
