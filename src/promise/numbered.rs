//! Parameters of calls that begin with the number of a client: its id, or before the call its ticket.

use crate::chain::cbor::{CborReader, CborWriter};

/// The number in parameters that begin with one, and the encoding of what follows.
pub(super) fn numbered(params: &[u8]) -> Option<(u64, &[u8])> {
    let rest = params.strip_prefix(&[PAIR])?;
    let length = match rest.first()? {
        0..24 => 1,
        24 => 2,
        25 => 3,
        26 => 5,
        27 => 9,
        _ => return None,
    };
    let number = CborReader::only(rest.get(..length)?, CborReader::uint).ok()?;
    Some((number, &rest[length..]))
}

/// The id of the client in the parameters of a call.
pub(crate) fn client_id(params: &[u8]) -> Option<u64> {
    numbered(params).map(|(id, _)| id)
}

/// How the encoding of a pair begins.
const PAIR: u8 = 0x82;

/// The parameters with another number in the place of the first one.
pub(crate) fn renumbered(params: &[u8], id: u64) -> Option<Vec<u8>> {
    let (_, rest) = numbered(params)?;
    let mut to = CborWriter::with_room(params.len() + 8);
    to.array(2).uint(id).encoded(rest);
    Some(to.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::cbor::Cbor;

    #[test]
    fn the_number_of_parameters_is_read_and_replaced_whatever_its_length() {
        for id in [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), u64::MAX] {
            let params = (id, String::from("x")).to_cbor();
            assert_eq!(numbered(&params).map(|(number, _)| number), Some(id));
            let other = renumbered(&params, 300).expect("it has a number");
            assert_eq!(<(u64, String)>::from_cbor(&other), Ok((300, "x".into())));
        }
        for params in [(String::from("x"),).to_cbor(), (String::from("x"), 1_u64).to_cbor(), vec![], vec![PAIR, 27]] {
            assert_eq!(numbered(&params), None, "{params:?}");
        }
    }
}
