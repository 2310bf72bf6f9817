//! `ahwatch token`: who may do what with a service, which may be running.

use std::io::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use super::Exit;
use super::journal::{Located, Trouble, exit};
use crate::alert::journal::{Reader, Role, Token, create_token, revoke_token};
use crate::time::wall;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and print it; it is not kept, and cannot be shown again.
    Create(Create),
    /// List tokens, without what opens anything.
    List {
        #[command(flatten)]
        file: Located,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Take a token away, at once.
    Revoke {
        /// Its name.
        name: String,
        #[command(flatten)]
        file: Located,
    },
}

/// What a token is to be.
#[derive(Debug, Args)]
pub struct Create {
    /// What lists and the audit call it; unique.
    name: String,
    /// What it allows.
    #[arg(long, value_enum)]
    role: RoleName,
    /// The one session of a participant.
    #[arg(long, value_name = "ID", required_if_eq("role", "participant"))]
    session: Option<String>,
    /// From when on it is none, such as 2026-12-31T00:00:00Z [default: never].
    #[arg(long, value_name = "TIME", conflicts_with = "days")]
    expires: Option<Timestamp>,
    /// The same in days from now.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    #[command(flatten)]
    file: Located,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// The own session only.
    Participant,
    /// To read.
    Viewer,
    /// To act.
    Operator,
    /// Everything.
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Participant => Self::Participant,
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

pub(super) fn run(command: &Command) -> Exit {
    exit(match command {
        Command::Create(create) => make(create),
        Command::List { file, json } => list(file, *json),
        Command::Revoke { name, file } => revoke(name, file),
    })
}

fn make(create: &Create) -> Result<Exit, Trouble> {
    let fits = (1..=64).contains(&create.name.chars().count()) && !create.name.chars().any(char::is_control);
    if !fits {
        return Err(Trouble::Refused("a token's name has 1 to 64 characters on one line".to_owned()));
    }
    let role = Role::from(create.role);
    if create.session.is_some() && role != Role::Participant {
        return Err(Trouble::Refused(format!("--session is for participants; {role} is for all sessions")));
    }
    let now = wall();
    let days = |days: u32| now.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok();
    let expires = create.expires.or(create.days.and_then(days));
    if expires.is_some_and(|at| at <= now) {
        return Err(Trouble::Refused("--expires is in the past".to_owned()));
    }
    let token = Token { name: create.name.clone(), role, session: create.session.clone(), created: now, expires };
    let path = create.file.config().map_err(Trouble::Refused)?.path;
    let new = if path.exists() {
        ""
    } else {
        ", which is new: name the service's own by --config or --journal, if this is not it"
    };
    let shown = create_token(&path, &token)?;
    // A token opens nothing but the service of its journal.
    let full = std::path::absolute(&path).unwrap_or(path);
    eprintln!("a token of the journal {}{new}", full.display());
    writeln!(std::io::stdout(), "{shown}")?;
    Ok(Exit::Done)
}

fn list(file: &Located, json: bool) -> Result<Exit, Trouble> {
    let tokens = Reader::open(&file.config().map_err(Trouble::Refused)?.path)?.tokens()?;
    let mut out = std::io::stdout().lock();
    for token in tokens {
        if json {
            writeln!(out, "{}", serde_json::to_string(&token).unwrap_or_default())?;
        } else {
            let session = token.session.map_or_else(String::new, |session| format!(" of session {session}"));
            let expires = token.expires.map_or_else(|| "does not expire".to_owned(), |at| format!("until {at:.0}"));
            writeln!(out, "{}: {}{session}, {expires}", token.name, token.role)?;
        }
    }
    Ok(Exit::Done)
}

fn revoke(name: &str, file: &Located) -> Result<Exit, Trouble> {
    if revoke_token(&file.config().map_err(Trouble::Refused)?.path, name)? {
        Ok(Exit::Done)
    } else {
        Err(Trouble::Refused(format!("there is no token named {name}")))
    }
}
