//! What must be known of encoded media without decoding it: where a decoder can begin.

use super::Codec;

/// Whether a decoder that knows nothing gets a whole, right picture from this unit. Sound always begins anew.
///
/// H.264 (Annex B): its parameter sets and an IDR picture from its first macroblock on, since what is cut off at the front would
/// be decoded into half a picture (ITU-T H.264, 7.3.3 and 7.4.1.2.4). VP8: a key frame with its start code (RFC 6386, 9.1).
pub(super) fn begins_anew(codec: Codec, unit: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::Vp8 => matches!(unit, [first, _, _, 0x9d, 0x01, 0x2a, ..] if first & 1 == 0),
        Codec::H264 => {
            let (mut sequence, mut picture) = (false, false);
            for nal in nal_units(unit) {
                match nal.first().map(|header| header & 0x1f) {
                    Some(7) => sequence = true,
                    Some(8) => picture = true,
                    // The first slice: `first_mb_in_slice` is 0, which Exp-Golomb writes as a single 1.
                    Some(5) => return sequence && picture && nal.get(1).is_some_and(|byte| byte & 0x80 != 0),
                    Some(1..=4) => return false,
                    _ => {}
                }
            }
            false
        }
    }
}

/// The NAL units between start codes of three or four bytes.
fn nal_units(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start(unit);
    std::iter::from_fn(move || {
        let nal = rest?;
        let end = nal.windows(3).position(|three| three == [0, 0, 1]).unwrap_or(nal.len());
        rest = nal.get(end..).and_then(after_start);
        nal.get(..end)
    })
}

fn after_start(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(3).position(|three| three == [0, 0, 1])?;
    bytes.get(at + 3..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect()
    }

    #[test]
    fn h264_begins_with_its_parameter_sets_and_a_whole_idr_picture() {
        let (sps, pps, idr) = (&[0x67, 0x42][..], &[0x68, 0xce][..], &[0x65, 0x88, 0x84][..]);
        assert!(begins_anew(Codec::H264, &h264(&[&[0x09, 0xf0], sps, pps, &[0x06, 5], idr])));
        assert!(!begins_anew(Codec::H264, &h264(&[pps, idr])));
        assert!(!begins_anew(Codec::H264, &h264(&[sps, idr])));
        assert!(!begins_anew(Codec::H264, &h264(&[sps, pps, &[0x65, 0x08, 0x84]])), "the first slice is gone");
        assert!(!begins_anew(Codec::H264, &h264(&[sps, pps, &[0x41, 0x9a]])), "a picture that leans on others");
        assert!(!begins_anew(Codec::H264, &[]));
        assert!(!begins_anew(Codec::H264, &[0, 0, 1]));
    }

    #[test]
    fn vp8_begins_with_a_key_frame() {
        assert!(begins_anew(Codec::Vp8, &[0x50, 0x42, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01]));
        assert!(!begins_anew(Codec::Vp8, &[0x51, 0x42, 0x00, 0x9d, 0x01, 0x2a]));
        assert!(!begins_anew(Codec::Vp8, &[0x50, 0x42, 0x00]));
    }
}
