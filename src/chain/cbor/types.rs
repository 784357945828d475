//! CBOR encodings of Rust's own types, and macros for lists and records.

use super::{Cbor, CborError, CborReader, CborWriter};

impl Cbor for bool {
    fn write(&self, to: &mut CborWriter) {
        to.bool(*self);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.bool()
    }
}

impl Cbor for u64 {
    fn write(&self, to: &mut CborWriter) {
        to.uint(*self);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.uint()
    }
}

impl Cbor for String {
    fn write(&self, to: &mut CborWriter) {
        to.text(self);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.text().map(str::to_owned)
    }
}

impl Cbor for Vec<u8> {
    fn write(&self, to: &mut CborWriter) {
        to.bytes(self);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.bytes().map(<[u8]>::to_vec)
    }
}

macro_rules! small_uint {
    ($($type:ty),*) => {$(
        impl Cbor for $type {
            fn write(&self, to: &mut CborWriter) {
                to.uint(u64::from(*self));
            }

            fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
                let number = from.uint()?;
                <$type>::try_from(number).map_err(|_| CborError::Mismatch("a larger number", stringify!($type)))
            }
        }
    )*};
}

small_uint!(u16, u32);

impl Cbor for () {
    fn write(&self, to: &mut CborWriter) {
        to.null();
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        if from.null()? { Ok(()) } else { Err(from.next()?.mismatch("null")) }
    }
}

impl<T: Cbor> Cbor for Option<T> {
    fn write(&self, to: &mut CborWriter) {
        match self {
            None => to.null(),
            Some(item) => to.item(item),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        if from.null()? { Ok(None) } else { T::read(from).map(Some) }
    }
}

/// A result is encoded as `{"ok": …}` or `{"err": "…"}`.
impl<T: Cbor> Cbor for Result<T, String> {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Ok(item) => to.map(1).key("ok").item(item),
            Err(message) => to.map(1).key("err").text(message),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.map(|entries| match entries.read_if_there("ok")? {
            Some(item) => Ok(Ok(item)),
            None => entries.read("err").map(Err),
        })
    }
}

/// Implements `Cbor` for a list of each of these types. (`Vec<u8>` is a byte string, so `u8` itself has no `Cbor`.)
macro_rules! list {
    ($($type:ty),*) => {$(
        impl $crate::chain::cbor::Cbor for Vec<$type> {
            fn write(&self, to: &mut $crate::chain::cbor::CborWriter) {
                to.array(self.len());
                self.iter().for_each(|item| $crate::chain::cbor::Cbor::write(item, to));
            }

            fn read(from: &mut $crate::chain::cbor::CborReader<'_>) -> Result<Self, $crate::chain::cbor::CborError> {
                from.array(|from, length| (0..length).map(|_| $crate::chain::cbor::Cbor::read(from)).collect())
            }
        }
    )*};
}
pub(crate) use list;

list!(String, u64, (String, String));

macro_rules! tuple {
    ($count:literal: $($type:ident $at:tt),+) => {
        impl<$($type: Cbor),+> Cbor for ($($type,)+) {
            fn write(&self, to: &mut CborWriter) {
                to.array($count)$(.item(&self.$at))+;
            }

            fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
                from.array(|from, length| match length {
                    $count => Ok(($($type::read(from)?,)+)),
                    _ => Err(CborError::Mismatch("an array", concat!($count, " items"))),
                })
            }
        }
    };
}

tuple!(1: A 0);
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);

/// Implements `Cbor` for a record: a map whose keys are listed in their canonical order.
macro_rules! record {
    ($type:ty { $($key:literal: $field:ident),+ $(,)? }) => {
        impl $crate::chain::cbor::Cbor for $type {
            fn write(&self, to: &mut $crate::chain::cbor::CborWriter) {
                to.map([$($key),+].len())$(.key($key).item(&self.$field))+;
            }

            fn read(from: &mut $crate::chain::cbor::CborReader<'_>) -> Result<Self, $crate::chain::cbor::CborError> {
                from.map(|entries| Ok(Self { $($field: entries.read($key)?),+ }))
            }
        }
    };
}
pub(crate) use record;
