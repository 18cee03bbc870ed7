//! Times and durations as people read them.

use std::time::Duration;

use domain::Timestamp;

/// `2021-12-07`
pub(crate) fn date(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('T')
        .map_or_else(String::new, |(date, _)| date.to_owned())
}

/// `08:32:55.328`
pub(crate) fn time_of_day(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('T')
        .map_or_else(String::new, |(_, time)| time.trim_end_matches('Z').to_owned())
}

/// The time from `from` to `to`. Negative where the clocks of two replicas differ.
pub(crate) fn elapsed(from: Timestamp, to: Timestamp) -> String {
    let (from, to) = (from.unix_millis(), to.unix_millis());
    let sign = if to < from { '-' } else { '+' };
    let duration = Duration::from_millis(to.abs_diff(from));
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let text = if seconds == 0 {
        format!("{} ms", duration.as_millis())
    } else if minutes == 0 {
        format!("{seconds}.{} s", duration.subsec_millis() / 100)
    } else if hours == 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else if days == 0 {
        format!("{hours} h {} min", minutes % 60)
    } else {
        format!("{days} d {} h", hours % 24)
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_and_a_time_of_day() {
        let time = Timestamp::from_unix_millis(1_638_865_975_012);
        assert_eq!(
            (date(time).as_str(), time_of_day(time).as_str()),
            ("2021-12-07", "08:32:55.012")
        );
        let last = Timestamp::from_unix_millis(u64::MAX);
        assert_eq!(
            (date(last).as_str(), time_of_day(last).as_str()),
            ("9999-12-31", "23:59:59.999")
        );
    }

    #[test]
    fn a_duration_has_two_units_and_is_negative_where_clocks_differ() {
        for (milliseconds, expected) in [
            (0, "+0 ms"),
            (999, "+999 ms"),
            (59_999, "+59.9 s"),
            (60_000, "+1 min 0 s"),
            (3_599_999, "+59 min 59 s"),
            (86_399_999, "+23 h 59 min"),
            (90_000_000, "+1 d 1 h"),
        ] {
            let (from, to) = (
                Timestamp::from_unix_millis(0),
                Timestamp::from_unix_millis(milliseconds),
            );
            assert_eq!(elapsed(from, to), expected);
        }
        assert_eq!(
            elapsed(Timestamp::from_unix_millis(3), Timestamp::from_unix_millis(0)),
            "-3 ms"
        );
    }
}
