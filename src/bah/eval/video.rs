//! One video's way: its windows in order, each put to the judges that have not said their word on it yet.
//!
//! Windows of one video go one after the other, so that early stop always leaves out the same clips; many videos go at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::ledger::is_settled;
use crate::bah::algorithm::{clip_name, is_whole};
use crate::bah::run_dir::{AnswerLine, JudgeInfo, Said, ScoreLine, Secs, Unjudged, VideoInfo, VideoLine, Windows};
use crate::bah::score::vote;
use crate::config::ClipCodec;
use crate::digest::sha256;
use crate::encode::{ClipSet, clips};
use crate::judge::panel::{Due, Panel};
use crate::judge::prompt::Accepts;
use crate::judge::proof::{Proof, VoteFlag};
use crate::judge::{Answer, LostReason, Outcome, Verdict, Vote, WindowId};
use crate::run::{FromSource, blocking};
use crate::session::{Session, SessionSettings};
use crate::time::{Span, wall};
use crate::window::{Cut, Window};

/// What a video's task says.
#[derive(Debug)]
pub enum Told {
    /// A judge's word on a clip.
    Sample(Box<AnswerLine>),
    /// The video is over.
    Ended(Box<VideoLine>),
}

/// A video that is evaluated.
#[derive(Debug)]
pub struct VideoTask {
    /// Which.
    pub info: VideoInfo,
    /// Its name without `.mp4`, for its clips.
    pub stem: String,
    /// What is known of it already.
    pub known: Windows,
    /// Who judges.
    pub panel: Arc<Panel>,
    /// The same as they are written down.
    pub judges: Arc<Vec<JudgeInfo>>,
    /// How pictures travel.
    pub codec: ClipCodec,
    /// The settings of its session.
    pub settings: Arc<SessionSettings>,
    /// Whether it comes by the live path, where a window's time to be judged counts from its end.
    pub live: bool,
}

/// The digest of what each judge was sent, in panel order.
type Digests = Vec<Option<String>>;

fn secs(span: Span) -> Secs {
    Secs { start_secs: span.start().as_secs_f64(), end_secs: span.end().as_secs_f64() }
}

impl VideoTask {
    /// Takes what the cutting thread says until it is done; false: nobody wants to know any more.
    pub async fn run(self, mut queue: mpsc::Receiver<FromSource>, tell: mpsc::Sender<Told>) -> bool {
        let id: Arc<str> = self.info.id.as_str().into();
        let mut session = Session::new(Arc::clone(&id), id, Arc::clone(&self.settings));
        let mut end = VideoLine { video: self.info.id.clone(), elapsed_secs: 0.0, unjudged: Vec::new(), error: None };
        let (mut finished, mut sessions) = (false, 0);
        let lost = |span: Span, window: Option<WindowId>, reason: &str, end: &mut VideoLine| {
            let window = window.map(|id| (id.continuity, id.index));
            end.unjudged.push(Unjudged { span: secs(span), window, reason: reason.into() });
        };
        let mut ahead = VecDeque::new();
        while let Some(message) = next(&mut queue, &mut ahead).await {
            match message {
                FromSource::Cut(Cut::SessionBegan, _) => {
                    sessions += 1;
                    if sessions > 1 {
                        end.error = Some("it broke off for longer than a session's gap".into());
                        break;
                    }
                }
                FromSource::Cut(Cut::Window(window), at) => {
                    let (id, full) = (window.id, window.full);
                    let first = (id.continuity, id.index) == (0, 0);
                    // While the judges are asked: what they say is written down as soon as the clip has its name.
                    let look = async { first && !(full && goes_on(&mut queue, &mut ahead).await) };
                    let ((verdict, lines), whole) = tokio::join!(self.window(&session, *window, at), look);
                    let clip = clip_name(&self.stem, None, Some(id.index + 1).filter(|_| !whole));
                    for line in lines {
                        let line = AnswerLine { clip: clip.clone(), ..line };
                        if tell.send(Told::Sample(Box::new(line))).await.is_err() {
                            return false;
                        }
                    }
                    session.apply(&verdict, wall());
                }
                FromSource::Cut(Cut::Unjudgeable { id, span, reason }, _) => {
                    session.apply(&Verdict { window: id, span, outcome: Outcome::Lost(reason) }, wall());
                    lost(span, Some(id), word(reason), &mut end);
                }
                FromSource::Cut(Cut::Outage(span), _) => lost(span, None, word(LostReason::Outage), &mut end),
                FromSource::Cut(Cut::Tail(span), _) => lost(span, None, "tail", &mut end),
                FromSource::Cut(Cut::SessionEnded { elapsed }, _) => end.elapsed_secs = elapsed.as_secs_f64(),
                // Nobody pauses a video.
                FromSource::Cut(Cut::ContinuityBegan { .. } | Cut::ContinuityEnded { .. } | Cut::Paused(_), _)
                | FromSource::Restored
                | FromSource::Paused(_)
                | FromSource::Resumed(_)
                | FromSource::Released => {}
                FromSource::Lost(loss) => {
                    // Only of the live path, whose server is ours: it does not come back.
                    end.error = Some(format!("the stream was lost: {}", loss.reason));
                    break;
                }
                FromSource::Finished(finish) => {
                    finished = true;
                    end.error = finish.error.map(|error| error.to_string());
                }
            }
        }
        if !finished && end.error.is_none() {
            // Stopped: it is no end, and the next time goes on.
            return true;
        }
        tell.send(Told::Ended(Box::new(end))).await.is_ok()
    }

    /// A window's verdict: known votes, and those that are asked for now, each with its line, which does not say the clip's name
    /// yet.
    async fn window(&self, session: &Session, window: Window, at: Instant) -> (Verdict, Vec<AnswerLine>) {
        let (id, span) = (window.id, window.span);
        let none = BTreeMap::new();
        let known = self.known.get(&(id.continuity, id.index)).unwrap_or(&none);
        let settled = |judge: &JudgeInfo| known.get(&judge.name).filter(|line| is_settled(line));
        let wanted: Vec<bool> = self.judges.iter().map(|judge| session.asks(&judge.name)).collect();
        let asks: Vec<bool> =
            self.judges.iter().zip(&wanted).map(|(judge, wanted)| *wanted && settled(judge).is_none()).collect();
        let (set, digests) = if asks.contains(&true) { self.encode(window).await } else { Default::default() };
        let due = if self.live { Due::After(at.into()) } else { Due::AfterSending };
        let fresh = self.panel.judge(&set, &asks, due).await;
        let proofs = self.panel.proofs();
        let (mut votes, mut lines) = (Vec::new(), Vec::new());
        for (n, ((judge, asked), new)) in self.judges.iter().zip(&asks).zip(fresh).enumerate() {
            if let (Some(line), false) = (settled(judge), *asked) {
                votes.push(vote(line));
                continue;
            }
            let mut line = self.line(judge, &new, id, span);
            line.media_sha256 = digests.get(n).cloned().flatten().filter(|_| new.attempts > 0);
            let unchecked = proofs.get(n) == Some(&Proof::NotChecked) && line.answer.is_answer();
            line.flag =
                new.flag.map(VoteFlag::as_str).or(unchecked.then_some(Proof::NotChecked.as_str())).map(str::to_owned);
            lines.push(line);
            votes.push(new);
        }
        (Verdict { window: id, span, outcome: Outcome::Votes(votes) }, lines)
    }

    async fn encode(&self, window: Window) -> (ClipSet, Digests) {
        let (codec, sizes, video) = (self.codec, self.panel.clip_sizes(), self.info.id.clone());
        let judges: Vec<_> = self.panel.judges().iter().map(|j| (j.config().accepts, j.config().max_pixels)).collect();
        let encoded = blocking(move || {
            let set = match clips(&window, codec, &sizes) {
                Ok(set) => set,
                // Every judge then abstains with the reason "encoding".
                Err(error) => {
                    tracing::error!(video, %error, "a clip could not be built");
                    ClipSet::new()
                }
            };
            let digest = |accepts: Accepts, max_pixels: u32| {
                let clip = set.fitting(max_pixels, accepts.video)?;
                let parts = [clip.video().filter(|_| accepts.video), clip.audio().filter(|_| accepts.audio)];
                Some(sha256(parts.into_iter().flatten()))
            };
            let mut known = BTreeMap::new();
            let digests = judges.into_iter().map(|(accepts, max_pixels)| {
                let same = known.entry((max_pixels, accepts.video, accepts.audio));
                same.or_insert_with(|| digest(accepts, max_pixels)).clone()
            });
            let digests = digests.collect();
            (set, digests)
        });
        encoded.await.unwrap_or_default()
    }

    fn line(&self, judge: &JudgeInfo, vote: &Vote, id: WindowId, span: Span) -> AnswerLine {
        let (answer, why) = match &vote.answer {
            Answer::Present => (Said::Present, None),
            Answer::Absent => (Said::Absent, None),
            Answer::NotAsked => (Said::NotAsked, None),
            Answer::Abstained(why) => (Said::Abstained, Some(why)),
        };
        AnswerLine {
            video: self.info.id.clone(),
            clip: String::new(),
            window: (id.continuity, id.index),
            span: secs(span),
            judge: judge.name.clone(),
            answer,
            reason: why.map(|why| why.reason.as_str().to_owned()),
            detail: why.map(|why| why.detail.clone()),
            flag: None,
            score: vote.score.map(|score| ScoreLine { p_yes: score.p_yes, label_mass: score.label_mass }),
            raw: vote.raw.as_ref().map(ToString::to_string),
            latency_ms: (vote.latency.as_secs_f64() * 1e4).round() / 10.0,
            attempts: vote.attempts,
            prompt_sha256: judge.prompt_sha256.clone(),
            media_sha256: None,
            server_version: judge.server_version.clone().filter(|_| vote.attempts > 0),
        }
    }
}

/// The next message, those first that were looked at already.
async fn next(queue: &mut mpsc::Receiver<FromSource>, ahead: &mut VecDeque<FromSource>) -> Option<FromSource> {
    match ahead.pop_front() {
        Some(message) => Some(message),
        None => queue.recv().await,
    }
}

/// Whether a video has more than its first full window, by what comes next, which is kept. Else it is one clip, whose name has no
/// number.
async fn goes_on(queue: &mut mpsc::Receiver<FromSource>, ahead: &mut VecDeque<FromSource>) -> bool {
    while let Some(message) = queue.recv().await {
        let known = match &message {
            FromSource::Cut(Cut::SessionEnded { elapsed }, _) => Some(!is_whole(*elapsed)),
            FromSource::Cut(Cut::Tail(_) | Cut::ContinuityEnded { .. }, _) | FromSource::Restored => None,
            _ => Some(true),
        };
        ahead.push_back(message);
        if let Some(known) = known {
            return known;
        }
    }
    true
}

const fn word(reason: LostReason) -> &'static str {
    match reason {
        LostReason::Outage => "outage",
        LostReason::MissingMedia => "missing_media",
        LostReason::AllAbstained => "abstained",
    }
}
