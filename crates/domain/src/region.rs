//! The business areas of the province.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::Partition;

/// The province's own regions, by partition.
const NAMES: [&str; 3] = ["陕北", "关中", "陕南"];

/// The business area that a partition stands for. It displays as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region(Partition);

impl From<Partition> for Region {
    fn from(partition: Partition) -> Self {
        Self(partition)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(self.0.index()) {
            Some(name) => formatter.pad(name),
            // Regions beyond those of the province are named by their number.
            None => formatter.pad(&format!("region-{}", self.0)),
        }
    }
}

impl Serialize for Region {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Region, Replicas};

    #[test]
    fn the_three_regions_have_names_and_later_ones_numbers() {
        let replicas = Replicas::try_from(5).expect("five replicas");
        let names: Vec<_> = replicas
            .partitions()
            .map(|partition| Region::from(partition).to_string())
            .collect();
        assert_eq!(names, ["陕北", "关中", "陕南", "region-3", "region-4"]);
    }
}
