//! What became of one request, and what that says of whom it was sent to.

use std::time::Duration;

use crate::judge::AbstentionReason;
use crate::judge::circuit::Health;
use crate::judge::reply::{Failure, Reading};

/// What became of one request.
pub(super) enum Attempt {
    /// There was a reply, or no connection.
    Done(Result<Reading, Failure>),
    /// Nothing came in half of the time that was left, and there is another to ask.
    GivenUp(Failure),
    /// Nothing came in time.
    TimeUp,
}

impl Attempt {
    /// What it says of its `base_url`, after `given` of a judge's `deadline`. A wrong model or key is between the server and this
    /// judge.
    pub(super) fn health(&self, given: Duration, deadline: Duration) -> Health {
        match self {
            Self::Done(Ok(_)) => Health::Alive,
            Self::Done(Err(failure)) => match failure.abstention.reason {
                AbstentionReason::Unreachable => Health::Dead,
                AbstentionReason::ServerError => Health::Erring,
                AbstentionReason::NotACompletion => Health::Unknown,
                _ => Health::Alive,
            },
            // Too little time for an answer says nothing.
            Self::GivenUp(_) | Self::TimeUp if given < deadline / 4 => Health::Unknown,
            Self::GivenUp(_) | Self::TimeUp => Health::Silent,
        }
    }

    /// What went wrong, in a line without credentials.
    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Self::Done(Ok(_)) => None,
            Self::Done(Err(failure)) | Self::GivenUp(failure) => Some(&failure.abstention.detail),
            Self::TimeUp => Some("no answer in time"),
        }
    }
}
