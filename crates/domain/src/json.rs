//! JSON from outside.

use serde::Deserialize;
use serde::de::Error as _;

/// Reads a JSON object. `serde` would also take an array, whose elements are the fields in their order.
///
/// # Errors
/// When the text is no JSON object, or not of this type.
pub fn from_object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, serde_json::Error> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(serde_json::Error::custom("it is no object"));
    }
    serde_json::from_slice(text)
}
