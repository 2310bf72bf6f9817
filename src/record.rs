//! Clips kept for review (`--record DIR`): off unless asked for, and the only place where `watch` writes picture or sound to a disk.
//!
//! Kept are the windows whose label is Present and those that raised an alert, as DIR/SESSION/CONTINUITY-INDEX with `.mp4` and
//! `.wav` (what the judges were sent) and `.json` (the window's event, the same line as on standard output). All names are
//! made of numbers: no name of a source, and nothing else a user or a camera chose, is ever part of a path.
//!
//! A clip that cannot be written costs nobody a verdict: it is counted and said.

use std::fs::{DirBuilder, File, OpenOptions};
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::alert::stdout::json_line;
use crate::alert::{Event, EventKind};
use crate::config::ClipCodec;
use crate::encode::{ClipSet, clips};
use crate::judge::panel::Panel;
use crate::judge::{Label, WindowId};
use crate::run::blocking;
use crate::window::Window;

/// So many clips of a source may wait for a slow disk; more are counted as not recorded, since they are held in memory.
const MOST_PENDING: usize = 8;
/// At a session's end its last clips may take so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why clips cannot be recorded there.
#[derive(Debug, thiserror::Error)]
#[error("--record {}: {what}: {error}; name a directory that this user may write to", dir.display())]
pub struct RecordError {
    dir: PathBuf,
    what: &'static str,
    error: io::Error,
}

/// The directory that clips are kept in.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
}

impl Records {
    /// Makes the directory, for this user alone, if it is not there, and sees that it can be written to.
    ///
    /// # Errors
    /// It cannot be.
    pub fn open(dir: &Path) -> Result<Arc<Self>, RecordError> {
        let wrong = |what| move |error| RecordError { dir: dir.to_owned(), what, error };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(wrong("cannot be created"))?;
        let probe = dir.join(format!(".ahwatch-{}", uuid::Uuid::now_v7()));
        create(&probe).and_then(|_| std::fs::remove_file(&probe)).map_err(wrong("cannot be written"))?;
        Ok(Arc::new(Self { dir: dir.to_owned() }))
    }

    /// Deletes everything that was kept of a session. False: there was nothing.
    ///
    /// Clips still being written would come after it: [`Recorder::withdraw`] waits for those first.
    ///
    /// # Errors
    /// `session` is no session's id, or something could not be deleted.
    pub fn remove_session(&self, session: &str) -> io::Result<bool> {
        match std::fs::remove_dir_all(self.of(session)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    /// Deletes what was kept in `dir` of a session that no longer runs. False: there was nothing.
    ///
    /// # Errors
    /// As [`Records::remove_session`].
    pub fn remove_from(dir: &Path, session: &str) -> io::Result<bool> {
        Self { dir: dir.to_owned() }.remove_session(session)
    }

    /// A session's directory. Ids are UUIDs, so none leads elsewhere.
    fn of(&self, session: &str) -> io::Result<PathBuf> {
        let id = uuid::Uuid::try_parse(session)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "this is no session's id"))?;
        Ok(self.dir.join(id.to_string()))
    }

    /// Writes a window's files, the event last: where that is, the clip is whole. Blocking.
    fn write(&self, session: &str, window: WindowId, media: Media, event: &Event) -> io::Result<()> {
        let media = media.encoded()?;
        let dir = self.of(session)?;
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut json = Vec::new();
        json_line(&mut json, event)?;
        let files = [("mp4", media.video), ("wav", media.sound), ("json", Some(json.into()))];
        let name = |kind: &str| format!("{}-{}.{kind}", window.continuity, window.index);
        let path = |kind: &str| (dir.join(format!(".{}.part", name(kind))), dir.join(name(kind)));
        let written = files.iter().filter_map(|(kind, bytes)| Some((path(kind), bytes.as_ref()?))).try_for_each(
            |((part, whole), bytes)| {
                create(&part)?.write_all(bytes)?;
                std::fs::rename(part, whole)
            },
        );
        if written.is_err() {
            // Half a clip is none. What is not there need not be removed.
            for (part, whole) in files.iter().map(|(kind, _)| path(kind)) {
                let _ = std::fs::remove_file(part);
                let _ = std::fs::remove_file(whole);
            }
        }
        written
    }
}

/// A new file, for this user alone.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A window's media, kept while it is not known whether they are to be recorded.
#[derive(Debug)]
pub enum Media {
    /// As the panel was sent them.
    Sent(Sent),
    /// As they are held, to be encoded if they are wanted.
    Held(Arc<Window>, ClipCodec),
}

/// A window's files; None: no judge was sent one.
#[derive(Default)]
pub struct Sent {
    video: Option<Bytes>,
    sound: Option<Bytes>,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = |file: &Option<Bytes>| file.as_ref().map(Bytes::len);
        write!(f, "Sent(video {:?} bytes, sound {:?} bytes)", length(&self.video), length(&self.sound))
    }
}

impl Media {
    /// What a panel is sent of these clips: where judges take pictures of several sizes, the largest.
    #[must_use]
    pub fn sent(clips: &ClipSet, panel: &Panel) -> Self {
        let judges = || panel.judges().iter();
        let seen = judges().filter(|j| j.config().accepts.video).map(|j| j.config().max_pixels).max();
        let heard = judges().any(|judge| judge.config().accepts.audio);
        Self::Sent(Sent {
            video: seen.and_then(|size| clips.get(size)).and_then(|clip| clip.video().cloned()),
            sound: clips.any().filter(|_| heard).and_then(|clip| clip.audio().cloned()),
        })
    }

    fn encoded(self) -> io::Result<Sent> {
        match self {
            Self::Sent(sent) => Ok(sent),
            Self::Held(window, codec) => {
                // At the size they are held in.
                let clips = clips(&window, codec, &[u32::MAX].into()).map_err(io::Error::other)?;
                let clip = clips.any();
                Ok(Sent {
                    video: clip.and_then(|clip| clip.video().cloned()),
                    sound: clip.and_then(|clip| clip.audio().cloned()),
                })
            }
        }
    }
}

type Write = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Keeps the clips of one source, one session after the other.
#[derive(Default)]
pub struct Recorder {
    /// None: nothing is recorded.
    records: Option<Arc<Records>>,
    source: Arc<str>,
    offered: Option<Media>,
    writes: FuturesUnordered<Write>,
    written: u64,
    failed: u64,
}

impl Recorder {
    /// For the source of this name.
    #[must_use]
    pub fn new(records: Option<Arc<Records>>, source: Arc<str>) -> Self {
        Self { records, source, ..Self::default() }
    }

    /// Offers the media of a window whose verdict is applied next; None: it has none to offer.
    pub fn offer(&mut self, media: Option<Media>) {
        self.offered = media.filter(|_| self.records.is_some());
    }

    /// Keeps the window offered if these events, which its verdict brought, ask for it; forgets it else.
    pub fn decide(&mut self, events: &[Event]) {
        let (Some(records), Some(media)) = (self.records.as_ref(), self.offered.take()) else { return };
        let Some((event, window)) = worth_a_look(events) else { return };
        if self.writes.len() >= MOST_PENDING {
            self.fail(&io::Error::other("the disk is too slow"));
            return;
        }
        let (records, event) = (Arc::clone(records), event.clone());
        self.writes.push(Box::pin(async move {
            let session = event.session.clone().unwrap_or_default();
            let write = blocking(move || records.write(&session, window, media, &event)).await;
            write.unwrap_or_else(|| Err(io::Error::other("the write broke off, which is a defect of this program")))
        }));
    }

    /// Resolves when a clip was written, or could not be; never while none is.
    pub async fn written(&mut self) {
        match self.writes.next().await {
            Some(Ok(())) => self.written += 1,
            Some(Err(error)) => self.fail(&error),
            None => std::future::pending().await,
        }
    }

    /// The session is over: waits a little for its last clips, and says what came of them all.
    pub async fn session_ended(&mut self) {
        let all = async {
            while !self.writes.is_empty() {
                self.written().await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            let late = std::mem::take(&mut self.writes);
            late.iter().for_each(|_| self.fail(&io::Error::other("the disk is too slow")));
        }
        let (written, failed) = (std::mem::take(&mut self.written), std::mem::take(&mut self.failed));
        if failed > 0 {
            tracing::warn!(source = %self.source, written, failed, "clips of this session were not all recorded");
        } else if written > 0 {
            tracing::info!(source = %self.source, written, "clips recorded for review");
        }
    }

    /// Deletes what was kept of a session, also what is still being written. False: there was nothing.
    ///
    /// # Errors
    /// As [`Records::remove_session`].
    pub async fn withdraw(&mut self, session: &str) -> io::Result<bool> {
        let Some(records) = self.records.clone() else { return Ok(false) };
        while !self.writes.is_empty() {
            self.written().await;
        }
        let session = session.to_owned();
        blocking(move || records.remove_session(&session)).await.unwrap_or_else(|| Err(broken_off()))
    }

    /// Said once a session, and counted.
    fn fail(&mut self, error: &io::Error) {
        if self.failed == 0 {
            tracing::warn!(source = %self.source, %error, "a clip could not be recorded; the verdicts go on without");
        }
        self.failed += 1;
    }
}

/// Whether anything was deleted is not known.
pub(crate) fn broken_off() -> io::Error {
    io::Error::other("the deletion broke off, which is a defect of this program")
}

/// The event of a judged window that is Present or raised an alert.
fn worth_a_look(events: &[Event]) -> Option<(&Event, WindowId)> {
    events.iter().find_map(|event| {
        let EventKind::WindowJudged(judged) = &event.kind else { return None };
        let raised =
            |event: &Event| matches!(&event.kind, EventKind::AlertRaised(alert) if alert.window == judged.window);
        (judged.label == Label::Present || events.iter().any(raised)).then_some((event, judged.window))
    })
}

#[cfg(test)]
mod tests;
