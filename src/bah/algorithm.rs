//! Which clips training data is made of: Algorithm 1 of Tang et al. (arXiv 2603.13406), as spans. Pure.
//!
//! A negative video is one sample, whole. A positive one gives only its annotated intervals, each a sample of its own. A sample
//! longer than 5 s is cut at 5, 10, 15 s and so on; the last piece is dropped if it is shorter than 3 s; a shorter sample is
//! kept whole. It is the grid of the live cutter without overlap, with the same tolerances.

use crate::time::{MediaTime, Span};

/// Length of a full clip.
pub const CLIP: MediaTime = MediaTime::from_millis(5000);
/// The shortest last piece that is kept.
pub const SHORTEST: MediaTime = MediaTime::from_millis(3000);
/// Media this little short of a clip's end makes a full clip: timestamps are rounded.
pub const SHORT: MediaTime = MediaTime::from_millis(5);

/// A clip of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its number in the sample, from 1; None: the sample is kept whole.
    pub part: Option<u32>,
    /// Its span, on the timeline of the sample's.
    pub span: Span,
}

/// Whether a sample of this length is kept whole, so that its one clip has no number.
#[must_use]
pub fn is_whole(length: MediaTime) -> bool {
    length <= CLIP + SHORT
}

/// Cuts a sample: its clips, and the rest at its end that is dropped.
#[must_use]
pub fn cut(sample: Span) -> (Vec<Piece>, Option<Span>) {
    let length = sample.length();
    if sample.is_empty() {
        return (Vec::new(), None);
    }
    if is_whole(length) {
        let end = if length + SHORT >= CLIP { sample.start() + CLIP } else { sample.end() };
        let rest = Span::new(end, sample.end());
        return (
            vec![Piece { part: None, span: Span::new(sample.start(), end) }],
            Some(rest).filter(|r| !r.is_empty()),
        );
    }
    let mut pieces = Vec::new();
    let mut start = sample.start();
    while sample.end() + SHORT >= start + CLIP {
        pieces.push(Span::new(start, start + CLIP));
        start += CLIP;
    }
    let rest = Span::new(start, sample.end());
    let kept = rest.length() + SHORT >= SHORTEST;
    if kept {
        pieces.push(rest);
    }
    let pieces = (1..).zip(pieces).map(|(part, span)| Piece { part: Some(part), span }).collect();
    (pieces, Some(rest).filter(|rest| !kept && !rest.is_empty()))
}

/// A clip's name without extension, as the published scripts name it: `<stem>_<interval>_<part>`, each where there is one.
#[must_use]
pub fn clip_name(stem: &str, interval: Option<u32>, part: Option<u32>) -> String {
    let number = |n: Option<u32>| n.map(|n| format!("_{n}")).unwrap_or_default();
    format!("{stem}{}{}", number(interval), number(part))
}

/// How a video's time was used; sums to its length exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In at least one clip.
    pub clips: MediaTime,
    /// In no clip, but in a rest that was too short.
    pub tails: MediaTime,
    /// Outside of the annotated intervals of a positive video.
    pub outside: MediaTime,
}

/// Splits `video` into what lies in `clips`, else in `tails`, else outside; a second counts once. Returns what lies outside, too.
#[must_use]
pub fn usage(video: Span, clips: &[Span], tails: &[Span]) -> (Usage, Vec<Span>) {
    let mut edges: Vec<MediaTime> = clips.iter().chain(tails).flat_map(|s| [s.start(), s.end()]).collect();
    edges.extend([video.start(), video.end()]);
    edges.retain(|edge| (video.start()..=video.end()).contains(edge));
    edges.sort_unstable();
    edges.dedup();
    let covers =
        |spans: &[Span], piece: Span| spans.iter().any(|s| s.start() <= piece.start() && piece.end() <= s.end());
    let (mut usage, mut outside) = (Usage::default(), Vec::<Span>::new());
    for pair in edges.windows(2) {
        let piece = Span::new(pair[0], pair[1]);
        if covers(clips, piece) {
            usage.clips += piece.length();
        } else if covers(tails, piece) {
            usage.tails += piece.length();
        } else {
            usage.outside += piece.length();
            match outside.last_mut() {
                Some(last) if last.end() == piece.start() => *last = Span::new(last.start(), piece.end()),
                _ => outside.push(piece),
            }
        }
    }
    (usage, outside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::window::{Cutter, Cutting, Piece as Cut, Streams};

    fn span(start: i64, end: i64) -> Span {
        Span::new(MediaTime::from_millis(start), MediaTime::from_millis(end))
    }

    fn spans(sample: Span) -> Vec<(Option<u32>, i64, i64)> {
        let millis = |t: MediaTime| t.as_nanos() / 1_000_000;
        cut(sample).0.iter().map(|p| (p.part, millis(p.span.start()), millis(p.span.end()))).collect()
    }

    #[test]
    fn samples_are_cut_as_published() {
        assert_eq!(spans(span(1721, 4410)), [(None, 1721, 4410)]);
        assert_eq!(spans(span(1000, 6000)), [(None, 1000, 6000)]);
        assert_eq!(spans(span(0, 4997)), [(None, 0, 5000)]);
        assert_eq!((spans(span(0, 5003)), cut(span(0, 5003)).1), (vec![(None, 0, 5000)], Some(span(5000, 5003))));
        assert_eq!(spans(span(0, 5300)), [(Some(1), 0, 5000)]);
        assert_eq!(spans(span(3000, 11_600)), [(Some(1), 3000, 8000), (Some(2), 8000, 11_600)]);
        assert_eq!(spans(span(0, 12_999)), [(Some(1), 0, 5000), (Some(2), 5000, 10_000), (Some(3), 10_000, 12_999)]);
        assert_eq!(spans(span(0, 12_990)), [(Some(1), 0, 5000), (Some(2), 5000, 10_000)]);
        assert_eq!(cut(span(0, 7900)).1, Some(span(5000, 7900)));
        assert_eq!(cut(span(0, 10_000)).1, None);
        assert_eq!(cut(span(7, 7)), (vec![], None));
        assert_eq!(clip_name("a b_Video", Some(2), Some(1)), "a b_Video_2_1");
        assert_eq!((clip_name("v", None, Some(3)), clip_name("v", None, None)), ("v_3".into(), "v".into()));
    }

    proptest! {
        #[test]
        fn a_whole_video_is_cut_as_the_live_cutter_cuts_it(pictures in 1i64..900, fps in prop::sample::select(vec![25i64, 30])) {
            let cutting = Cutting { stall: CLIP, ..Cutting::RECORDING };
            let streams = Streams { audio: false, video: true };
            let mut cutter = Cutter::new(cutting, streams, Box::new(|_, (): &()| None));
            for n in 0..pictures {
                cutter.picture(MediaTime::from_nanos(n * 1_000_000_000 / fps), (), 0);
            }
            let mut found = Vec::new();
            let mut tail = None;
            let mut take = |piece| match piece {
                Cut::Window { span, .. } => found.push(span),
                Cut::Tail(span) => tail = Some(span),
            };
            while let Some(piece) = cutter.pop() {
                take(piece);
            }
            let (rest, _, end, _) = cutter.finish(true);
            rest.into_iter().for_each(take);
            let (pieces, dropped) = cut(Span::new(MediaTime::ZERO, end));
            prop_assert_eq!(pieces.iter().map(|p| p.span).collect::<Vec<_>>(), found);
            prop_assert_eq!(dropped, tail);
        }

        #[test]
        fn a_videos_time_is_accounted_for_exactly(
            length in 1i64..60_000,
            intervals in prop::collection::vec((0i64..60_000, 0i64..20_000), 0..5),
        ) {
            let video = span(0, length);
            let (mut clips, mut tails) = (Vec::new(), Vec::new());
            for (start, long) in intervals {
                let (pieces, tail) = cut(span(start.min(length), (start + long).min(length)));
                clips.extend(pieces.iter().map(|p| p.span));
                tails.extend(tail);
            }
            let (usage, outside) = usage(video, &clips, &tails);
            prop_assert_eq!(usage.clips + usage.tails + usage.outside, video.length());
            let listed = outside.iter().fold(MediaTime::ZERO, |sum, s| sum + s.length());
            prop_assert_eq!(listed, usage.outside);
            prop_assert!(outside.windows(2).all(|w| w[0].end() < w[1].start()));
        }
    }
}
