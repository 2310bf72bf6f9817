//! What a check gets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ahwatch::config::{Config, Judging, Overrides, RawConfig};
use ahwatch::encode::ClipSet;
use ahwatch::judge::panel::{Due, Panel};
use ahwatch::judge::{Answer, Vote};
use serde_json::{Value, json};

use super::card::{Card, shown};
use super::media::{Media, Piece};
use super::rig::{KEY, Rig, Server};
use super::tap::{Exchange, Tap};

/// What one server said, for the checks of another; by name.
#[derive(Default)]
pub struct Memory(BTreeMap<String, Value>);

impl Memory {
    /// Keeps it.
    pub fn keep(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// What was kept.
    ///
    /// # Panics
    /// If nothing was: an earlier check failed, or its topic was left out.
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("an earlier check did not come to tell \"{name}\""))
    }
}

/// A check's surroundings.
pub struct Bench<'a> {
    /// Programs, models, HTTP.
    pub rig: &'a Rig,
    /// The server that is up; a check may put another in its place.
    pub server: &'a mut Option<Server>,
    /// What to show it.
    pub media: &'a Media,
    /// What other servers said.
    pub memory: &'a mut Memory,
    /// Fixtures to be: lines of JSON.
    pub recorded: &'a mut Vec<String>,
    /// The scorecard.
    pub card: &'a mut Card,
    /// The topic of the check that runs.
    pub topic: &'static str,
    /// The server's name, or what is used in place of one.
    pub on: String,
}

impl Bench<'_> {
    /// The server that is up.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("this check has a server")
    }

    /// The recording's full window.
    pub fn full(&self) -> &Piece {
        &self.media.pieces[0]
    }

    /// A row: what is measured must equal what is expected.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: &T, measured: &T) {
        let (e, m) = (shown(expected), shown(measured));
        self.card.push(&self.on, self.topic, what, Some(&e), &m, expected == measured);
    }

    /// A row with its own words.
    pub fn check(&mut self, what: &str, expected: &str, measured: &str, ok: bool) {
        self.card.push(&self.on, self.topic, what, Some(expected), measured, ok);
    }

    /// A row of something that is measured, and stated.
    pub fn state(&mut self, what: &str, measured: &str) {
        self.card.push(&self.on, self.topic, what, None, measured, true);
    }

    /// Puts clips to one judge of the server by our client, with `more` in its table and `extra` in the body. The exchange is
    /// recorded as `name`.
    pub fn ask(&mut self, name: &str, clips: &ClipSet, more: &str, extra: &Value) -> (Vote, Exchange) {
        let (mut votes, mut exchanges) = self.ask_all(name, clips, &[("base", more)], extra);
        (votes.remove(0), exchanges.remove(0))
    }

    /// The same with a panel: a model and `more` for each judge. Exchanges come in the order of the judges.
    pub fn ask_all(
        &mut self,
        name: &str,
        clips: &ClipSet,
        judges: &[(&str, &str)],
        extra: &Value,
    ) -> (Vec<Vote>, Vec<Exchange>) {
        let tap = Tap::before(&self.server().base_url(), self.rig.runtime(), self.rig.http());
        tap.reset(extra.clone());
        let key = self.server().setting().api_key().map_or("", |_| "api_key_env = \"CONFORMANCE_KEY\"");
        let mut tables = String::new();
        for (i, (model, more)) in judges.iter().enumerate() {
            let model = if more.contains("model =") { String::new() } else { format!("model = \"{model}\"") };
            let key = if more.contains("api_key_env") { "" } else { key };
            let url = tap.base_url();
            writeln!(tables, "[[judge]]\nname = \"v{}\"\nbase_url = \"{url}\"\ndeadline_ms = 300000", i + 1).unwrap();
            writeln!(tables, "{model}\n{key}\n{more}").unwrap();
        }
        let raw = RawConfig::parse(&tables, Path::new("conformance.toml"));
        let env = |name: &str| match name {
            "CONFORMANCE_KEY" => Some(KEY.to_owned()),
            "WRONG_KEY" => Some("close-sesame".to_owned()),
            _ => None,
        };
        let Judging::Panel(judges) = Config::build(raw, Overrides::default(), &env).expect("a panel").judging else {
            panic!("no panel")
        };
        let panel = Panel::new(&judges).expect("HTTP client");
        let votes = self.rig.runtime().block_on(panel.judge(clips, &[], Due::AfterSending));
        let seen = tap.seen();
        let of = |model: &str| seen.iter().find(|exchange| exchange.request["model"] == model).cloned();
        let exchanges: Vec<_> = judges
            .iter()
            .map(|judge| of(&judge.model).unwrap_or_else(|| panic!("no request for {} came through", judge.model)))
            .collect();
        for (judge, exchange) in judges.iter().zip(&exchanges) {
            let name = if judges.len() == 1 { name.to_owned() } else { format!("{name} {}", judge.name) };
            self.recorded.push(exchange.line(&name, &self.on));
        }
        (votes, exchanges)
    }

    /// Sends a body of ours, changed by a check, past the client. Recorded as `name`.
    pub fn post(&mut self, name: &str, request: &Value) -> Exchange {
        let tap = Tap::before(&self.server().base_url(), self.rig.runtime(), self.rig.http());
        let mut post = self.rig.http().post(format!("{}/chat/completions", tap.base_url())).json(request);
        if let Some(key) = self.server().setting().api_key() {
            post = post.bearer_auth(key);
        }
        self.rig.runtime().block_on(async { post.send().await }).expect("the tap answers");
        let exchange = tap.seen().pop().expect("the server answers");
        self.recorded.push(exchange.line(name, &self.on));
        exchange
    }

    /// The body our client sends with these clips, with greedy decoding of one token and its five best log-probabilities.
    pub fn first_token(&mut self, name: &str, clips: &ClipSet) -> Exchange {
        self.ask(name, clips, "", &first_token()).1
    }

    /// A counter of vLLM's `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.server().port());
        let text = self.rig.runtime().block_on(async { self.rig.http().get(url).send().await?.text().await });
        let text = text.expect("metrics");
        let lines =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Fields that ask for the first token's log-probabilities.
pub fn first_token() -> Value {
    json!({"max_tokens": 1, "logprobs": true, "top_logprobs": 5})
}

/// A vote in a few words.
pub fn told(vote: &Vote) -> String {
    match &vote.answer {
        Answer::Present => "present".to_owned(),
        Answer::Absent => "absent".to_owned(),
        Answer::NotAsked => "not asked".to_owned(),
        Answer::Abstained(why) => format!("abstained, {}: {}", why.reason.as_str(), why.detail),
    }
}
