//! The mask that a client puts over its payloads (RFC 6455 section 5.3).

/// Puts the mask on, or takes it off: the same step either way. The first byte of `bytes` meets the
/// first byte of `mask`.
pub(super) fn apply(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    // Native order on both sides: only the order in memory counts, and no byte is swapped for it.
    let word_mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);

    // Whole words of eight, so that the loop has no remainder inside and the compiler can widen it.
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ word_mask).to_ne_bytes();
    }
    for (byte, mask_byte) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask_byte;
    }
}

#[cfg(test)]
mod tests {
    use super::apply;

    #[test]
    fn every_length_and_alignment_is_masked_like_the_rfc_says() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..=99).collect();
        for start in 0..8 {
            for end in start..plain.len() {
                let mut masked = plain.clone();
                apply(&mut masked[start..end], mask);
                for (at, byte) in masked.iter().enumerate() {
                    let expected = if (start..end).contains(&at) {
                        plain[at] ^ mask[(at - start) % 4]
                    } else {
                        plain[at]
                    };
                    assert_eq!(*byte, expected, "byte {at} of {start}..{end}");
                }
            }
        }
    }
}
