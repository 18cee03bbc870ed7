use std::convert::Infallible;
use std::time::Duration;

use super::*;

const TOPIC: Topic = Topic {
    name: "order",
    partitions: 3,
    cleanup: Cleanup::Delete,
};

fn config(accept: &str) -> Config {
    Config {
        replication_factor: 3,
        min_insync_replicas: 2,
        wait: Duration::ZERO,
        accept: accept.parse().expect("what can be accepted"),
    }
}

fn found(partitions: i32, copies: i32) -> Found {
    let partition = |number: i32| Partition {
        has_leader: true,
        replicas: (0..copies).map(|copy| 1 + (number + copy) % 3).collect(),
    };
    Found {
        partitions: (0..partitions).map(|number| (number, partition(number))).collect(),
        brokers: vec![1, 2, 3],
    }
}

fn good(setting: &str) -> String {
    let value = match setting {
        "cleanup.policy" => "delete",
        "min.insync.replicas" => "2",
        "unclean.leader.election.enable" => "false",
        _ => "-1",
    };
    value.to_owned()
}

/// What differs in a topic that is good but for one setting.
fn deviations(topic: &Topic, config: &Config, found: &Found, setting: &str, value: &str) -> Vec<String> {
    let expectations = Expectations {
        topic,
        name: "shop-order",
        config,
        growth: Growth::Refused,
        servers: "kafka:19092",
    };
    let value_of = |name: &str| Ok(if name == setting { value.to_owned() } else { good(name) });
    let Ok::<_, Infallible>(deviations) = expectations.deviations(found, value_of);
    deviations.iter().map(ToString::to_string).collect()
}

#[test]
fn a_topic_as_it_should_be_or_better_has_no_deviation() {
    let none: [&str; 0] = [];
    assert_eq!(
        deviations(&TOPIC, &config(""), &found(3, 3), "min.insync.replicas", "3"),
        none
    );
    let single = Config {
        replication_factor: 1,
        min_insync_replicas: 1,
        ..config("")
    };
    assert_eq!(deviations(&TOPIC, &single, &found(3, 3), "", ""), none);
}

#[test]
fn a_setting_that_carries_a_promise_is_named_with_the_command_that_mends_it() {
    for (setting, value, expected) in [
        ("retention.ms", "604800000", "retention.ms=-1"),
        ("retention.bytes", "1073741824", "retention.bytes=-1"),
        ("min.insync.replicas", "1", "min.insync.replicas=2 or more"),
        (
            "unclean.leader.election.enable",
            "true",
            "unclean.leader.election.enable=false",
        ),
    ] {
        let said = deviations(&TOPIC, &config(""), &found(3, 3), setting, value);
        let command = format!(
            "kafka-configs --bootstrap-server kafka:19092 --alter --entity-type topics --entity-name shop-order --add-config {setting}={}",
            good(setting)
        );
        let text = format!(
            "topic \"shop-order\": expected {expected}, found {value}: set it: {command}; or accept it: mall topics \
             --accept {setting}={value} (MALL_TOPICS__ACCEPT)"
        );
        assert_eq!(said, [text]);
        let accepted = config(&format!("{setting}={value}"));
        assert!(
            deviations(&TOPIC, &accepted, &found(3, 3), setting, value).is_empty(),
            "{setting}"
        );
    }
}

#[test]
fn another_value_than_the_accepted_one_is_still_a_deviation() {
    let said = deviations(
        &TOPIC,
        &config("retention.ms=604800000"),
        &found(3, 3),
        "retention.ms",
        "3600000",
    );
    assert!(said[0].contains("found 3600000"), "{said:?}");
}

#[test]
fn a_policy_that_loses_records_cannot_be_accepted_and_a_compacted_topic_may_have_a_retention() {
    let said = deviations(&TOPIC, &config(""), &found(3, 3), "cleanup.policy", "compact,delete");
    assert!(
        said[0].contains("expected cleanup.policy=delete, found compact,delete"),
        "{said:?}"
    );
    assert!(!said[0].contains("accept"), "{said:?}");
    let compacted = Topic {
        cleanup: Cleanup::Compact,
        ..TOPIC
    };
    let said = deviations(&compacted, &config(""), &found(3, 3), "cleanup.policy", "compact");
    assert!(said.is_empty(), "{said:?}");
    let said = deviations(&compacted, &config(""), &found(3, 3), "retention.ms", "604800000");
    assert_eq!(said.len(), 1, "only its policy, which is delete here: {said:?}");
}

#[test]
fn missing_copies_come_with_the_command_that_makes_them() {
    let said = deviations(&TOPIC, &config(""), &found(3, 1), "", "");
    let expected = r#"topic "shop-order": expected replication.factor=3 or more, found 1: make the missing copies: kafka-reassign-partitions --bootstrap-server kafka:19092 --execute --reassignment-json-file <(echo '{"version":1,"partitions":[{"topic":"shop-order","partition":0,"replicas":[1,2,3]},{"topic":"shop-order","partition":1,"replicas":[2,3,1]},{"topic":"shop-order","partition":2,"replicas":[3,1,2]}]}'); or accept it: mall topics --accept replication.factor=1 (MALL_TOPICS__ACCEPT)"#;
    assert_eq!(said, [expected]);
    assert!(deviations(&TOPIC, &config("replication.factor=1"), &found(3, 1), "", "").is_empty());
}

#[test]
fn copies_that_no_broker_could_take_are_said_to_need_brokers() {
    let one_broker = Found {
        brokers: vec![1],
        ..found(3, 1)
    };
    let said = deviations(&TOPIC, &config(""), &one_broker, "", "");
    assert!(
        said[0].contains("found 1: start more brokers, there are 1; or accept it"),
        "{said:?}"
    );
}

#[test]
fn more_partitions_are_accepted_and_fewer_are_not() {
    let accepting = config("more-partitions");
    assert!(deviations(&TOPIC, &accepting, &found(5, 3), "", "").is_empty());
    assert_eq!(deviations(&TOPIC, &accepting, &found(2, 3), "", "").len(), 1);
    let said = deviations(&TOPIC, &config(""), &found(5, 3), "", "");
    assert!(
        said[0].contains("expected 3 partitions, found 5: partitions cannot be taken away"),
        "{said:?}"
    );
}
