//! ahwatch watches a person talk and says, window by window while it happens, whether Ambivalence/Hesitancy (A/H) shows.
//!
//! The modules are the data's way, in order:
//!
//! - [`time`]: media time, spans, clocks. [`config`]: what was typed, what is meant.
//! - [`source`]: a recording or a camera; frames come out. [`isolate`]: the same in a process of its own, where that is configured.
//! - [`window`]: frames in, 5-second windows of synchronised sound and pictures out.
//! - [`gate`]: local measures of a window (speech, faces).
//! - [`encode`]: a window to the clip that a judge gets.
//! - [`judge`]: one checkpoint at one endpoint, the panel of them, their votes; the embedded hesitation-cue index.
//! - [`session`]: verdicts in, events out: both rules, episodes, and the books of every second.
//! - [`alert`]: events on their way out. [`screen`]: the same on a terminal, live. [`record`]: clips kept for review, only
//!   where that was asked for.
//! - [`watch`]: one source's task. [`run`]: the topology of threads, tasks and channels. [`doctor`]: is everything there that
//!   this needs? [`cli`]: the commands.
//! - [`server`]: what others reach over the network.
//! - [`stage`]: how long each of these takes.
//! - [`bah`]: the BAH dataset, offline, on the same core.
//!
//! A session is Present when most judges saw A/H in some window (Tang et al., arXiv 2603.13406, Eq. 2 and 3). What was not
//! judged is said to be not judged: there is no default "No" anywhere.

pub mod alert;
pub mod bah;
pub mod cli;
pub mod config;
mod digest;
pub mod doctor;
pub mod encode;
pub mod gate;
pub mod isolate;
pub mod judge;
pub mod record;
pub mod run;
pub mod screen;
pub mod server;
pub mod session;
pub mod source;
pub mod stage;
pub mod time;
pub mod watch;
pub mod window;
