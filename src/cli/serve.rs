//! `ahwatch serve`.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::sync::{mpsc, oneshot};

use super::Exit;
use super::watch::{environment, introduce};
use crate::config::{Config, Overrides};
use crate::run::serve::Listening;

/// What to serve.
#[derive(Debug, Args)]
pub struct Options {
    /// A configuration file (TOML): `[server]`, `[journal]`, `[[sink]]`, `[controller]`, and all that `watch` takes.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A file of `[[judge]]` tables: the endpoints that judge.
    #[arg(long, value_name = "FILE")]
    panel: Option<PathBuf>,
    /// Address and port of the API and the pages, instead of the file's.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Do not ask the judges about built-in clips first, to see that they hear and see.
    #[arg(long)]
    no_canary: bool,
    /// Let a judge vote that failed this, with a flag on every vote, instead of setting it aside.
    #[arg(long)]
    allow_degraded: bool,
    /// A folder whose models/ and pipelines/ replace the embedded files.
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// Keep clips for review in this folder. The participant's page says so [default: nothing of picture or sound is written].
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Exit {
    let config = match configure(options) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Refused;
        }
    };
    if let Err(problem) = introduce(&config) {
        eprintln!("{problem}");
        return Exit::Refused;
    }
    if config.server.controller.is_none() {
        tracing::warn!(
            "participants' sessions are refused until [controller] name and contact say who is answerable: they have to read it"
        );
    }
    super::run_command(serve(config, options))
}

fn configure(options: &Options) -> Result<Config, String> {
    let raw = super::typed(Some(&options.config), options.panel.as_deref())?;
    let overrides = Overrides {
        listen: options.listen.clone(),
        assets: options.assets.clone(),
        no_canary: options.no_canary,
        allow_degraded: options.allow_degraded,
        record: options.record.clone(),
        ..Overrides::default()
    };
    let config = Config::build(raw, overrides, &environment).map_err(|problems| problems.to_string())?;
    by_leave(&config, &options.config)?;
    Ok(config)
}

/// Refuses sources that a service may not watch: nobody is watched by one without a purpose and somebody's leave.
pub(super) fn by_leave(config: &Config, file: &Path) -> Result<(), String> {
    let without: Vec<_> = config.sources.iter().filter(|source| source.leave.is_none()).collect();
    if without.is_empty() {
        return Ok(());
    }
    let lines = without.iter().map(|source| {
        format!(
            "{}: [[source]] {:?}: has no purpose and consent, and is refused by `serve`; write `purpose` (what it is watched for) \
             and `consent` (where the consent of the people in it is written down)",
            file.display(),
            &*source.name
        )
    });
    Err(lines.collect::<Vec<_>>().join("\n"))
}

async fn serve(config: Config, options: &Options) -> Exit {
    let files: Vec<PathBuf> = std::iter::once(options.config.clone()).chain(options.panel.clone()).collect();
    let (changed, anew) = mpsc::channel(1);
    let hangups = crate::run::hangups();
    let reload = super::reload::reload(&files, hangups, config.clone(), || reconfigure(options, &config), changed);
    let (listening, heard) = oneshot::channel();
    let tell = async {
        if let Ok(at) = heard.await {
            say(&config, &at);
        }
        std::future::pending::<()>().await;
    };
    let served = crate::run::serve::serve(config.clone(), anew, listening, crate::run::interrupted());
    let ended = tokio::select! {
        ended = served => ended,
        () = reload => return Exit::Failed, // ends only with the service
        () = tell => return Exit::Failed,   // never ends
    };
    match ended {
        Err(error) => {
            eprintln!("{error}");
            Exit::Refused
        }
        Ok(_) => Exit::Done,
    }
}

/// A new configuration; what only a start can change stays as it is, and is said.
fn reconfigure(options: &Options, running: &Config) -> Result<Config, String> {
    let mut config = configure(options)?;
    let others = [
        ("[server] or [controller]", config.server != running.server),
        ("[journal]", config.journal != running.journal),
    ];
    for (table, _) in others.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(
            "{table} says something else than at the start; that is taken when the service is started again"
        );
    }
    config.server.clone_from(&running.server);
    config.journal.clone_from(&running.journal);
    Ok(config)
}

/// Where it is, once it is there.
fn say(config: &Config, at: &Listening) {
    let media: Vec<_> = at.media.iter().map(ToString::to_string).collect();
    let (url, media) = (&at.public_url, media.join(", "));
    // In one piece: who waits for the first line may look for the others at once.
    eprint!(
        "listening on {}\n  dashboard  {url}/\n  API        {url}/v1/openapi.json\n  browsers   send media to UDP {media}\n  \
         journal    {}\nEverything but /livez and the participant's page needs a token: `ahwatch token create --help`.\n",
        at.api,
        config.journal.path.display()
    );
}
