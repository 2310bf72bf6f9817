//! Pauses: frames come and are thrown away unseen. The time is skipped, never lost and no gap, however long.
//!
//! A pause lasts from where the continuity before it ended to the first frame after the resume. Where none comes within [`GAP`] of
//! the resume, it ends there, and what follows is a gap like any other.

use super::{GAP, Session, Timeline};
use crate::time::{MediaTime, Span};
use crate::window::Cut;

/// The pause of a session.
pub(super) struct Pause {
    /// Session time at which it began.
    since: MediaTime,
    /// Newest arrival of anything, or of nothing, while it lasted.
    until: MediaTime,
    /// On the source's own timeline: where the continuity before it ended, and the newest frame that was passed over.
    media: Option<(MediaTime, MediaTime)>,
}

impl<R> Timeline<R> {
    /// Pauses at `arrival`: the continuity ends here, and frames are thrown away until [`Timeline::resume`]. Without a session it
    /// begins none. False: it was paused already.
    pub fn pause(&mut self, arrival: MediaTime, out: &mut Vec<Cut>) -> bool {
        if self.paused {
            return false;
        }
        if self.cutting.live {
            // A gap until now is one.
            self.idle(arrival, out);
        }
        self.place_parked(out);
        let ended = self.current.as_ref().map(|c| c.audio_end.max(c.video_end));
        self.disconnected(out);
        self.paused = true;
        let (live, resumed) = (self.cutting.live, self.resumed);
        let Some(session) = &mut self.session else { return true };
        match &mut session.pause {
            // No frame since the resume: as long as that is no gap, it is the same pause.
            Some(pause) if !live || arrival - resumed <= GAP => {
                pause.until = pause.until.max(arrival);
                return true;
            }
            _ => {}
        }
        self.close_pause(out);
        let Some(session) = &mut self.session else { return true };
        let now = arrival - session.began;
        if live && ended.is_none() && now > session.end {
            out.push(Cut::Outage(Span::new(session.end, now)));
            session.end = now;
        }
        let media = ended.flatten().map(|end| (end, end));
        session.pause = Some(Pause { since: session.end, until: arrival, media });
        true
    }

    /// Frames that arrive after `arrival` are cut again; the first begins a new continuity. False: it was not paused.
    pub fn resume(&mut self, arrival: MediaTime) -> bool {
        if !std::mem::take(&mut self.paused) {
            return false;
        }
        self.resumed = arrival;
        if let Some(session) = &mut self.session {
            session.last_arrival = arrival;
            if let Some(pause) = &mut session.pause {
                pause.until = arrival;
            }
        }
        true
    }

    /// Whether a frame is thrown away: it came while paused.
    pub(super) fn passes_over(&mut self, time: MediaTime, arrival: MediaTime) -> bool {
        if !self.paused && arrival >= self.resumed {
            return false;
        }
        if let Some(pause) = self.pause_mut() {
            pause.until = pause.until.max(arrival);
            if let Some((_, newest)) = &mut pause.media {
                *newest = (*newest).max(time);
            }
        }
        true
    }

    /// Nothing arrived up to `arrival` while paused, which is no gap; but a session may have come to its longest time. False: it
    /// is not paused.
    pub(super) fn idle_paused(&mut self, arrival: MediaTime, out: &mut Vec<Cut>) -> bool {
        if !self.paused {
            return false;
        }
        let max = self.cutting.max_session;
        let Some(session) = &mut self.session else { return true };
        if let Some(pause) = &mut session.pause {
            pause.until = pause.until.max(arrival);
            if let Some(max) = max.filter(|max| arrival - session.began >= *max) {
                pause.until = session.began + max;
                self.end_session(out);
            }
        }
        true
    }

    /// The first frame after a resume: the pause ends with it, if it came soon enough.
    pub(super) fn end_pause(&mut self, time: MediaTime, arrival: MediaTime, out: &mut Vec<Cut>) {
        let resumed = self.resumed;
        if let Some(pause) = self.pause_mut() {
            if arrival - resumed <= GAP {
                pause.until = arrival;
            }
            if let Some((_, newest)) = &mut pause.media {
                *newest = time;
            }
        }
        self.close_pause(out);
    }

    /// Puts a pause on the books, as far as it has lasted.
    pub(super) fn close_pause(&mut self, out: &mut Vec<Cut>) {
        let live = self.cutting.live;
        let Some(session) = &mut self.session else { return };
        let Some(pause) = session.pause.take() else { return };
        let until = match pause.media {
            _ if live => pause.until - session.began,
            Some((end, newest)) => pause.since + (newest - end),
            None => pause.since,
        };
        if until > pause.since {
            out.push(Cut::Paused(Span::new(pause.since, until)));
            session.end = until;
        }
    }

    fn pause_mut(&mut self) -> Option<&mut Pause> {
        self.session.as_mut().and_then(|session: &mut Session| session.pause.as_mut())
    }
}
