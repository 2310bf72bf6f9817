//! A window before the panel.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::alert::WindowQuality;
use crate::config::ClipCodec;
use crate::encode::{ClipSet, clips};
use crate::gate::Flags;
use crate::judge::panel::{Due, Panel};
use crate::judge::{DropReason, Outcome, Verdict, Vote};
use crate::record::Media;
use crate::run::blocking;
use crate::stage::{Stage, Stages};
use crate::time::monotonic;
use crate::window::Window;

/// A window whose verdict is known.
pub(super) struct Judged {
    pub verdict: Verdict,
    pub quality: WindowQuality,
    /// What the panel was sent, until it is known whether that is to be recorded.
    pub media: Option<Media>,
    /// It had one of the places before the panel.
    pub asked: bool,
}

/// How a window is put to the panel.
pub(super) struct How {
    pub codec: ClipCodec,
    /// Which judges are asked.
    pub asks: Vec<bool>,
    pub due: Due,
    pub stages: Stages,
}

pub(super) type Judgement = Pin<Box<dyn Future<Output = Judged> + Send>>;

/// A window that waits for its place before the panel.
pub(super) struct Waiting {
    pub window: Arc<Window>,
    /// When the frame that completed it arrived.
    pub at: Instant,
    pub flags: Noticed,
}

/// The flags of a window, or where they will come from.
pub(super) enum Noticed {
    Now(Option<Flags>),
    Soon(oneshot::Receiver<Flags>),
}

impl Noticed {
    /// None: it was not looked at, for want of time.
    async fn wait(self) -> Option<Flags> {
        match self {
            Self::Now(flags) => flags,
            Self::Soon(flags) => flags.await.ok(),
        }
    }

    /// The same, but no longer than until then, if so said.
    async fn wait_until(self, latest: Option<tokio::time::Instant>) -> Option<Flags> {
        match latest {
            Some(latest) => tokio::time::timeout_at(latest, self.wait()).await.ok().flatten(),
            None => self.wait().await,
        }
    }
}

/// The next window's turn before the panel.
pub(super) type Turn = Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>;

/// Pending where nobody is in line.
pub(super) async fn next_turn(turn: &mut Option<Turn>) -> OwnedSemaphorePermit {
    match turn {
        Some(turn) => turn.await,
        None => std::future::pending().await,
    }
}

pub(super) fn verdict(window: &Window, votes: Vec<Vote>) -> Verdict {
    Verdict { window: window.id, span: window.span, outcome: Outcome::Votes(votes) }
}

pub(super) fn quality(window: &Window, flags: Option<Flags>) -> WindowQuality {
    WindowQuality { flags, ..WindowQuality::from(window) }
}

/// A window that a newer one took the place of. Its flags are waited for all the same.
pub(super) async fn dropped(older: Waiting) -> Judged {
    let Waiting { window, flags, .. } = older;
    let outcome = Outcome::Dropped(DropReason::Overload);
    let verdict = Verdict { window: window.id, span: window.span, outcome };
    let flags = flags.wait().await;
    Judged { verdict, quality: quality(&window, flags), media: None, asked: false }
}

/// Encodes a window and puts it to the panel, whose turn it is. A live window gives its turn back as soon as it has its votes,
/// and is told by when its last judge is due, with or without flags: however slow this machine is at noticing them, no place at a
/// `base_url` is idle for it and no verdict grows old. Windows of a recording keep it, so that no more of them are held than are asked about.
pub(super) async fn judge(
    panel: Arc<Panel>,
    turn: OwnedSemaphorePermit,
    waiting: Waiting,
    how: How,
    source: Arc<str>,
) -> Judged {
    let How { codec, asks, due, stages } = how;
    let Waiting { window, at, flags } = waiting;
    let turned = monotonic();
    stages.took(Stage::Wait, turned.saturating_duration_since(at));
    let mut verdict = verdict(&window, Vec::new());
    let id = window.id;
    let anyone = asks.iter().any(|asked| *asked);
    let sizes: BTreeSet<u32> = if anyone { panel.clip_sizes() } else { BTreeSet::new() };
    let pictures = Arc::clone(&window);
    let encoded = blocking(move || clips(&pictures, codec, &sizes)).await;
    stages.took(Stage::Encode, turned.elapsed());
    let set = match encoded {
        Some(Ok(set)) => set,
        // Every judge then abstains with the reason "encoding".
        Some(Err(error)) => {
            tracing::error!(%source, %error, "a clip could not be built");
            ClipSet::new()
        }
        None => ClipSet::new(),
    };
    let asking = monotonic();
    let after_ms = (asking - at).as_secs_f64() * 1e3;
    tracing::debug!(%source, continuity = id.continuity, window = id.index, after_ms, "asking the panel");
    let quality = WindowQuality::from(&*window);
    // The clips hold all that is needed; a window's own pictures need not wait for answers.
    drop(window);
    verdict.outcome = Outcome::Votes(panel.judge(&set, &asks, due).await);
    stages.took(Stage::Panel, asking.elapsed());
    let media = Some(Media::sent(&set, &panel));
    let (kept, latest) = match due {
        Due::After(end) => {
            drop(turn);
            (None, panel.judges().iter().map(|judge| end + judge.config().deadline).max())
        }
        Due::AfterSending => (Some(turn), None),
    };
    let flags = flags.wait_until(latest).await;
    drop(kept);
    Judged { verdict, quality: WindowQuality { flags, ..quality }, media, asked: true }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, Judging, Overrides, RawConfig};
    use crate::window::tests::empty;

    /// A panel of one that nobody answers for, with one place.
    fn panel() -> Arc<Panel> {
        let text = "[[judge]]\nname = \"v1\"\nmodel = \"m\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmax_in_flight = 1\n";
        let raw = RawConfig::parse(text, Path::new("test"));
        match Config::build(raw, Overrides::default(), &|_| None).unwrap().judging {
            Judging::Panel(judges) => Arc::new(Panel::new(&judges).unwrap()),
            Judging::Cues { .. } => unreachable!("a panel is configured"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_live_window_does_not_hold_its_turn_or_grow_old_for_its_flags() {
        let (panel, end) = (panel(), tokio::time::Instant::now());
        for (due, is_live) in [(Due::After(end), true), (Due::AfterSending, false)] {
            let turn = Arc::clone(&panel).turn().await;
            let (sender, flags) = oneshot::channel();
            let waiting = Waiting { window: Arc::new(empty(0)), at: monotonic(), flags: Noticed::Soon(flags) };
            let how = How { codec: ClipCodec::Jpeg, asks: vec![true], due, stages: Stages::default() };
            let judging = judge(Arc::clone(&panel), turn, waiting, how, "a".into());
            let mut judging = Box::pin(judging);
            let mut next = Box::pin(Arc::clone(&panel).turn());
            let freed = tokio::select! {
                turn = &mut next => Some(turn),
                () = tokio::time::sleep(Duration::from_secs(15)) => None,
                _ = &mut judging => unreachable!("its flags have not come"),
            };
            assert_eq!(freed.is_some(), is_live);
            // The deadline is 20 s; the other waits on.
            let judged = tokio::time::timeout(Duration::from_secs(60), &mut judging).await;
            assert_eq!(judged.is_ok(), is_live);
            if is_live {
                assert!(end.elapsed() < Duration::from_secs(21), "{:?}", end.elapsed());
            }
            drop((sender, judging));
        }
    }
}
