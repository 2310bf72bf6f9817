//! What a worker says, on its standard output: a length (32 bits, little-endian), a kind, and the message. Frames are raw bytes
//! behind a few numbers, all else is JSON. Whoever reads believes nothing: lengths, sizes and times are bounded, and a picture's planes
//! must lie in its bytes.

use std::io::{ErrorKind, Read, Write};

use bytes::{Buf as _, BufMut as _, Bytes};
use serde::{Deserialize, Serialize};

use super::Held;
use crate::source::{Finish, Image, Incoming, LARGEST_PICTURE, Loss, Matrix, SourceError};
use crate::time::MediaTime;
use crate::window::{Frame, Stream, Streams};

const CONTROL: u8 = 0;
const SOUND: u8 = 1;
const PICTURE: u8 = 2;
const IDLE: u8 = 3;

/// Three planes of the largest picture, with what decoders add to rows and columns.
const LONGEST: usize = 32 << 20;
/// Media times are below 400 days, so that no sum of them overflows.
const LATEST: i64 = 400 * 86_400 * 1_000_000_000;
/// Bytes before a picture's planes.
const PICTURE_HEAD: usize = 8 + 4 + 9 * 4;
/// A message's first reserve of memory; each next is as much as has come.
const RESERVE: usize = 64 << 10;

/// What was read.
#[derive(Debug)]
pub enum Said {
    /// It has given up what it does not need, and begins.
    Ready(Held),
    /// Which streams the source has.
    Streams(Streams),
    /// A frame, and how many were refused before it.
    Frame(Frame<Image>, u32),
    /// A stream has ended.
    StreamEnded(Stream),
    /// The source is away.
    Lost(Loss),
    /// Its end; errors name no location.
    Finished(Finish),
    /// It lives, and has nothing to say.
    Idle,
}

/// Nothing (more) that makes sense comes from a worker.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It ended, or is stopped or silent.
    #[error(transparent)]
    Ended(#[from] std::io::Error),
    /// It says what no worker of ours says.
    #[error("it said what makes no sense: {0}")]
    Nonsense(&'static str),
}

#[derive(Serialize, Deserialize)]
enum Control {
    Ready(Held),
    Streams { audio: bool, video: bool },
    Ended { audio: bool },
    Lost { reason: String, auth_failed: bool },
    Finished { complete: bool, missing: i64, error: Option<Failure> },
}

#[derive(Serialize, Deserialize)]
enum Failure {
    Unreadable(String),
    Media(String),
    Nothing,
    Truncated { end: i64, declared: i64 },
    NeverReached(String),
    Other(String),
}

/// Says that the worker begins.
///
/// # Errors
/// Nobody listens any more.
pub fn write_ready(to: &mut impl Write, held: Held) -> std::io::Result<()> {
    control(to, &Control::Ready(held))
}

/// Says what a source said; None: that there is nothing to say.
///
/// # Errors
/// Nobody listens any more.
pub fn write(to: &mut impl Write, message: Option<&Incoming>) -> std::io::Result<()> {
    match message {
        None => head(to, IDLE, 0),
        Some(Incoming::Streams(streams)) => {
            control(to, &Control::Streams { audio: streams.audio, video: streams.video })
        }
        Some(Incoming::StreamEnded(stream)) => control(to, &Control::Ended { audio: *stream == Stream::Audio }),
        Some(Incoming::Lost(Loss { reason, auth_failed })) => {
            control(to, &Control::Lost { reason: reason.clone(), auth_failed: *auth_failed })
        }
        Some(Incoming::Finished(finish)) => {
            let error = finish.error.as_ref().map(failure);
            control(to, &Control::Finished { complete: finish.complete, missing: finish.missing.as_nanos(), error })
        }
        Some(Incoming::Frame { frame: Frame::Sound { time, pcm }, refused, .. }) => {
            let mut body = Vec::with_capacity(12 + 2 * pcm.len());
            body.put_i64_le(time.as_nanos());
            body.put_u32_le(*refused);
            for value in pcm {
                body.put_i16_le(*value);
            }
            head(to, SOUND, body.len())?;
            to.write_all(&body)
        }
        Some(Incoming::Frame { frame: Frame::Picture { time, image }, refused, .. }) => {
            let mut numbers = Vec::with_capacity(PICTURE_HEAD);
            numbers.put_i64_le(time.as_nanos());
            numbers.put_u32_le(*refused);
            let of = |number: usize| u32::try_from(number).unwrap_or(u32::MAX); // refused by the reader
            let [s, o] = [image.strides.map(of), image.offsets.map(of)];
            let colour = u32::from(image.full_range) << 2 | matrix_number(image.matrix);
            for number in [image.width, image.height, colour, s[0], s[1], s[2], o[0], o[1], o[2]] {
                numbers.put_u32_le(number);
            }
            head(to, PICTURE, PICTURE_HEAD + image.data.len())?;
            to.write_all(&numbers)?;
            to.write_all(&image.data)
        }
    }
}

const fn matrix_number(matrix: Matrix) -> u32 {
    match matrix {
        Matrix::Bt601 => 0,
        Matrix::Bt709 => 1,
        Matrix::Bt2020 => 2,
    }
}

fn failure(error: &SourceError) -> Failure {
    match error {
        SourceError::Unreadable { reason, .. } => Failure::Unreadable(reason.clone()),
        SourceError::Media { reason, .. } => Failure::Media(reason.clone()),
        SourceError::Nothing { .. } => Failure::Nothing,
        SourceError::Truncated { end, declared, .. } => {
            Failure::Truncated { end: end.as_nanos(), declared: declared.as_nanos() }
        }
        SourceError::NeverReached { reason, .. } => Failure::NeverReached(reason.clone()),
        other => Failure::Other(other.to_string()),
    }
}

/// The error of a source at `location`.
fn error(failure: Failure, location: String) -> SourceError {
    match failure {
        Failure::Unreadable(reason) => SourceError::Unreadable { location, reason: line(&reason) },
        Failure::Media(reason) | Failure::Other(reason) => SourceError::Media { location, reason: line(&reason) },
        Failure::Nothing => SourceError::Nothing { location },
        Failure::Truncated { end, declared } => SourceError::Truncated {
            location,
            end: MediaTime::from_nanos(end),
            declared: MediaTime::from_nanos(declared),
        },
        Failure::NeverReached(reason) => SourceError::NeverReached { location, reason: line(&reason) },
    }
}

/// What a worker wrote for people.
fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

fn head(to: &mut impl Write, kind: u8, length: usize) -> std::io::Result<()> {
    let length = u32::try_from(length).map_err(|_| std::io::Error::from(ErrorKind::InvalidData))?;
    let [a, b, c, d] = length.to_le_bytes();
    to.write_all(&[a, b, c, d, kind])
}

fn control(to: &mut impl Write, message: &Control) -> std::io::Result<()> {
    let body = serde_json::to_vec(message)?;
    head(to, CONTROL, body.len())?;
    to.write_all(&body)
}

/// Reads the next message of the worker that plays what is at `location`.
///
/// # Errors
/// It ended, or says what makes no sense.
pub fn read(from: &mut impl Read, location: &str) -> Result<Said, WireError> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if length > LONGEST {
        return Err(WireError::Nonsense("a message longer than any"));
    }
    let mut body = Vec::new();
    fill(from, length, &mut body)?;
    match head[4] {
        CONTROL => {
            let control = serde_json::from_slice(&body).map_err(|_| WireError::Nonsense("an unknown message"))?;
            heard(control, location)
        }
        SOUND => sound(&body).ok_or(WireError::Nonsense("a block of sound")),
        PICTURE => picture(&Bytes::from(body)).ok_or(WireError::Nonsense("a picture")),
        IDLE if length == 0 => Ok(Said::Idle),
        _ => Err(WireError::Nonsense("an unknown kind")),
    }
}

/// Grows with what comes, not with what was promised.
fn fill(from: &mut impl Read, length: usize, body: &mut Vec<u8>) -> std::io::Result<()> {
    while body.len() < length {
        let step = (length - body.len()).min(body.len().max(RESERVE));
        body.reserve_exact(step);
        if from.by_ref().take(step as u64).read_to_end(body)? < step {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn heard(control: Control, location: &str) -> Result<Said, WireError> {
    let time = |nanos: i64| (0..LATEST).contains(&nanos);
    Ok(match control {
        Control::Ready(held) => Said::Ready(held),
        Control::Streams { audio, video } => Said::Streams(Streams { audio, video }),
        Control::Ended { audio } => Said::StreamEnded(if audio { Stream::Audio } else { Stream::Video }),
        Control::Lost { reason, auth_failed } => Said::Lost(Loss { reason: line(&reason), auth_failed }),
        Control::Finished { missing, error: Some(Failure::Truncated { end, declared }), .. }
            if !(time(end) && time(declared) && time(missing)) =>
        {
            return Err(WireError::Nonsense("a time"));
        }
        Control::Finished { missing, error, .. } if !time(missing) || missing != lacking(error.as_ref()) => {
            return Err(WireError::Nonsense("a time"));
        }
        Control::Finished { complete, missing, error: failed } => Said::Finished(Finish {
            complete,
            missing: MediaTime::from_nanos(missing),
            error: failed.map(|failure| error(failure, location.to_owned())),
        }),
    })
}

/// What is missing at the end of a recording that is shorter than its header says; of any other nothing is.
fn lacking(error: Option<&Failure>) -> i64 {
    match error {
        Some(Failure::Truncated { end, declared }) => declared - end,
        _ => 0,
    }
}

fn time(nanos: i64) -> Option<MediaTime> {
    (0..LATEST).contains(&nanos).then(|| MediaTime::from_nanos(nanos))
}

/// Frames that were let go before one. A worker that runs cannot have let go of a million.
fn refused(number: u32) -> Option<u32> {
    (number < 1 << 20).then_some(number)
}

fn sound(mut body: &[u8]) -> Option<Said> {
    let time = time(body.try_get_i64_le().ok()?)?;
    let refused = refused(body.try_get_u32_le().ok()?)?;
    let (values, rest) = body.as_chunks::<2>();
    // A minute in one block is none of ours.
    if !rest.is_empty() || values.len() > 60 * 16_000 {
        return None;
    }
    let pcm = values.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
    Some(Said::Frame(Frame::Sound { time, pcm }, refused))
}

fn picture(body: &Bytes) -> Option<Said> {
    let mut numbers = body.get(..PICTURE_HEAD)?;
    let time = time(numbers.try_get_i64_le().ok()?)?;
    let refused = refused(numbers.try_get_u32_le().ok()?)?;
    let mut next = || numbers.try_get_u32_le().ok();
    let (width, height, colour) = (next()?, next()?, next()?);
    let strides = [next()? as usize, next()? as usize, next()? as usize];
    let offsets = [next()? as usize, next()? as usize, next()? as usize];
    let data = body.slice(PICTURE_HEAD..);
    if !(1..=LARGEST_PICTURE).contains(&width) || !(1..=LARGEST_PICTURE).contains(&height) {
        return None;
    }
    let (wide, high) = (width as usize, height as usize);
    for (plane, (stride, offset)) in strides.into_iter().zip(offsets).enumerate() {
        let (wide, high) = if plane == 0 { (wide, high) } else { (wide.div_ceil(2), high.div_ceil(2)) };
        let end = stride.checked_mul(high - 1)?.checked_add(offset)?.checked_add(wide)?;
        if stride < wide || end > data.len() {
            return None;
        }
    }
    let matrix =
        [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020].into_iter().find(|m| matrix_number(*m) == colour & 3)?;
    let image = Image { data, width, height, strides, offsets, matrix, full_range: colour & 4 != 0 };
    Some(Said::Frame(Frame::Picture { time, image }, refused))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::monotonic;

    fn frame(frame: Frame<Image>) -> Incoming {
        Incoming::Frame { frame, arrival: monotonic(), refused: 3 }
    }

    fn small_picture(width: u32, height: u32) -> Image {
        let luma = (width * height) as usize;
        let half = (width.div_ceil(2) * height.div_ceil(2)) as usize;
        Image {
            data: (0..luma + 2 * half).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<_>>().into(),
            width,
            height,
            strides: [width as usize, width.div_ceil(2) as usize, width.div_ceil(2) as usize],
            offsets: [0, luma, luma + half],
            matrix: Matrix::Bt709,
            full_range: true,
        }
    }

    fn written(messages: &[Incoming]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            write(&mut bytes, Some(message)).unwrap();
        }
        write(&mut bytes, None).unwrap();
        bytes
    }

    fn all() -> Vec<Incoming> {
        let error = SourceError::Truncated {
            location: "x.mp4".into(),
            end: MediaTime::from_millis(5),
            declared: MediaTime::from_millis(9),
        };
        vec![
            Incoming::Streams(Streams { audio: true, video: false }),
            frame(Frame::Picture { time: MediaTime::from_millis(40), image: small_picture(6, 4) }),
            frame(Frame::Sound { time: MediaTime::from_millis(20), pcm: vec![1, -2, i16::MIN] }),
            Incoming::StreamEnded(Stream::Audio),
            Incoming::Lost(Loss { reason: "away".into(), auth_failed: true }),
            Incoming::Finished(Finish { complete: false, missing: MediaTime::from_millis(4), error: Some(error) }),
        ]
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        let bytes = written(&all());
        let mut rest = bytes.as_slice();
        for sent in all() {
            let same = match (read(&mut rest, "x.mp4").unwrap(), sent) {
                (Said::Streams(heard), Incoming::Streams(said)) => heard == said,
                (Said::StreamEnded(heard), Incoming::StreamEnded(said)) => heard == said,
                (Said::Lost(heard), Incoming::Lost(said)) => heard == said,
                (Said::Finished(heard), Incoming::Finished(said)) => format!("{heard:?}") == format!("{said:?}"),
                (Said::Frame(heard, 3), Incoming::Frame { frame: said, .. }) => match (heard, said) {
                    (Frame::Sound { time, pcm }, Frame::Sound { time: t, pcm: p }) => (time, pcm) == (t, p),
                    (Frame::Picture { time, image }, Frame::Picture { time: t, image: i }) => {
                        time == t && image.data == i.data && image.offsets == i.offsets && image.matrix == i.matrix
                    }
                    _ => false,
                },
                _ => false,
            };
            assert!(same);
        }
        assert!(matches!(read(&mut rest, ""), Ok(Said::Idle)) && rest.is_empty());
    }

    #[test]
    fn memory_grows_with_what_comes_and_large_messages_are_whole() {
        for promised in [LONGEST, 3_000_000] {
            let mut body = Vec::new();
            let sent = vec![7; 100_000];
            assert!(fill(&mut sent.as_slice(), promised, &mut body).is_err());
            assert!(body.capacity() <= 300_000, "{}", body.capacity());
        }
        let sent: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let (mut body, mut rest) = (Vec::new(), sent.as_slice());
        fill(&mut rest, 2_999_000, &mut body).unwrap();
        assert!(body == sent[..2_999_000] && rest.len() == 1000);
        assert_eq!(body.capacity(), body.len(), "frames that wait hold no more");
    }

    #[test]
    fn what_was_missing_is_what_the_header_said_or_nothing() {
        let finished = |missing, error| heard(Control::Finished { complete: false, missing, error }, "x");
        let truncated = || Some(Failure::Truncated { end: 3, declared: 8 });
        assert!(matches!(finished(5, truncated()), Ok(Said::Finished(finish)) if finish.missing.as_nanos() == 5));
        assert!(finished(0, None).is_ok() && finished(0, Some(Failure::Nothing)).is_ok());
        for (missing, error) in [(LATEST - 1, None), (5, Some(Failure::Nothing)), (6, truncated()), (LATEST, None)] {
            assert!(matches!(finished(missing, error), Err(WireError::Nonsense(_))), "{missing}");
        }
    }

    proptest! {
        /// Whatever a worker that was taken over writes, it is an error or a message within its bounds.
        #[test]
        fn whatever_is_written_never_panics(at in 0usize..400, with: Vec<u8>, cut in 0usize..600) {
            let mut bytes = written(&all());
            let at = at.min(bytes.len());
            let until = bytes.len().min(at + with.len());
            bytes.splice(at..until, with);
            bytes.truncate(bytes.len().saturating_sub(cut / 4));
            let mut rest = bytes.as_slice();
            while let Ok(said) = read(&mut rest, "x") {
                if let Said::Frame(Frame::Picture { image, time }, _) = said {
                    prop_assert!(image.width <= LARGEST_PICTURE && time.as_nanos() < LATEST);
                    for plane in 0..3 {
                        let (wide, high) = if plane == 0 { (image.width, image.height) } else { (image.width.div_ceil(2), image.height.div_ceil(2)) };
                        prop_assert_eq!(image.row(plane, high as usize - 1, wide as usize).len(), wide as usize);
                    }
                }
            }
        }
    }
}
