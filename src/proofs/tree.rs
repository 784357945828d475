//! Merkle tree hashing by RFC 6962 with SHA-256: leaves, inner nodes, roots, inclusion proofs and consistency proofs.
//!
//! A proof is made from the hashes of ranges of leaves, which whoever stores the tree looks up. It is checked by the
//! algorithms of RFC 9162, section 2.1, from the proof alone.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// The hash of a leaf, of a node, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TreeHash(pub(crate) [u8; 32]);

impl TreeHash {
    /// The root of a tree without leaves.
    pub(crate) fn empty() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// The hash of a leaf with this entry.
    pub(crate) fn leaf(entry: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
    }

    /// The hash of a node above these two.
    pub(crate) fn node(left: &Self, right: &Self) -> Self {
        let mut bytes = [1; 65];
        bytes[1..33].copy_from_slice(&left.0);
        bytes[33..].copy_from_slice(&right.0);
        Self(Sha256::digest(bytes).into())
    }

    /// The hash that this base64 stands for; none for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        BASE64.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash above leaves whose number is a power of two.
pub(crate) fn above(hashes: &[TreeHash]) -> TreeHash {
    debug_assert!(hashes.len().is_power_of_two());
    let pairs = |row: &[TreeHash]| -> Vec<TreeHash> {
        row.as_chunks::<2>().0.iter().map(|[left, right]| TreeHash::node(left, right)).collect()
    };
    let mut row = pairs(hashes);
    while row.len() > 1 {
        row = pairs(&row);
    }
    row.pop().unwrap_or_else(|| hashes[0])
}

/// The number of leaves on the left of a tree with `size` leaves: the largest power of two below `size`, which is at least 2.
fn left_of(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// The hash over the leaves from `from` to before `to`, a range as RFC 6962 divides trees. `perfect` gives the hash of the
/// subtree at `index` of those with 2^`height` leaves.
pub(crate) fn range<E>(
    from: u64,
    to: u64,
    perfect: &mut dyn FnMut(u32, u64) -> Result<TreeHash, E>,
) -> Result<TreeHash, E> {
    let size = to - from;
    if size == 0 {
        return Ok(TreeHash::empty());
    }
    if size.is_power_of_two() {
        let height = size.trailing_zeros();
        return perfect(height, from >> height);
    }
    let middle = from + left_of(size);
    Ok(TreeHash::node(&range(from, middle, perfect)?, &range(middle, to, perfect)?))
}

/// The hashes that lead from leaf `index` to the root of the tree with `size` leaves, the lowest first.
pub(crate) fn inclusion<E>(
    index: u64,
    size: u64,
    perfect: &mut dyn FnMut(u32, u64) -> Result<TreeHash, E>,
) -> Result<Vec<TreeHash>, E> {
    debug_assert!(index < size);
    let (mut from, mut to, mut proof) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + left_of(to - from);
        if index < middle {
            proof.push(range(middle, to, perfect)?);
            to = middle;
        } else {
            proof.push(range(from, middle, perfect)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that show that the tree with `size` leaves begins with the one with `before` leaves. None are needed where
/// `before` is 0 or `size`.
pub(crate) fn consistency<E>(
    before: u64,
    size: u64,
    perfect: &mut dyn FnMut(u32, u64) -> Result<TreeHash, E>,
) -> Result<Vec<TreeHash>, E> {
    debug_assert!(before <= size);
    let mut proof = Vec::new();
    if before == 0 || before == size {
        return Ok(proof);
    }
    let (mut from, mut to, mut is_whole) = (0, size, true);
    while before != to {
        let middle = from + left_of(to - from);
        if before <= middle {
            proof.push(range(middle, to, perfect)?);
            to = middle;
        } else {
            proof.push(range(from, middle, perfect)?);
            (from, is_whole) = (middle, false);
        }
    }
    if !is_whole {
        proof.push(range(from, to, perfect)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root that an inclusion proof leads to; none if the proof has not the length that it must have.
pub(crate) fn root_above(leaf: TreeHash, index: u64, size: u64, proof: &[TreeHash]) -> Option<TreeHash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut root) = (index, size - 1, leaf);
    for hash in proof {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = TreeHash::node(hash, &root);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            root = TreeHash::node(&root, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// Whether a proof shows that the tree with the second size and root begins with the first one.
pub(crate) fn is_consistent(before: (u64, TreeHash), after: (u64, TreeHash), proof: &[TreeHash]) -> bool {
    let ((first, first_root), (second, second_root)) = (before, after);
    if first > second {
        return false;
    }
    if first == second {
        return proof.is_empty() && first_root == second_root;
    }
    if first == 0 {
        return proof.is_empty() && first_root == TreeHash::empty();
    }
    // The first tree's own root stands for itself where that tree is a whole subtree of the second.
    let own = first.is_power_of_two().then_some(first_root);
    let mut hashes = own.into_iter().chain(proof.iter().copied());
    let (mut node, mut last) = (first - 1, second - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let Some(start) = hashes.next() else { return false };
    let (mut first_found, mut second_found) = (start, start);
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            first_found = TreeHash::node(&hash, &first_found);
            second_found = TreeHash::node(&hash, &second_found);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            second_found = TreeHash::node(&second_found, &hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && first_found == first_root && second_found == second_root
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// The entries of the test vectors that came with the first implementation of RFC 6962.
    const ENTRIES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    /// The roots over the first of them, from one entry on.
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// The definition of RFC 6962, section 2.1, word by word.
    fn naive(leaves: &[TreeHash]) -> TreeHash {
        match leaves {
            [] => TreeHash::empty(),
            [leaf] => *leaf,
            _ => {
                let mut left = 1;
                while left * 2 < leaves.len() {
                    left *= 2;
                }
                TreeHash::node(&naive(&leaves[..left]), &naive(&leaves[left..]))
            }
        }
    }

    fn perfect(leaves: &[TreeHash]) -> impl FnMut(u32, u64) -> Result<TreeHash, Infallible> {
        move |height, index| {
            let from = (index << height) as usize;
            Ok(above(&leaves[from..from + (1 << height)]))
        }
    }

    fn leaves(count: u64) -> Vec<TreeHash> {
        (0..count).map(|index| TreeHash::leaf(&index.to_be_bytes())).collect()
    }

    fn hash(hex: &str) -> TreeHash {
        TreeHash(hex::decode(hex).expect("hex").try_into().expect("32 bytes"))
    }

    #[test]
    fn roots_are_those_of_the_published_test_vectors() {
        let leaves: Vec<_> = ENTRIES.iter().map(|entry| TreeHash::leaf(&hex::decode(entry).expect("hex"))).collect();
        assert_eq!(TreeHash::empty(), hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        for (size, root) in (1..).zip(ROOTS) {
            let Ok(found) = range(0, size, &mut perfect(&leaves));
            assert_eq!(found, hash(root), "{size} leaves");
        }
    }

    #[test]
    fn proofs_are_those_of_the_published_test_vectors() {
        let leaves: Vec<_> = ENTRIES.iter().map(|entry| TreeHash::leaf(&hex::decode(entry).expect("hex"))).collect();
        let Ok(found) = inclusion(0, 8, &mut perfect(&leaves));
        let expected = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        assert_eq!(found, expected.map(hash));
        let Ok(found) = inclusion(5, 8, &mut perfect(&leaves));
        let expected = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(found, expected.map(hash));
        let Ok(found) = consistency(1, 8, &mut perfect(&leaves));
        let expected = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        assert_eq!(found, expected.map(hash));
        let Ok(found) = consistency(6, 8, &mut perfect(&leaves));
        let expected = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(found, expected.map(hash));
    }

    #[test]
    fn proofs_of_every_small_tree_lead_to_its_root_and_to_no_other() {
        let all = leaves(40);
        for size in 1..=40_u64 {
            let root = naive(&all[..size as usize]);
            for index in 0..size {
                let Ok(proof) = inclusion(index, size, &mut perfect(&all));
                assert_eq!(root_above(all[index as usize], index, size, &proof), Some(root));
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(root_above(all[index as usize], other, size, &proof), Some(root), "{other} of {size}");
                }
            }
            for before in 0..=size {
                let first = (before, naive(&all[..before as usize]));
                let Ok(proof) = consistency(before, size, &mut perfect(&all));
                assert!(is_consistent(first, (size, root), &proof), "{before} to {size}");
                let other = TreeHash::leaf(b"another");
                assert!(!is_consistent((before, other), (size, root), &proof));
                // Every tree begins with the empty one.
                assert!(before == 0 || !is_consistent(first, (size, other), &proof));
                assert!(!is_consistent(first, (size, root), &[&proof[..], &[other]].concat()), "{before} to {size}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn proofs_of_any_tree_lead_to_its_root(size in 1..3_000_u64, at in any::<u64>(), bit in any::<usize>()) {
            let (all, index) = (leaves(size), at % size);
            let root = naive(&all);
            prop_assert_eq!(range(0, size, &mut perfect(&all)), Ok(root));
            let Ok(mut proof) = inclusion(index, size, &mut perfect(&all));
            let leaf = all[index as usize];
            prop_assert_eq!(root_above(leaf, index, size, &proof), Some(root));
            let first = (index + 1, naive(&all[..=index as usize]));
            let Ok(mut between) = consistency(first.0, size, &mut perfect(&all));
            prop_assert!(is_consistent(first, (size, root), &between));
            let flip = |hashes: &mut Vec<TreeHash>| {
                let bits = hashes.len() * 256;
                (bits > 0).then(|| hashes[bit % bits / 256].0[bit % 256 / 8] ^= 1 << (bit % 8))
            };
            if flip(&mut proof).is_some() {
                prop_assert_ne!(root_above(leaf, index, size, &proof), Some(root));
            }
            if flip(&mut between).is_some() {
                prop_assert!(!is_consistent(first, (size, root), &between));
            }
        }
    }
}
