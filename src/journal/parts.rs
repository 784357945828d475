//! Large parts of an event's data, kept once however many events say them: a body that goes from actor to actor stands
//! in the intent, in the call, in the return and in the answer.
//!
//! ```text
//!   data       {"params": ["…", h'4d5a90…'], …}                    what the chain's hash covers
//!   stored     21576({"params": ["…", 21602(h'<name>')], …})       and a record with a salt and the bytes
//! ```
//!
//! A byte string or text beyond [`LARGE_BYTES`] is replaced by its name under a tag of its own; the whole is tagged
//! too, which no event's data is. Encodings are deterministic, so that putting the parts back gives the same bytes. The name
//! is the SHA-1 of a salt and the part, so that it does not give the part away once both were dropped; it stays. (Parts that
//! older programs took out have no salt, and other tags.)

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder, decode};

use crate::chain::{Salt, sha1};

/// What is not larger stays where it is: its name would take as much room as it saves.
const LARGE_BYTES: usize = 4096;

const STORED: u64 = 0x5448;
const BYTES: u64 = 0x5442;
const TEXT: u64 = 0x5454;
const SALTED_BYTES: u64 = 0x5462;
const SALTED_TEXT: u64 = 0x5474;

type Sha1 = [u8; 20];

/// A part behind its salt, and the name of both.
pub(crate) type Part = (Sha1, Vec<u8>);

/// Takes the large parts out of `data`; what is not CBOR, or has none, stays as it is. The same part has the same name for
/// as long as `era` stays the same.
pub(super) fn take_out(data: &mut Vec<u8>, era: u64) -> Vec<Part> {
    if data.len() <= LARGE_BYTES {
        return Vec::new();
    }
    match split(data, era) {
        Ok((stored, parts)) if !parts.is_empty() => {
            *data = stored;
            parts
        }
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn split(data: &[u8], era: u64) -> Result<(Vec<u8>, Vec<Part>), decode::Error> {
    let mut stored = tagged(STORED);
    let mut parts = Vec::new();
    let mut decoder = Decoder::new(data);
    let mut copied = 0;
    while decoder.position() < data.len() {
        let at = decoder.position();
        let (tag, part) = match decoder.datatype()? {
            Type::Bytes => (SALTED_BYTES, decoder.bytes()?),
            Type::String => (SALTED_TEXT, decoder.str()?.as_bytes()),
            // What is in them follows; nothing marks their end.
            Type::Array => (STORED, decoder.array().map(|_| &[][..])?),
            Type::Map => (STORED, decoder.map().map(|_| &[][..])?),
            _ => (STORED, decoder.skip().map(|()| &[][..])?),
        };
        if part.len() > LARGE_BYTES {
            let salted = [&Salt::of_part(era, part).as_bytes()[..], part].concat();
            let name = sha1(&salted);
            stored.extend_from_slice(&data[copied..at]);
            stored.extend(tagged(tag));
            stored.extend(encoded(|to| _ = to.bytes(&name)));
            copied = decoder.position();
            parts.push((name, salted));
        }
    }
    stored.extend_from_slice(&data[copied..]);
    Ok((stored, parts))
}

/// Puts the parts back; `find` has them. `Ok(None)` where one is not to be found: which.
pub(super) fn put_back<E>(
    stored: Vec<u8>,
    mut find: impl FnMut(&Sha1) -> Result<Option<Vec<u8>>, E>,
) -> Result<Result<Vec<u8>, Sha1>, E> {
    let Some(rest) = stored.strip_prefix(&*tagged(STORED)) else { return Ok(Ok(stored)) };
    let mut data = Vec::with_capacity(stored.len());
    let mut copied = 0;
    for Reference { from, to, is_text, is_salted, name } in references(rest) {
        data.extend_from_slice(&rest[copied..from]);
        let Some(mut part) = find(&name)? else { return Ok(Err(name)) };
        if is_salted {
            part.drain(..part.len().min(16));
        }
        data.extend(if is_text {
            // Text that is none would not hash to what the chain says.
            encoded(|to| _ = to.str(&String::from_utf8_lossy(&part)))
        } else {
            encoded(|to| _ = to.bytes(&part))
        });
        copied = to;
    }
    data.extend_from_slice(&rest[copied..]);
    Ok(Ok(data))
}

/// Whether large parts were taken out of `stored`.
pub(super) fn were_taken_out(stored: &[u8]) -> bool {
    stored.starts_with(&tagged(STORED))
}

/// The names of the parts that `stored` refers to.
pub(super) fn names(stored: &[u8]) -> Vec<Sha1> {
    let rest = stored.strip_prefix(&*tagged(STORED)).unwrap_or_default();
    references(rest).into_iter().map(|reference| reference.name).collect()
}

struct Reference {
    from: usize,
    to: usize,
    is_text: bool,
    is_salted: bool,
    name: Sha1,
}

/// Stops at what cannot be read: the chain's hash tells.
fn references(rest: &[u8]) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut decoder = Decoder::new(rest);
    while decoder.position() < rest.len() {
        match reference(&mut decoder) {
            Ok(reference) => found.extend(reference),
            Err(_) => break,
        }
    }
    found
}

fn reference(decoder: &mut Decoder<'_>) -> Result<Option<Reference>, decode::Error> {
    let from = decoder.position();
    match decoder.datatype()? {
        Type::Array => decoder.array().map(|_| None),
        Type::Map => decoder.map().map(|_| None),
        Type::Tag => {
            let (is_text, is_salted) = match decoder.tag()?.as_u64() {
                SALTED_BYTES => (false, true),
                SALTED_TEXT => (true, true),
                BYTES => (false, false),
                TEXT => (true, false),
                _ => return Err(decode::Error::message("no tag of a part")),
            };
            let name = decoder.bytes()?.try_into().map_err(|_| decode::Error::message("no name of a part"))?;
            Ok(Some(Reference { from, to: decoder.position(), is_text, is_salted, name }))
        }
        _ => decoder.skip().map(|()| None),
    }
}

fn tagged(tag: u64) -> Vec<u8> {
    encoded(|to| _ = to.tag(Tag::new(tag)))
}

fn encoded(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::chain::cbor::{Cbor, CborWriter};

    fn kept(data: &[u8]) -> (Vec<u8>, HashMap<Sha1, Vec<u8>>) {
        let mut stored = data.to_vec();
        let parts = take_out(&mut stored, 0);
        (stored, parts.into_iter().collect())
    }

    fn back(stored: Vec<u8>, parts: &HashMap<Sha1, Vec<u8>>) -> Result<Vec<u8>, Sha1> {
        put_back(stored, |name| Ok::<_, Infallible>(parts.get(name).cloned())).expect("infallible")
    }

    /// One encoded item.
    fn item() -> impl Strategy<Value = Vec<u8>> {
        let large = (4000..9000_usize, any::<u8>());
        let leaf = prop_oneof![
            Just(().to_cbor()),
            any::<u64>().prop_map(|number| number.to_cbor()),
            large.clone().prop_map(|(length, byte)| vec![byte; length].to_cbor()),
            large.prop_map(|(length, byte)| char::from(byte % 128).to_string().repeat(length).to_cbor()),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let entries = prop::collection::btree_map("[a-z]{1}", inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| array(&items)),
                entries.prop_map(|entries| {
                    let mut to = CborWriter::default();
                    to.map(entries.len());
                    entries.iter().for_each(|(key, item)| _ = to.key(key).encoded(item));
                    to.finish()
                }),
            ]
        })
    }

    fn array(items: &[Vec<u8>]) -> Vec<u8> {
        let mut to = CborWriter::default();
        to.array(items.len());
        items.iter().for_each(|item| _ = to.encoded(item));
        to.finish()
    }

    proptest! {
        #[test]
        fn what_is_put_back_is_what_was_taken_out(data in item()) {
            let (stored, parts) = kept(&data);
            prop_assert!(stored.len() <= LARGE_BYTES * 13, "the large parts are gone");
            prop_assert_eq!(names(&stored).len() >= parts.len(), true);
            prop_assert_eq!(back(stored, &parts), Ok(data));
        }

        #[test]
        fn bytes_that_are_no_cbor_stay_as_they_are(data in prop::collection::vec(any::<u8>(), 0..6000)) {
            let (stored, parts) = kept(&data);
            if parts.is_empty() {
                prop_assert_eq!(&stored, &data);
            } else {
                prop_assert_eq!(back(stored, &parts), Ok(data));
            }
        }
    }

    #[test]
    fn the_same_part_twice_has_one_name_and_a_missing_one_is_named() {
        let body = vec![7_u8; 5000].to_cbor();
        let data = array(&[body.clone(), "x".to_owned().to_cbor(), body]);
        let (stored, parts) = kept(&data);
        assert_eq!((parts.len(), names(&stored).len(), stored.len() < 200), (1, 2, true));
        assert_eq!(back(stored.clone(), &HashMap::new()), Err(names(&stored)[0]));
    }

    #[test]
    fn a_name_does_not_give_a_part_away_and_is_another_in_another_era() {
        let data = vec![7_u8; 5000].to_cbor();
        let names_in = |era| {
            let mut stored = data.clone();
            let parts = take_out(&mut stored, era);
            assert_eq!((parts.len(), sha1(&parts[0].1), &parts[0].1[16..]), (1, parts[0].0, &[7; 5000][..]));
            names(&stored)
        };
        assert_eq!(names_in(1), names_in(1));
        assert_ne!(names_in(1), names_in(2));
        assert_ne!(names_in(1), [sha1(&[7; 5000])]);
    }

    #[test]
    fn parts_that_an_older_program_took_out_without_a_salt_are_put_back() {
        for (tag, whole) in [(BYTES, vec![b'x'; 5000].to_cbor()), (TEXT, "x".repeat(5000).to_cbor())] {
            let name = sha1(&[b'x'; 5000]);
            let stored = [tagged(STORED), tagged(tag), encoded(|to| _ = to.bytes(&name))].concat();
            assert_eq!(names(&stored), [name]);
            assert_eq!(back(stored, &HashMap::from([(name, vec![b'x'; 5000])])), Ok(whole));
        }
    }
}
