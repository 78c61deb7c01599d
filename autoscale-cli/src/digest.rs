//! Short names for contents.

/// FNV-1a in 128 bits, as hexadecimal digits: what one machine keeps will not meet in it by chance.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let (offset, prime) = (0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, 0x0100_0000_0000_0000_0000_013b);
    let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(prime);
    let hash = parts.into_iter().fold(offset, |hash, part| {
        // Its length first, so that no two lists of parts run into the same bytes.
        let length = (part.len() as u64).to_le_bytes();
        length.iter().chain(part).fold(hash, |hash, &byte| step(hash, byte))
    });
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn parts_count_one_by_one() {
        let of = |parts: &[&str]| digest(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
    }
}
