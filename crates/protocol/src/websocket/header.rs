//! The header of a frame (RFC 6455 section 5.2), read and written.

use super::{CONTROL_BYTES_MAX, Opcode, Role, Violation};

/// Two bytes, a 64-bit length and a mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE_BITS: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
const LENGTH_IN_2_BYTES: u8 = 126;
const LENGTH_IN_8_BYTES: u8 = 127;

/// The header of one frame that came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// All zero for a frame without a mask, which changes nothing when it is applied.
    pub(super) mask: [u8; 4],
    pub(super) payload_bytes: usize,
    /// What the header itself takes.
    pub(super) header_bytes: usize,
}

/// What the next frame may be, by our role and by the message that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    pub(super) role: Role,
    pub(super) message_open: bool,
    pub(super) fragments_left: u32,
    pub(super) message_bytes_left: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` as long as it is not whole.
    ///
    /// Every rule is checked as soon as the bytes it needs are there, in the order of these bytes.
    /// So a start of the input is refused with the same violation as the whole of it, and a peer
    /// learns of a message that is too big before it sends any of it.
    pub(super) fn parse(bytes: &[u8], allowed: Allowed) -> Result<Option<Self>, Violation> {
        let [first, rest @ ..] = bytes else {
            return Ok(None);
        };
        let fin = first & FIN != 0;
        let opcode = parse_opcode(*first, fin, allowed)?;

        let [second, rest @ ..] = rest else {
            return Ok(None);
        };
        let masked = second & MASKED != 0;
        match (allowed.role, masked) {
            (Role::Server, false) => return Err(Violation::MaskMissing),
            (Role::Client, true) => return Err(Violation::MaskUnexpected),
            (Role::Server, true) | (Role::Client, false) => {}
        }

        let short_length = second & LENGTH_BITS;
        if opcode.is_control() && usize::from(short_length) > CONTROL_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
        let Some((length, rest)) = parse_length(short_length, rest)? else {
            return Ok(None);
        };
        let payload_bytes = usize::try_from(length).map_err(|_| Violation::TooBig)?;
        if !opcode.is_control() && payload_bytes > allowed.message_bytes_left {
            return Err(Violation::TooBig);
        }

        let (mask, rest) = match (masked, rest) {
            (false, rest) => ([0; 4], rest),
            (true, [a, b, c, d, rest @ ..]) => ([*a, *b, *c, *d], rest),
            (true, _) => return Ok(None),
        };
        let header_bytes = bytes.len() - rest.len();
        Ok(Some(Self { fin, opcode, mask, payload_bytes, header_bytes }))
    }
}

fn parse_opcode(first: u8, fin: bool, allowed: Allowed) -> Result<Opcode, Violation> {
    if first & RESERVED_BITS != 0 {
        return Err(Violation::ReservedBit);
    }
    let opcode = Opcode::from_bits(first & OPCODE_BITS).ok_or(Violation::ReservedOpcode)?;
    if opcode.is_control() {
        return if fin { Ok(opcode) } else { Err(Violation::FragmentedControl) };
    }
    match (opcode, allowed.message_open) {
        (Opcode::Continuation, false) => return Err(Violation::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, true) => return Err(Violation::UnfinishedMessage),
        _ => {}
    }
    let is_fragment = allowed.message_open || !fin;
    if is_fragment && allowed.fragments_left == 0 {
        return Err(Violation::TooManyFragments);
    }
    Ok(opcode)
}

/// The length and what follows it; `None` as long as it is not whole.
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    match short {
        LENGTH_IN_2_BYTES => {
            let Some((length, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let length = u64::from(u16::from_be_bytes(*length));
            if length < u64::from(LENGTH_IN_2_BYTES) {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((length, rest)))
        }
        LENGTH_IN_8_BYTES => {
            let Some((length, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(*length);
            if length > i64::MAX.cast_unsigned() {
                return Err(Violation::LengthHighBit);
            }
            if length <= u64::from(u16::MAX) {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((length, rest)))
        }
        length => Ok(Some((u64::from(length), rest))),
    }
}

/// Appends the header of an unfragmented frame, with a mask if there is one.
pub(super) fn write(opcode: Opcode, payload_bytes: usize, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let mask_bit = if mask.is_some() { MASKED } else { 0 };
    out.push(FIN | opcode.bits());
    // The conversions choose the fewest bytes that hold the length, as the RFC requires.
    match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(length), _) if length < LENGTH_IN_2_BYTES => out.push(mask_bit | length),
        (_, Ok(length)) => {
            out.push(mask_bit | LENGTH_IN_2_BYTES);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(mask_bit | LENGTH_IN_8_BYTES);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
    }
}

/// What the header of a frame without a mask takes, told by the length of its payload. Exact, so
/// that a frame's buffer is made in its final size.
pub(super) const fn unmasked_bytes(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// The same, told by the second byte of the header.
pub(super) const fn unmasked_bytes_of(second: u8) -> usize {
    match second & LENGTH_BITS {
        LENGTH_IN_2_BYTES => 4,
        LENGTH_IN_8_BYTES => 10,
        _ => 2,
    }
}

/// The opcode in the first byte of a frame; `None` if it is reserved.
pub(super) const fn opcode_of(first: u8) -> Option<Opcode> {
    Opcode::from_bits(first & OPCODE_BITS)
}
