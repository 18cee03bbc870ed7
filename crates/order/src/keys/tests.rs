use std::alloc::Layout;

use proptest::prelude::*;

use super::*;

/// 18:20 on a day of 2026, in Unix milliseconds.
const NOW: u64 = 1_790_000_000_000;
const ALL_SAID: Drawn = Drawn {
    money: false,
    user_id: false,
};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_unix_millis(NOW + millis)
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text.as_bytes()).expect("a key")
}

fn submission(money: i64, user_id: &str) -> Submission {
    Submission {
        money: money.try_into().expect("money"),
        partition: None,
        time: 5,
        user_id: user_id.parse().expect("a user"),
    }
}

fn order(millis: u64) -> Order {
    submission(81, "007").into_order(OrderId::smallest_at(at(millis)))
}

fn keys(capacity: usize) -> Keys {
    Keys::new(capacity)
}

#[test]
fn the_reply_to_a_key_is_that_of_its_order_whatever_was_drawn_this_time() {
    let mut keys = keys(8);
    let drawn = Drawn {
        money: true,
        user_id: true,
    };
    keys.insert(key("k"), drawn, order(0), State::Writing).expect("room");
    assert_eq!(
        keys.look_up(&key("k"), drawn, &submission(5, "1")),
        Known::Writing(order(0).order_id)
    );
    keys.settle(&key("k"), State::Written(7));
    assert_eq!(
        keys.look_up(&key("k"), drawn, &submission(6, "2")),
        Known::Written(order(0), 7)
    );
    assert_eq!(keys.look_up(&key("K"), drawn, &submission(6, "2")), Known::New);
}

#[test]
fn another_request_with_a_key_is_told_apart() {
    let mut keys = keys(8);
    keys.insert(key("k"), ALL_SAID, order(0), State::Written(7))
        .expect("room");
    assert_eq!(
        keys.look_up(&key("k"), ALL_SAID, &submission(81, "007")),
        Known::Written(order(0), 7)
    );
    let money_drawn = Drawn {
        money: true,
        ..ALL_SAID
    };
    for (drawn, other) in [
        (ALL_SAID, submission(82, "007")),
        (ALL_SAID, submission(81, "7")),
        (money_drawn, submission(81, "007")),
    ] {
        assert_eq!(keys.look_up(&key("k"), drawn, &other), Known::Reused, "{other:?}");
    }
}

#[test]
fn an_order_of_unknown_outcome_is_the_same_when_it_is_written_again() {
    let mut keys = keys(8);
    keys.insert(key("k"), ALL_SAID, order(0), State::Writing).expect("room");
    keys.settle(&key("k"), State::Unknown);
    assert_eq!(
        keys.look_up(&key("k"), ALL_SAID, &submission(81, "007")),
        Known::Unknown(order(0))
    );
}

#[test]
fn a_key_whose_order_was_not_written_is_free() {
    let mut keys = keys(8);
    keys.insert(key("k"), ALL_SAID, order(0), State::Writing).expect("room");
    keys.settle(&key("k"), State::NotWritten);
    assert_eq!(keys.look_up(&key("k"), ALL_SAID, &submission(1, "1")), Known::New);
    assert_eq!(keys.len(), 0);
}

#[test]
fn a_key_is_forgotten_after_ten_minutes_and_not_before() {
    let mut keys = keys(8);
    for (text, millis) in [("a", 0), ("b", 1)] {
        keys.insert(key(text), ALL_SAID, order(millis), State::Written(0))
            .expect("room");
    }
    keys.expire(at(600_000));
    assert_eq!(keys.len(), 2);
    keys.expire(at(600_001));
    assert_eq!(keys.look_up(&key("a"), ALL_SAID, &submission(1, "1")), Known::New);
    assert_ne!(keys.look_up(&key("b"), ALL_SAID, &submission(1, "1")), Known::New);
}

#[test]
fn a_key_beyond_the_bound_is_refused_until_another_expires() {
    let mut keys = keys(2);
    for text in ["a", "b"] {
        keys.insert(key(text), ALL_SAID, order(0), State::Written(0))
            .expect("room");
    }
    assert_eq!(keys.insert(key("c"), ALL_SAID, order(1), State::Writing), Err(Full));
    keys.expire(at(600_001));
    assert_eq!(keys.insert(key("c"), ALL_SAID, order(600_001), State::Writing), Ok(()));
}

#[test]
fn of_the_records_of_a_key_the_last_one_counts() {
    let mut keys = keys(2);
    assert!(!keys.recover(key("k"), ALL_SAID, order(0), 3));
    assert!(!keys.recover(key("k"), ALL_SAID, order(0), 9));
    assert_eq!(
        keys.look_up(&key("k"), ALL_SAID, &submission(81, "007")),
        Known::Written(order(0), 9)
    );
    // The time of the first one was over when the key came again.
    assert!(keys.recover(key("k"), ALL_SAID, order(700_000), 20));
    assert_eq!(
        keys.look_up(&key("k"), ALL_SAID, &submission(81, "007")),
        Known::Written(order(700_000), 20)
    );
    assert_eq!(keys.len(), 1);
}

#[test]
fn a_log_with_more_keys_than_there_is_room_for_leaves_the_youngest() {
    let mut keys = keys(2);
    let forgotten = ["a", "b", "c"].map(|text| keys.recover(key(text), ALL_SAID, order(0), 0));
    assert_eq!(forgotten, [false, false, true]);
    assert_eq!(keys.look_up(&key("a"), ALL_SAID, &submission(81, "007")), Known::New);
    assert_eq!(keys.len(), 2);
}

#[test]
fn a_key_takes_at_most_164_bytes() {
    let text = Layout::array::<u8>(IdempotencyKey::MAX_LENGTH).expect("64 bytes");
    // An allocator of the system adds 8 bytes and rounds up to 16; an index is at least 7/16 full.
    let allocated = (text.size() + 8).next_multiple_of(16);
    let index = (size_of::<u64>() + 1) * 16 / 7;
    let all = size_of::<Entry>() + allocated + index;
    assert_eq!(all, 164);
}

proptest! {
    /// Against a plain list of what was done.
    #[test]
    fn keys_do_what_a_list_of_all_that_came_would_do(
        steps in prop::collection::vec((0_u64..300_000, 0_usize..5, 0_usize..3), 1..200)
    ) {
        let (mut keys, mut model, mut now) = (keys(1000), Vec::<(usize, u64, State)>::new(), 0);
        for (pause, name, outcome) in steps {
            now += pause;
            keys.expire(at(now));
            model.retain(|(_, came, state)| now - came <= 600_000 && *state != State::NotWritten);
            let text = format!("key-{name}");
            let expected = model.iter().find(|(known, ..)| *known == name).copied();
            let found = keys.look_up(&key(&text), ALL_SAID, &submission(81, "007"));
            let state = [State::Written(now.cast_signed()), State::Unknown, State::NotWritten][outcome];
            match (expected, found) {
                (None, Known::New) => {
                    prop_assert_eq!(keys.insert(key(&text), ALL_SAID, order(now), State::Writing), Ok(()));
                    keys.settle(&key(&text), state);
                    model.push((name, now, state));
                }
                (Some((_, came, State::Unknown)), Known::Unknown(again)) => prop_assert_eq!(again, order(came)),
                (Some((_, came, State::Written(offset))), Known::Written(again, at)) => {
                    prop_assert_eq!((again, at), (order(came), offset));
                }
                (expected, found) => prop_assert!(false, "expected {expected:?}, found {found:?}"),
            }
        }
    }
}
