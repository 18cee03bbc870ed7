use super::*;

const ORDER: Topic = Topic {
    name: "order",
    partitions: 3,
    cleanup: Cleanup::Delete,
};
const STATISTICS: Topic = Topic {
    name: "statistics",
    cleanup: Cleanup::Compact,
    ..ORDER
};
const KEEP: Options = Options {
    grow: false,
    tolerate_advice: false,
};

/// Compares a topic that has the expected settings, except for one.
fn differences(topic: &Topic, options: Options, partitions: i32, replicas: usize, setting: &str) -> Vec<Difference> {
    let config = Config {
        replication_factor: 3,
        min_insync_replicas: 2,
        ..Config::default()
    };
    let partition = Partition {
        has_leader: true,
        replicas,
    };
    let expected = [
        "min.insync.replicas=2",
        "unclean.leader.election.enable=false",
        "cleanup.policy=delete",
        "retention.ms=-1",
        "retention.bytes=-1",
    ];
    let settings = expected.into_iter().chain([setting]);
    let settings = settings.filter_map(|setting| setting.split_once('='));
    super::differences(
        "shop-order",
        topic,
        &config,
        options,
        &(0..partitions).map(|number| (number, partition.clone())).collect(),
        &settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

#[test]
fn a_topic_with_the_expected_or_stronger_properties_has_no_difference() {
    for setting in ["", "min.insync.replicas=3"] {
        assert_eq!(differences(&ORDER, KEEP, 3, 4, setting), [], "{setting}");
    }
}

#[test]
fn a_difference_is_one_sentence() {
    let [difference] = &differences(&ORDER, KEEP, 3, 3, "retention.ms=604800000")[..] else {
        panic!("expected one difference")
    };
    assert_eq!(
        difference.to_string(),
        "topic \"shop-order\": expected retention.ms = -1, found 604800000: Kafka deletes the oldest records, whether \
         they are shipped and counted or not"
    );
}

#[test]
fn only_missing_partitions_and_the_wrong_cleanup_policy_are_errors() {
    for (partitions, replicas, setting, expected, severity) in [
        (3, 3, "retention.ms=604800000", "retention.ms = -1", Advice),
        (3, 3, "retention.bytes=1073741824", "retention.bytes = -1", Advice),
        (3, 2, "", "replication.factor >= 3", Advice),
        (3, 3, "min.insync.replicas=1", "min.insync.replicas >= 2", Advice),
        (
            3,
            3,
            "unclean.leader.election.enable=true",
            "unclean.leader.election.enable = false",
            Advice,
        ),
        (5, 3, "", "partitions <= 3", Advice),
        (2, 3, "", "partitions >= 3", Error),
        (3, 3, "cleanup.policy=compact,delete", "cleanup.policy = delete", Error),
    ] {
        let found = differences(&ORDER, KEEP, partitions, replicas, setting);
        let found: Vec<_> = found.iter().map(|found| (&*found.expected, found.severity)).collect();
        assert_eq!(found, [(expected, severity)]);
    }
}

#[test]
fn missing_partitions_are_no_difference_where_they_may_be_added() {
    let options = Options { grow: true, ..KEEP };
    assert_eq!(differences(&ORDER, options, 2, 3, ""), []);
}

#[test]
fn a_compacted_topic_may_have_a_retention() {
    let found = differences(&STATISTICS, KEEP, 3, 3, "retention.ms=604800000");
    let found: Vec<_> = found.iter().map(|found| &*found.expected).collect();
    assert_eq!(found, ["cleanup.policy = compact"], "its policy is delete here");
}
