//! Whether a repository is where its outcomes say.

use super::{Bounds, ORDER, PartitionCheck, SHIPMENT};
use crate::audit::findings::Place;
use crate::audit::invariant::Invariant::I9;

impl PartitionCheck<'_> {
    /// Group `repository` commits what its outcomes cover, after they are in the log.
    pub(super) fn check_committed(&mut self) {
        let Bounds {
            partition,
            order,
            committed,
            ..
        } = self.bounds;
        let Some(offset) = committed else {
            let remark = format!("{ORDER}[{partition}]: group repository has committed nothing");
            self.findings.remark(I9, remark);
            return;
        };
        self.findings.checked(I9, 1);
        let covered = self.state.last_outcome.map(|last| last + 1);
        let place = Place::record(ORDER, partition, offset, None);
        match covered {
            Some(covered) if offset > covered => self.findings.offence(I9, place, || {
                format!(
                    "group repository has committed this offset, expected at most {covered}, after its last outcome"
                )
            }),
            Some(_) => {}
            None if offset > order.high => self.findings.offence(I9, place, || {
                format!(
                    "group repository has committed this offset, expected at most {}, the end of the log",
                    order.high
                )
            }),
            None if self.bounds.shipment.low > 0 => self.findings.not_checked(
                I9,
                format!("{SHIPMENT}[{partition}]: retention has removed all outcomes"),
            ),
            None if offset > order.low => self.findings.offence(I9, place, || {
                "group repository has committed this offset, and there are no outcomes".to_owned()
            }),
            None => {}
        }
    }
}
