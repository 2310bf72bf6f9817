//! `ahwatch bah eval`: a split's videos before the panel.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::progress;
use crate::bah::eval::{EvalError, Ledger, Wanted, describe};
use crate::bah::{Dataset, Split, VideoPath};
use crate::cli::Exit;
use crate::cli::watch::{environment, introduce, read};
use crate::config::{Config, Overrides, RawConfig};
use crate::run::Progress;

/// What to evaluate, and by whom.
#[derive(Debug, Args)]
pub struct Options {
    /// The dataset's folder.
    root: PathBuf,
    /// Which part of it.
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// A file of `[[judge]]` tables: the endpoints that judge.
    #[arg(long, value_name = "FILE")]
    panel: PathBuf,
    /// The RUN directory: a new one, or one to go on with.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// The folder with train.txt, val.txt and test.txt, if it is none of the releases' own.
    #[arg(long, value_name = "DIR")]
    splits: Option<PathBuf>,
    /// A judge that has said Present of a video is not asked about the rest of it: same labels under the paper's rule, fewer calls.
    #[arg(long)]
    early_stop: bool,
    /// Only the first N videos of the list; said in everything that comes of it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Do not ask the judges about built-in clips first, to see that they hear and see.
    #[arg(long)]
    no_canary: bool,
    /// Let a judge vote that failed this, with a flag on every vote, instead of asking nothing.
    #[arg(long)]
    allow_degraded: bool,
    /// What the panel answered when `ahwatch doctor --save` asked it; a judge that answers otherwise has failed.
    #[arg(long, value_name = "FILE")]
    fingerprint: Option<PathBuf>,
    /// How videos are read.
    #[arg(long, value_enum, default_value_t = Via::File)]
    via: Via,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// As files, as fast as they are judged.
    File,
    /// By a local RTSP server and the live path, at their own pace; needs the feature `rtsp-server`.
    Rtsp,
}

pub(super) fn run(options: &Options) -> Exit {
    if let Some(message) = not_built(options.via, cfg!(feature = "rtsp-server")) {
        eprintln!("{message}");
        return Exit::Refused;
    }
    let (config, mut ledger) = match prepare(options) {
        Ok(prepared) => prepared,
        Err(message) => {
            eprintln!("{message}");
            return Exit::Refused;
        }
    };
    if let Err(problem) = introduce(&config) {
        eprintln!("{problem}");
        return Exit::Refused;
    }
    let bar = progress("videos");
    let mut told = 0;
    let tell = |progress: &Progress| {
        bar.set_length(progress.videos as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(format!("videos, {}", words(progress)));
        // Without a bar: a line for every tenth of the way.
        let tenths = 10 * progress.done / progress.videos.max(1);
        if !std::io::stderr().is_terminal() && tenths > told {
            told = tenths;
            eprintln!("{} of {} videos; {}", progress.done, progress.videos, words(progress));
        }
    };
    crate::cli::run_command(async {
        let stop = crate::run::interrupted();
        let ended = evaluate(&config, options, &mut ledger, stop, tell).await;
        bar.finish_and_clear();
        match ended {
            Ok(progress) => conclude(&progress, options),
            Err(error) => {
                eprintln!("{error}");
                Exit::Failed
            }
        }
    })
}

/// Why videos cannot be read so by this build, if they cannot.
fn not_built(via: Via, has_server: bool) -> Option<&'static str> {
    (via == Via::Rtsp && !has_server)
        .then_some("--via rtsp is not in this build; build it with `cargo build --release --features rtsp-server`")
}

async fn evaluate(
    config: &Config,
    options: &Options,
    ledger: &mut Ledger,
    stop: impl Future<Output = ()>,
    tell: impl FnMut(&Progress),
) -> Result<Progress, EvalError> {
    // Without the feature it was refused before.
    #[cfg(feature = "rtsp-server")]
    if options.via == Via::Rtsp {
        return crate::run::evaluate_by_rtsp(config, &options.root, ledger, stop, tell).await;
    }
    crate::run::evaluate(config, &options.root, ledger, None, stop, tell).await
}

/// Everything that can be wrong before anything runs.
fn prepare(options: &Options) -> Result<(Config, Ledger), String> {
    let raw = RawConfig::default().with_panel(&read(&options.panel)?, &options.panel);
    let overrides = Overrides {
        early_stop: options.early_stop.then_some(true),
        no_canary: options.no_canary,
        allow_degraded: options.allow_degraded,
        fingerprint: options.fingerprint.clone(),
        ..Overrides::default()
    };
    let config = Config::build(raw, overrides, &environment).map_err(|problems| problems.to_string())?;
    let dataset = Dataset::read(&options.root, options.splits.as_deref()).map_err(|error| error.to_string())?;
    let limit = options.limit.and_then(|limit| usize::try_from(limit).ok());
    let wanted = Wanted { split: options.split, limit, rtsp: options.via == Via::Rtsp };
    let info = describe(&dataset, &config, wanted);
    if info.videos.is_empty() {
        return Err(format!("{}: {} lists no video", options.root.display(), options.split.file_name()));
    }
    let path = |id: &str| VideoPath::parse(id).ok();
    let outside = |id: &str| crate::bah::outside(&path(id)?, &options.root);
    if let Some(what) = info.videos.iter().find_map(|video| outside(&video.id)) {
        return Err(what);
    }
    let there = |id: &str| path(id).is_some_and(|path| path.below(&options.root).is_file());
    let missing: Vec<_> = info.videos.iter().filter(|video| !there(&video.id)).collect();
    if missing.len() == info.videos.len() {
        return Err(format!(
            "{}: none of the {} videos of {} is there, not even {}; ROOT is the folder that holds `Videos`",
            options.root.display(),
            info.videos.len(),
            options.split.as_str(),
            missing[0].id
        ));
    }
    for video in missing.iter().take(5) {
        eprintln!("{}: is not there; it will count as failed", video.id);
    }
    let ledger = Ledger::open(&options.out, &info).map_err(|error: EvalError| error.to_string())?;
    Ok((config, ledger))
}

/// Failures so far, in words.
fn words(progress: &Progress) -> String {
    let abstained: u64 = progress.abstained.values().sum();
    let mut text = format!("{} answers, {abstained} abstentions", progress.answers);
    if progress.not_asked > 0 {
        let _ = write!(text, ", {} calls saved", progress.not_asked);
    }
    if !progress.failed.is_empty() {
        let _ = write!(text, ", {} videos failed", progress.failed.len());
    }
    text
}

fn conclude(progress: &Progress, options: &Options) -> Exit {
    for (video, error) in &progress.failed {
        eprintln!("{video}: {error}");
    }
    for (reason, count) in &progress.abstained {
        eprintln!("{count} abstentions: {reason}");
    }
    eprintln!("{} of {} videos; {}", progress.done, progress.videos, words(progress));
    let out = options.out.display();
    if progress.stopped {
        eprintln!("stopped before its end; the same command goes on, and asks nothing again that was answered");
        return Exit::Failed;
    }
    eprintln!(
        "`ahwatch bah score {out}` prints the numbers, `ahwatch bah report {out} --out report.html` writes a page"
    );
    if progress.failed.is_empty() { Exit::Done } else { Exit::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_without_the_server_refuses_and_only_what_needs_it() {
        for (via, has_server, refused) in
            [(Via::File, false, false), (Via::File, true, false), (Via::Rtsp, true, false), (Via::Rtsp, false, true)]
        {
            let told = not_built(via, has_server);
            assert_eq!(told.is_some_and(|told| told.contains("--features rtsp-server")), refused);
        }
    }
}
