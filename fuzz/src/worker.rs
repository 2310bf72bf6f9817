//! What a process that decodes says: messages within bounds, or nonsense; it ends with its bytes.

use ahwatch::isolate::{Said, read};
use ahwatch::window::Frame;

/// 400 days, in nanoseconds: no sum of such times overflows.
const LATEST: i64 = 400 * 86_400 * 1_000_000_000;

/// What it wrote.
pub fn run(data: &[u8]) {
    let mut from = data;
    loop {
        let before = from.len();
        let Ok(said) = read(&mut from, "a place") else { return };
        assert!(from.len() + 5 <= before, "a message takes its bytes");
        match said {
            Said::Frame(Frame::Sound { time, pcm }, refused) => {
                assert!((0..LATEST).contains(&time.as_nanos()) && pcm.len() <= 60 * 16_000 && refused < 1 << 20);
            }
            Said::Frame(Frame::Picture { time, image }, refused) => {
                assert!((0..LATEST).contains(&time.as_nanos()) && refused < 1 << 20);
                // Every value of every plane lies in its bytes.
                let (width, height) = (image.width as usize, image.height as usize);
                assert!(width > 0 && height > 0);
                for plane in 0..3 {
                    let (wide, high) =
                        if plane == 0 { (width, height) } else { (width.div_ceil(2), height.div_ceil(2)) };
                    let last = image.offsets[plane] + image.strides[plane] * (high - 1) + wide;
                    assert!(last <= image.data.len() && image.strides[plane] >= wide, "plane {plane}");
                }
            }
            Said::Finished(finish) => assert!((0..LATEST).contains(&finish.missing.as_nanos())),
            Said::Lost(loss) => assert!(!loss.reason.contains(['\n', '\u{1b}']), "{}", loss.reason),
            _ => {}
        }
    }
}
