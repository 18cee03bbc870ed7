//! Text for people that quotes what came from outside, cut to a length that a record or a log line can hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something is as it is, in at most [`Detail::MAX_CHARS`] characters. A longer text is cut and ends in `…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Detail(String);

impl Detail {
    /// The most characters that it has. A reason fits; the content of a hostile record does not.
    pub const MAX_CHARS: usize = 200;

    /// The start of a text.
    pub fn new(text: impl fmt::Display) -> Self {
        Self(start(text, Self::MAX_CHARS))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The start of a text that is quoted in an error: as much as makes it recognisable.
pub(crate) fn abbreviate(text: impl fmt::Display) -> String {
    const MAX_CHARS: usize = 40;
    start(text, MAX_CHARS)
}

/// The first `max_chars` characters of a text; when there are more, the last of them is `…`.
fn start(text: impl fmt::Display, max_chars: usize) -> String {
    let mut text = text.to_string();
    let mut ends = text.char_indices().map(|(at, _)| at).skip(max_chars - 1);
    if let (Some(last), Some(_)) = (ends.next(), ends.next()) {
        text.truncate(last);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_fits_is_kept_and_a_longer_one_ends_in_an_ellipsis() {
        for (length, expected) in [
            (199, "é".repeat(199)),
            (200, "é".repeat(200)),
            (201, "é".repeat(199) + "…"),
        ] {
            assert_eq!(Detail::new("é".repeat(length)).as_str(), expected);
        }
    }

    #[test]
    fn a_megabyte_that_is_read_back_is_cut_too() {
        let json = serde_json::to_vec(&"x".repeat(1_000_000)).expect("JSON");
        let detail: Detail = serde_json::from_slice(&json).expect("text");
        assert_eq!(detail.as_str().len(), Detail::MAX_CHARS - 1 + "…".len());
    }

    proptest! {
        #[test]
        fn any_text_fits_into_a_record(text in "(?s).{0,400}|[\\x00-\\x1f\"\\\\]{0,400}") {
            let detail = Detail::new(format_args!("{text}{text}"));
            prop_assert!(detail.as_str().chars().count() <= Detail::MAX_CHARS);
            // JSON writes a control character in six bytes.
            prop_assert!(serde_json::to_vec(&detail).expect("JSON").len() <= 2 + 6 * Detail::MAX_CHARS);
            let whole = text.repeat(2);
            prop_assert!(whole == detail.as_str() || whole.starts_with(detail.as_str().trim_end_matches('…')));
        }

        #[test]
        fn json_round_trips(text in "(?s).{0,300}") {
            let detail = Detail::new(text);
            let json = serde_json::to_vec(&detail).expect("JSON");
            prop_assert_eq!(serde_json::from_slice::<Detail>(&json).expect("own JSON"), detail);
        }
    }
}
