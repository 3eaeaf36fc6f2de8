//! The values of MessagePack, one after the other: their heads are read, and what is in arrays and maps follows.

use std::borrow::Cow;

use rmp::Marker;

use crate::socketio::DecodeError;

/// A value without what is in it, if it is an array or a map.
pub(super) enum Value<'a> {
    Nil,
    /// As notepack.io writes JavaScript's `undefined`.
    Undefined,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Binary(&'a [u8]),
    /// A moment, in milliseconds since 1970.
    Time(i64),
    Array(u32),
    Map(u32),
}

impl Value<'_> {
    /// How many values are in it.
    pub(super) fn children(&self) -> u64 {
        match self {
            Self::Array(items) => u64::from(*items),
            Self::Map(entries) => 2 * u64::from(*entries),
            _ => 0,
        }
    }
}

/// Bytes that are values, as far as they are not read. A copy reads on from the same place.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next value. Reads no further than it has to, and never allocates for a length that is only claimed.
    pub(super) fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        Ok(match Marker::from_u8(self.unsigned::<1>()? as u8) {
            Marker::Null => Value::Nil,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::FixPos(number) => Value::Unsigned(number.into()),
            Marker::U8 => Value::Unsigned(self.unsigned::<1>()?),
            Marker::U16 => Value::Unsigned(self.unsigned::<2>()?),
            Marker::U32 => Value::Unsigned(self.unsigned::<4>()?),
            Marker::U64 => Value::Unsigned(self.unsigned::<8>()?),
            Marker::FixNeg(number) => integer(number.into()),
            Marker::I8 => integer(self.signed::<1>()?),
            Marker::I16 => integer(self.signed::<2>()?),
            Marker::I32 => integer(self.signed::<4>()?),
            Marker::I64 => integer(self.signed::<8>()?),
            Marker::F32 => Value::Float(f32::from_bits(self.unsigned::<4>()? as u32).into()),
            Marker::F64 => Value::Float(f64::from_bits(self.unsigned::<8>()?)),
            Marker::FixStr(bytes) => self.text(bytes.into())?,
            Marker::Str8 => self.length::<1>().and_then(|bytes| self.text(bytes))?,
            Marker::Str16 => self.length::<2>().and_then(|bytes| self.text(bytes))?,
            Marker::Str32 => self.length::<4>().and_then(|bytes| self.text(bytes))?,
            Marker::Bin8 => self.length::<1>().and_then(|bytes| self.take(bytes)).map(Value::Binary)?,
            Marker::Bin16 => self.length::<2>().and_then(|bytes| self.take(bytes)).map(Value::Binary)?,
            Marker::Bin32 => self.length::<4>().and_then(|bytes| self.take(bytes)).map(Value::Binary)?,
            Marker::FixArray(items) => Value::Array(items.into()),
            Marker::Array16 => Value::Array(self.length::<2>()?),
            Marker::Array32 => Value::Array(self.length::<4>()?),
            Marker::FixMap(entries) => Value::Map(entries.into()),
            Marker::Map16 => Value::Map(self.length::<2>()?),
            Marker::Map32 => Value::Map(self.length::<4>()?),
            Marker::FixExt1 => self.fixed_extension(1)?,
            Marker::FixExt2 => self.fixed_extension(2)?,
            Marker::FixExt4 => self.fixed_extension(4)?,
            Marker::FixExt8 => self.fixed_extension(8)?,
            Marker::FixExt16 => self.fixed_extension(16)?,
            Marker::Ext8 => self.length::<1>().and_then(|bytes| self.extension(bytes))?,
            Marker::Ext16 => self.length::<2>().and_then(|bytes| self.extension(bytes))?,
            Marker::Ext32 => self.length::<4>().and_then(|bytes| self.extension(bytes))?,
            Marker::Reserved => return Err(DecodeError::InvalidPayload),
        })
    }

    /// Passes over so many values and all that is in them.
    pub(super) fn skip(&mut self, mut values: u64) -> Result<(), DecodeError> {
        while values > 0 {
            values = values - 1 + self.value()?.children();
        }
        Ok(())
    }

    /// An extension of a length that has a marker of its own, which notepack.io uses for `undefined` and `Date`.
    fn fixed_extension(&mut self, bytes: u32) -> Result<Value<'a>, DecodeError> {
        Ok(match self.extension(bytes)? {
            Value::Binary([0]) => Value::Undefined,
            Value::Binary(&[a, b, c, d, e, f, g, h]) => {
                Value::Time(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
            other => other,
        })
    }

    /// Any other extension: an `ArrayBuffer` of notepack.io, or MessagePack's own timestamp.
    fn extension(&mut self, bytes: u32) -> Result<Value<'a>, DecodeError> {
        const ARRAY_BUFFER: i64 = 0;
        const TIMESTAMP: i64 = -1;
        let kind = self.signed::<1>()?;
        let mut content = Reader { rest: self.take(bytes)? };
        let (nanoseconds, seconds) = match (kind, bytes) {
            (ARRAY_BUFFER, _) => return Ok(Value::Binary(content.rest)),
            (TIMESTAMP, 4) => (0, content.unsigned::<4>()? as i64),
            (TIMESTAMP, 8) => {
                let both = content.unsigned::<8>()?;
                // 30 bits of nanoseconds, then 34 of seconds.
                ((both >> 34) as i64, (both & ((1 << 34) - 1)) as i64)
            }
            (TIMESTAMP, 12) => (content.unsigned::<4>()? as i64, content.signed::<8>()?),
            _ => return Err(DecodeError::InvalidPayload),
        };
        Ok(Value::Time(seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)))
    }

    /// A text, with U+FFFD where it is not UTF-8.
    fn text(&mut self, bytes: u32) -> Result<Value<'a>, DecodeError> {
        let bytes = self.take(bytes)?;
        // Nearly all of it is, and finding that out is much faster than looking for what is not.
        Ok(Value::Text(
            std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed),
        ))
    }

    fn length<const BYTES: usize>(&mut self) -> Result<u32, DecodeError> {
        // Of at most four bytes.
        self.unsigned::<BYTES>().map(|length| length as u32)
    }

    fn unsigned<const BYTES: usize>(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(BYTES as u32)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn signed<const BYTES: usize>(&mut self) -> Result<i64, DecodeError> {
        let shift = 64 - 8 * BYTES as u32;
        self.unsigned::<BYTES>().map(|number| (number << shift) as i64 >> shift)
    }

    fn take(&mut self, bytes: u32) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(bytes as usize).ok_or(DecodeError::InvalidPayload)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn integer(number: i64) -> Value<'static> {
    u64::try_from(number).map_or(Value::Negative(number), Value::Unsigned)
}
