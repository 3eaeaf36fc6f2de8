//! The arguments of an event or an acknowledgement.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::ser::Serialize;

/// Arguments as the JSON text that travelled, and the binary attachments its placeholders name.
///
/// The text is the inside of a JSON array, `1,"two",{"three":3}`: an event and its acknowledgement
/// differ only in what stands around it, so arguments pass from one to the other untouched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args<'a> {
    items: Cow<'a, str>,
    attachments: Vec<Bytes>,
}

impl<'a> Args<'a> {
    /// No argument at all.
    pub const fn none() -> Self {
        Self { items: Cow::Borrowed(""), attachments: Vec::new() }
    }

    /// Arguments of which the caller knows that they are valid JSON, separated by commas.
    pub fn from_raw(items: impl Into<Cow<'a, str>>, attachments: Vec<Bytes>) -> Self {
        Self { items: items.into(), attachments }
    }

    /// One argument.
    ///
    /// # Errors
    /// The value cannot be written as JSON (a map whose keys are no strings, for example).
    pub fn one<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self { items: Cow::Owned(serde_json::to_string(value)?), attachments: Vec::new() })
    }

    /// The fields of a tuple, or the items of a list, as one argument each.
    ///
    /// # Errors
    /// The value cannot be written as JSON, or is no sequence.
    pub fn list<T: Serialize + ?Sized>(values: &T) -> Result<Self, serde_json::Error> {
        let array = serde_json::to_string(values)?;
        match array.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(items) => Ok(Self { items: Cow::Owned(items.to_owned()), attachments: Vec::new() }),
            None => Err(serde::ser::Error::custom("arguments must be a tuple or a list")),
        }
    }

    /// One binary argument.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self { items: Cow::Borrowed(r#"{"_placeholder":true,"num":0}"#), attachments: vec![bytes.into()] }
    }

    /// The JSON text between the array's brackets.
    pub fn items(&self) -> &str {
        &self.items
    }

    /// The attachments, in the order of their placeholders' `num`.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Whether there is no argument.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Reads all arguments as one tuple or list.
    ///
    /// # Errors
    /// Number or types of the arguments differ from what `T` wants.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&format!("[{}]", self.items))
    }

    /// Reads the first argument; further ones are ignored.
    ///
    /// # Errors
    /// There is none, or it is not what `T` wants.
    pub fn first<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let mut items = serde_json::Deserializer::from_str(&self.items);
        T::deserialize(&mut items)
    }

    /// The same arguments, owned.
    pub fn into_owned(self) -> Args<'static> {
        Args { items: Cow::Owned(self.items.into_owned()), attachments: self.attachments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_written_and_read() {
        let args = Args::list(&(1, "two", [3])).unwrap();
        assert_eq!(args.items(), r#"1,"two",[3]"#);
        assert_eq!(args.parse::<(u8, String, Vec<u8>)>().unwrap(), (1, "two".to_owned(), vec![3]));
        assert_eq!(args.first::<u8>().unwrap(), 1);
        assert!(Args::none().first::<u8>().is_err());
        assert!(Args::list(&"text").is_err());
        assert_eq!(Args::one("[x]").unwrap().items(), r#""[x]""#);
    }
}
