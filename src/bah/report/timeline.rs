//! Each video over its time: what is annotated, what each judge said, what became of the rest.

use maud::{Markup, html};

use crate::alert::event::LabelWord;
use crate::bah::run_dir::{Said, Secs, VideoInfo};
use crate::bah::score::{ClipResult, Scored, VideoResult};

/// The videos of a run in three groups, those to look at first first.
pub(super) fn timelines(scored: &Scored, infos: &[VideoInfo]) -> Markup {
    let groups = [
        ("The panel is wrong or undecided", true, 0),
        ("The panel is right, its judges disagree", true, 1),
        ("All judges are right", false, 2),
    ];
    html! {
        p.legend {
            span.lane-key { i.annotated {} "annotated A/H" }
            span.lane-key { i.present { "Y" } "Yes" }
            span.lane-key { i.absent { "N" } "No" }
            span.lane-key { i.abstained { "?" } "abstained" }
            span.lane-key { i.not_asked {} "not asked" }
            span.lane-key { i.unjudged {} "no clip" }
        }
        @for (title, open, wanted) in groups {
            @let videos: Vec<_> = scored.videos.iter().zip(infos).filter(|(video, _)| group(video) == wanted).collect();
            details open[open && !videos.is_empty()] {
                summary { (title) " (" (videos.len()) ")" }
                @for (video, info) in videos { (card(scored, video, info)) }
            }
        }
    }
}

/// 0: wrong or undecided; 1: right, but not by all judges; 2: right by all.
fn group(video: &VideoResult) -> usize {
    let right = |label: &LabelWord| label.answer() == Some(video.label == 1);
    if !right(&video.vote_of_max) {
        0
    } else if !video.maxima.iter().all(right) {
        1
    } else {
        2
    }
}

fn card(scored: &Scored, video: &VideoResult, info: &VideoInfo) -> Markup {
    let length = video.elapsed_secs.max(0.001);
    let truth = if video.label == 1 { "A/H" } else { "no A/H" };
    let judges = scored.panel.iter().enumerate();
    html! {
        article.video {
            h4 { (video.video) }
            p {
                "truth " b { (truth) } ", panel " b { (video.vote_of_max.as_str()) }
                " (max_of_vote " (video.max_of_vote.as_str()) "), " (format!("{length:.1} s"))
                @if let Some(error) = &video.error { ", " b.bad { (error) } }
                @if !video.complete && video.error.is_none() { ", " b.bad { "not evaluated to its end" } }
            }
            div.lanes {
                (lane("annotated", "", &html! {
                    @for interval in info.intervals.iter().flatten() {
                        i.annotated style=(place(*interval, length)) title=(seconds(*interval)) {}
                    }
                }))
                @for (n, judge) in judges {
                    @let max = video.maxima.get(n).map_or("", |max| max.as_str());
                    (lane(&judge.name, max, &html! {
                        @for clip in &video.clips { (mark(clip, n, &judge.name, length)) }
                        @for rest in &video.unjudged {
                            i.unjudged style=(place(rest.span, length)) title=(format!("{}: {}", seconds(rest.span), rest.reason)) {}
                        }
                    }))
                }
            }
        }
    }
}

fn lane(name: &str, says: &str, marks: &Markup) -> Markup {
    html! { div.lane { span.name { (name) } span.track { (marks) } span.says { (says) } } }
}

fn mark(clip: &ClipResult, judge: usize, name: &str, length: f64) -> Markup {
    let Some(said) = clip.answers.get(judge).copied().flatten() else { return html! {} };
    let (class, sign, word) = match said {
        Said::Present => ("present", "Y", "Yes"),
        Said::Absent => ("absent", "N", "No"),
        Said::Abstained => ("abstained", "?", "abstained"),
        Said::NotAsked => ("not_asked", "", "not asked"),
    };
    let score = clip.scores.get(judge).copied().flatten();
    let score = score.map(|p| format!(", P(Yes) {p:.3}")).unwrap_or_default();
    let title = format!("{name}, {}: {word}{score}", seconds(clip.span));
    html! { i class=(class) style=(place(clip.span, length)) title=(title) { (sign) } }
}

fn seconds(span: Secs) -> String {
    format!("{:.1} to {:.1} s", span.start_secs, span.end_secs)
}

/// Where a stretch stands in a lane, in per cent of the video; what lies beyond its end is cut.
fn place(span: Secs, length: f64) -> String {
    let at = |secs: f64| (100.0 * secs / length).clamp(0.0, 100.0);
    let (left, right) = (at(span.start_secs), at(span.end_secs));
    format!("left:{left:.3}%;width:{:.3}%", (right - left).max(0.0))
}
