//! Keeps what is known of a panel's judges up to date: they are examined before anything is judged, and compared with their
//! fingerprint then and from time to time. Who fails is set aside by the panel.
//!
//! A replica that does not answer at the start leaves its judge unproven, and is examined when it does. What was found of a
//! replica stands until it answers again: silence clears nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use super::Abstention;
use super::canary::{CanaryClip, Clips, Finding, Heard, Pair, REPEATS, findings, proof};
use super::fingerprint::clips_of;
use super::openai::{Judge, examine};
use super::panel::Panel;
use super::prompt::Accepts;
use super::proof::{Fault, Proof};
use crate::config::{JudgeConfig, PanelConfig};

/// A replica that did not answer is examined again after this.
const RETRY: Duration = Duration::from_mins(1);

/// What one replica answered, or why it did not.
pub type Outcome = Result<BTreeMap<CanaryClip, Heard>, Abstention>;

/// One replica of a judge, as it answered.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its address, without credentials.
    pub replica: String,
    /// What it answered.
    pub outcome: Outcome,
}

/// Asks every replica of a judge, all at once, about each of `which` clips `repeats` times.
pub async fn examine_all(judge: &Judge, clips: &Clips, which: &[CanaryClip], repeats: usize) -> Vec<Examined> {
    join_all(judge.replicas().iter().map(|replica| async move {
        let outcome = examine(judge, replica, clips, which, repeats).await;
        Examined { replica: replica.base_url().to_string(), outcome }
    }))
    .await
}

/// Something is known of a judge that was not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The judge's place in the panel.
    pub index: usize,
    /// What it is now.
    pub proof: Proof,
    /// One line on why, without credentials.
    pub detail: String,
    /// No replica of it answered.
    pub silent: bool,
}

/// Judges that can be asked about the built-in clips.
pub trait Judges {
    /// Asks one of them, at every replica.
    fn examine(
        &self,
        judge: usize,
        which: Vec<CanaryClip>,
        repeats: usize,
    ) -> impl Future<Output = Vec<Examined>> + Send;

    /// Takes down what is known of one of them.
    fn note(&self, judge: usize, proof: Proof);
}

/// A panel with the clips it is asked about.
#[derive(Debug)]
pub struct Asked {
    panel: Arc<Panel>,
    clips: Clips,
}

impl Judges for Asked {
    async fn examine(&self, judge: usize, which: Vec<CanaryClip>, repeats: usize) -> Vec<Examined> {
        match self.panel.judges().get(judge) {
            Some(judge) => examine_all(judge, &self.clips, &which, repeats).await,
            None => Vec::new(),
        }
    }

    fn note(&self, judge: usize, proof: Proof) {
        self.panel.set_proof(judge, proof);
    }
}

/// What the replicas' answers come to, and why: a judge is as good as its worst replica.
#[must_use]
pub fn standing(accepts: Accepts, examined: &[Examined]) -> (Proof, String) {
    let one = |replica: &Examined| match &replica.outcome {
        Ok(heard) => {
            let findings = findings(accepts, heard);
            let proof = proof(&findings);
            (proof, why(proof, &findings))
        }
        Err(abstention) => (Proof::Unproven, format!("no answer to the canary: {}", abstention.detail)),
    };
    let worst = examined.iter().map(|replica| (replica, one(replica)));
    let worst = worst.reduce(|a, b| if a.1.0 >= b.1.0 { a } else { b });
    match worst {
        Some((replica, (proof, why))) if examined.len() > 1 && proof != Proof::Proven => {
            (proof, format!("{}: {why}", replica.replica))
        }
        Some((_, (proof, why))) => (proof, why),
        None => (Proof::Unproven, "nobody was asked".to_owned()),
    }
}

/// The finding that decided, in words.
fn why(proof: Proof, findings: &[(Pair, Finding)]) -> String {
    let decides = |finding: &&(Pair, Finding)| super::canary::proof(std::slice::from_ref(finding)) == proof;
    match findings.iter().find(decides) {
        Some((pair, finding)) if proof != Proof::Proven => format!("{}: {finding}", pair.channel()),
        _ => "its answer depends on every channel".to_owned(),
    }
}

/// What is known of one judge.
#[derive(Debug)]
struct Standing {
    name: Arc<str>,
    accepts: Accepts,
    /// What each replica last answered when it was examined.
    examined: Vec<Examined>,
    /// The same of comparisons, which take fewer clips.
    compared: Vec<Examined>,
    /// Without what its fingerprint says.
    seen: Proof,
    why: String,
    /// Some replica never answered, and is to be asked again.
    pending: bool,
    /// None answered when it was last asked.
    silent: bool,
    /// Why it is not as its fingerprint, if it is not.
    changed: Option<String>,
}

impl Standing {
    fn new(config: &JudgeConfig) -> Self {
        Self {
            name: Arc::clone(&config.name),
            accepts: config.accepts,
            examined: Vec::new(),
            compared: Vec::new(),
            seen: Proof::NotChecked,
            why: String::new(),
            pending: false,
            silent: false,
            changed: None,
        }
    }

    fn proof(&self) -> Proof {
        if self.changed.is_some() { self.seen.max(Proof::Failed(Fault::Changed)) } else { self.seen }
    }

    fn detail(&self) -> String {
        match &self.changed {
            Some(why) if self.proof() == Proof::Failed(Fault::Changed) => why.clone(),
            _ if self.seen == Proof::NotChecked => "it answers as its fingerprint".to_owned(),
            _ => self.why.clone(),
        }
    }

    /// Takes what the replicas answered, to all that this judge is asked about under these rules.
    fn asked(&mut self, rules: &PanelConfig, answered: &[Examined]) {
        self.silent = answered.iter().all(|replica| replica.outcome.is_err());
        if rules.canary {
            keep(&mut self.examined, answered);
            (self.seen, self.why) = standing(self.accepts, &self.examined);
            self.pending = away(&self.examined).is_some();
        }
        self.compare(rules, answered);
    }

    /// The same of clips of its fingerprint only.
    fn compare(&mut self, rules: &PanelConfig, answered: &[Examined]) {
        let Some(saved) = rules.fingerprint.as_ref().and_then(|(_, fingerprint)| fingerprint.judge(&self.name)) else {
            return;
        };
        keep(&mut self.compared, answered);
        let off = |replica: &Examined| {
            let heard = replica.outcome.as_ref().ok()?;
            let why = saved.compare(heard, rules.fingerprint_tolerance).err()?;
            let at = if answered.len() > 1 { format!("{}: ", replica.replica) } else { String::new() };
            Some(format!("{at}not as its fingerprint: {why}"))
        };
        self.changed = self.compared.iter().find_map(off);
        // With a canary, whether it was ever asked about anything is known from that.
        if !rules.canary {
            let away = away(&self.compared);
            self.pending = away.is_some();
            (self.seen, self.why) = match away {
                Some(why) => (Proof::Unproven, format!("not compared with its fingerprint: {why}")),
                None => (Proof::NotChecked, String::new()),
            };
        }
    }
}

/// Takes the replicas' answers, in their order. One that does not answer now is what it was when it last did.
fn keep(known: &mut Vec<Examined>, answered: &[Examined]) {
    for (place, new) in answered.iter().enumerate() {
        match known.get_mut(place) {
            None => known.push(new.clone()),
            Some(old) if new.outcome.is_ok() || old.outcome.is_err() => old.clone_from(new),
            Some(_) => {}
        }
    }
}

/// Why nothing is known of some replica, if that is so.
fn away(known: &[Examined]) -> Option<&str> {
    known.iter().find_map(|replica| replica.outcome.as_ref().err()).map(|abstention| &*abstention.detail)
}

/// The built-in clips that a judge is asked about under `[panel]`.
#[must_use]
pub fn clips_wanted(config: &PanelConfig, accepts: Accepts) -> Vec<CanaryClip> {
    match (config.canary, &config.fingerprint) {
        (true, _) => CanaryClip::of(accepts),
        (false, Some(_)) => clips_of(accepts),
        (false, None) => Vec::new(),
    }
}

/// Watches over judges.
#[derive(Debug)]
pub struct Guard<J = Asked> {
    judges: J,
    rules: PanelConfig,
    standings: Vec<Standing>,
    retry: Option<Instant>,
    compare: Option<Instant>,
}

impl Guard {
    /// Over this panel, with the built-in clips in its sizes.
    ///
    /// # Errors
    /// The fingerprint is of other clips: one line that names its file and the remedy.
    pub fn new(panel: Arc<Panel>, clips: Clips, config: &PanelConfig) -> Result<Self, String> {
        let configs: Vec<JudgeConfig> = panel.judges().iter().map(|judge| judge.config().clone()).collect();
        if let Some((path, fingerprint)) = &config.fingerprint
            && let Some(other) = fingerprint.other_clips(&configs, &clips)
        {
            return Err(format!(
                "{}: {other}; clip_codec, max_pixels or the program changed since: save it again with `ahwatch doctor --save FILE`",
                path.display()
            ));
        }
        Ok(Self::over(Asked { panel, clips }, config.clone(), &configs))
    }
}

impl<J: Judges> Guard<J> {
    fn over(judges: J, rules: PanelConfig, configs: &[JudgeConfig]) -> Self {
        let standings = configs.iter().map(Standing::new).collect();
        Self { judges, rules, standings, retry: None, compare: None }
    }

    /// Examines every judge, all at once, and compares it with its fingerprint. Says who is not as one would wish.
    pub async fn start(&mut self) -> Vec<Change> {
        let which = |standing: &Standing| clips_wanted(&self.rules, standing.accepts);
        let asked = self.standings.iter().map(which).enumerate();
        let found = join_all(asked.map(|(judge, which)| self.judges.examine(judge, which, REPEATS))).await;
        for (standing, examined) in self.standings.iter_mut().zip(&found) {
            standing.asked(&self.rules, examined);
        }
        self.plan();
        self.note(|_, proof| !matches!(proof, Proof::Proven | Proof::NotChecked))
    }

    /// Waits until something is to be looked at again, looks, and says what has changed. None: there will be nothing to see.
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        let due = [self.retry, self.compare].into_iter().flatten().min()?;
        sleep_until(due).await;
        let before: Vec<Proof> = self.standings.iter().map(Standing::proof).collect();
        let comparing = self.compare == Some(due);
        let asked = self.standings.iter().enumerate().filter(|(_, standing)| comparing || standing.pending);
        let (judges, rules) = (&self.judges, &self.rules);
        let asked = asked.map(|(judge, standing)| {
            // Who is examined again is compared as well.
            let wanted =
                if standing.pending { clips_wanted(rules, standing.accepts) } else { clips_of(standing.accepts) };
            async move { (judge, judges.examine(judge, wanted, REPEATS).await) }
        });
        let found = join_all(asked).await;
        for (judge, examined) in found {
            let standing = &mut self.standings[judge];
            if standing.pending {
                standing.asked(&self.rules, &examined);
            } else {
                standing.compare(&self.rules, &examined);
            }
        }
        self.retry = None;
        if comparing {
            self.compare = None;
        }
        self.plan();
        Some(self.note(|judge, proof| before[judge] != proof))
    }

    /// Tells what is known of each judge; those of interest are returned.
    fn note(&self, wanted: impl Fn(usize, Proof) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        for (index, standing) in self.standings.iter().enumerate() {
            let proof = standing.proof();
            self.judges.note(index, proof);
            if wanted(index, proof) {
                let silent = standing.silent && proof == Proof::Unproven;
                changes.push(Change { index, proof, detail: standing.detail(), silent });
            }
        }
        changes
    }

    fn plan(&mut self) {
        let now = Instant::now();
        if self.retry.is_none() && self.standings.iter().any(|standing| standing.pending) {
            self.retry = Some(now + RETRY);
        }
        if self.compare.is_none() && self.rules.fingerprint.is_some() {
            self.compare = Some(now + self.rules.fingerprint_every);
        }
    }
}

#[cfg(test)]
mod tests;
