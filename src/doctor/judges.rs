//! What can be learned of a judge from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Check;
use crate::config::{Config, JudgeConfig, PanelConfig};
use crate::judge::canary::{CanaryClip, Clips, Finding, Heard, Pair, REPEATS, findings};
use crate::judge::fingerprint::{Fingerprint, JudgeFingerprint};
use crate::judge::guard::{Examined, clips_wanted, examine_all, standing};
use crate::judge::openai::{Due, Judge, Replica};
use crate::judge::proof::Proof;
use crate::judge::{Abstention, AbstentionReason, Answer};

/// A question about the server itself may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Under it vLLM runs code from a video that it is sent (CVE-2026-22778).
const SAFE_VLLM: [u64; 3] = [0, 14, 1];

/// What a judge is asked with.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The built-in clips in its size.
    pub clips: &'a Clips,
    /// What the panel is compared with, if it is, and how strictly.
    pub panel: &'a PanelConfig,
    /// What to tell on the way, in a line.
    pub tell: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Asking<'a> {
    /// As the configuration says, with everything.
    #[must_use]
    pub fn new(clips: &'a Clips, config: &'a Config, tell: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self { clips, panel: &config.panel, tell }
    }
}

/// Looks at one judge. Beside the checks, its fingerprint, if it is fit to be saved.
pub async fn ask(judge: &Judge, asking: Asking<'_>) -> (Vec<Check>, Option<JudgeFingerprint>) {
    let config = judge.config();
    let group = format!("judge {}", config.name);
    let tell = |what: &str| (asking.tell)(&format!("{group}: {what}"));
    let failed = |checks: &[Check]| checks.iter().any(|check| check.status == super::Status::Failed);
    let mut checks = Vec::new();
    let mut server = None;
    for replica in judge.replicas() {
        tell(&format!("asking {}", replica.base_url()));
        let (more, said) = look(&group, config, replica).await;
        checks.extend(more);
        server = server.or(said);
    }
    if failed(&checks) {
        return (checks, None);
    }
    tell("one answer to warm up");
    checks.push(verdict(&group, judge, asking.clips).await);
    let which = clips_wanted(asking.panel, config.accepts);
    let examined = if which.is_empty() {
        Vec::new()
    } else {
        tell("the canary: up to five built-in clips, five times each");
        examine_all(judge, asking.clips, &which, REPEATS).await
    };
    if asking.panel.canary {
        checks.extend(canary(&group, config, &examined));
    } else {
        let remedy = "leave --no-canary out, or canary = false";
        checks.push(Check::warning(&group, "canary", "not asked: nothing is known of its ears and eyes", remedy));
    }
    // What no replica or not every one answered, or answered differently, is nothing to compare with later.
    let fit = asking.panel.canary && !failed(&checks);
    let heard = pooled(&examined);
    if let Some((path, fingerprint)) = &asking.panel.fingerprint
        && let Some(saved) = fingerprint.judge(&config.name)
    {
        let tolerance = asking.panel.fingerprint_tolerance;
        checks.push(compared(&group, &path.display().to_string(), fingerprint, saved, &examined, tolerance));
    }
    tell("done");
    let fingerprint = JudgeFingerprint::new(config, server, asking.clips, &heard);
    (checks, fit.then_some(fingerprint))
}

/// Reached, key, model, server; and what the server says it is.
async fn look(group: &str, config: &JudgeConfig, replica: &Replica) -> (Vec<Check>, Option<String>) {
    let at = replica.base_url().as_str();
    let mut checks = Vec::new();
    let key = || match &config.api_key_env {
        Some(variable) => format!("check the key in {variable}"),
        None => "name the key's variable in api_key_env of this [[judge]]".to_owned(),
    };
    let list = match replica.get_json("models", PATIENCE).await {
        Ok(list) => list,
        Err(Abstention { reason: AbstentionReason::Unauthorized, .. }) => {
            checks.push(Check::ok(group, "reachable", at));
            let finding = if config.api_key.is_some() { "the key is refused" } else { "a key is wanted" };
            checks.push(Check::failed(group, "key", finding, key()));
            return (checks, None);
        }
        Err(Abstention { reason: AbstentionReason::UnknownModel | AbstentionReason::Refused, detail }) => {
            checks.push(Check::ok(group, "reachable", at));
            let remedy = "correct base_url; or leave it so: a server that lists no models may answer all the same";
            checks.push(Check::warning(group, "model", format!("{at} lists no models: {detail}"), remedy));
            return (checks, None);
        }
        Err(Abstention { detail, .. }) => {
            let remedy = "start the server, or correct base_url; see deploy/ for how to serve a judge";
            checks.push(Check::failed(group, "reachable", format!("{at}: {detail}"), remedy));
            return (checks, None);
        }
    };
    checks.push(Check::ok(group, "reachable", at));
    let finding = if config.api_key.is_some() { "accepted" } else { "none is sent, and none asked for" };
    checks.push(Check::ok(group, "key", finding));
    checks.push(listed(group, config, &list));
    let (check, said) = server(group, config, replica, &list).await;
    checks.push(check);
    (checks, said)
}

fn listed(group: &str, config: &JudgeConfig, list: &Value) -> Check {
    let models = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(found) = models.iter().find(|model| model["id"] == config.model.as_str()) else {
        let names: Vec<_> = models.iter().filter_map(|model| model["id"].as_str()).collect();
        let finding = format!("{} is not among the models listed: {}", config.model, names.join(", "));
        let remedy = "correct model in this [[judge]], or serve it (an adapter: --lora-modules NAME=DIR)";
        return Check::failed(group, "model", finding, remedy);
    };
    let finding = match found["parent"].as_str() {
        Some(base) => format!("{}, an adapter of {base}", config.model),
        None => config.model.clone(),
    };
    Check::ok(group, "model", finding)
}

async fn server(group: &str, config: &JudgeConfig, replica: &Replica, list: &Value) -> (Check, Option<String>) {
    let scale = format!("whether it serves time_scale = {} cannot be asked", config.time_scale);
    let said = replica.get_json("/version", PATIENCE).await.ok();
    let version = said.as_ref().and_then(|said| said["version"].as_str());
    let owner = list.pointer("/data/0/owned_by").and_then(Value::as_str).unwrap_or_default();
    let Some(version) = version else {
        let name = if owner.is_empty() { "it" } else { owner };
        return (Check::ok(group, "server", format!("{name} does not say its version; {scale}")), None);
    };
    // vLLM alone answers /version so; others that stand in for it say whose models they list.
    let is_vllm = owner.is_empty() || owner.eq_ignore_ascii_case("vllm");
    let name = format!("{} {version}", if is_vllm { "vLLM" } else { owner });
    let check = if is_vllm && numbers(version).is_some_and(|numbers| numbers < SAFE_VLLM) {
        let finding = format!("{name} runs code out of a video that it is sent (CVE-2026-22778)");
        Check::warning(group, "server", finding, "update to vLLM 0.14.1 or newer")
    } else {
        Check::ok(group, "server", format!("{name}; {scale}"))
    };
    (check, Some(name))
}

/// `0.14.0rc1` is 0.14.0.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(version.trim_start_matches('v').split(['.', '+', '-'])) {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
        match digits.parse() {
            Ok(value) => *number = value,
            Err(_) if part.starts_with(|c: char| c.is_ascii_alphabetic()) => break,
            Err(_) => return None,
        }
    }
    (numbers != [0; 3]).then_some(numbers)
}

/// One answer, asked as a window is.
async fn verdict(group: &str, judge: &Judge, clips: &Clips) -> Check {
    const WHAT: &str = "answer";
    let Some(clip) = clips.get(CanaryClip::Speech, judge.config().max_pixels) else {
        return Check::failed(group, WHAT, "the built-in clip could not be built", "run `make setup`");
    };
    let vote = judge.ask(clip, Due::AfterSending).await;
    let took = format!("{:.2} s", vote.latency.as_secs_f64());
    let deadline = judge.config().deadline;
    let score = vote.score.map_or_else(String::new, |score| format!(", P(Yes) {:.3}", score.p_yes));
    match &vote.answer {
        Answer::Present | Answer::Absent => {
            let word = if vote.answer == Answer::Present { "Yes" } else { "No" };
            let finding = format!("{word} to a built-in clip after {took}{score}");
            if vote.latency > deadline / 2 {
                let remedy = "raise deadline_ms, or give the server more";
                return Check::warning(group, WHAT, format!("{finding}, over half of its deadline"), remedy);
            }
            Check::ok(group, WHAT, finding)
        }
        Answer::Abstained(Abstention {
            reason: reason @ (AbstentionReason::Unparsable | AbstentionReason::Truncated | AbstentionReason::NoScore),
            detail,
        }) => {
            let finding = format!("no vote on a built-in clip after {took}: {} ({detail})", reason.as_str());
            Check::warning(
                group,
                WHAT,
                finding,
                "check model and prompt: is it the checkpoint that was trained for this?",
            )
        }
        Answer::Abstained(Abstention { reason, detail }) => {
            let finding = format!("{} after {took}: {detail}", reason.as_str());
            Check::failed(group, WHAT, finding, remedy(*reason))
        }
        Answer::NotAsked => Check::failed(group, WHAT, "it was not asked", "this is a defect of this program"),
    }
}

/// What to do where no answer comes, for this reason.
const fn remedy(reason: AbstentionReason) -> &'static str {
    match reason {
        AbstentionReason::UnknownModel => "correct base_url (it usually ends in /v1) or model in this [[judge]]",
        AbstentionReason::Unauthorized => "correct the key, or the variable that api_key_env names",
        AbstentionReason::Unreachable | AbstentionReason::CircuitOpen => "start the server, or correct base_url",
        AbstentionReason::Deadline => "raise deadline_ms, or give the server more",
        _ => "see the server's log",
    }
}

fn canary(group: &str, config: &JudgeConfig, examined: &[Examined]) -> Vec<Check> {
    let mut checks = Vec::new();
    for Examined { replica, outcome } in examined {
        let at = if examined.len() > 1 { format!(" ({replica})") } else { String::new() };
        match outcome {
            Ok(heard) => {
                let found = findings(config.accepts, heard);
                checks.extend(found.iter().map(|(pair, finding)| one(group, *pair, finding, &at)));
            }
            Err(abstention) => {
                let finding = format!("no answer{at}: {}", abstention.detail);
                checks.push(Check::failed(group, "canary", finding, remedy(abstention.reason)));
            }
        }
    }
    if let Some(finding) = disagreement(examined) {
        checks.push(Check::failed(group, "replicas", finding, "serve the same checkpoint with the same flags at each"));
    }
    let (proof, _) = standing(config.accepts, examined);
    checks.push(match proof {
        Proof::Proven => Check::ok(group, "proof", proof.as_str()),
        Proof::Unproven | Proof::NotChecked => {
            let remedy = "it votes, and every vote is flagged; vLLM gives what is needed";
            Check::warning(group, "proof", proof.as_str(), remedy)
        }
        Proof::Failed(_) => {
            let remedy = "`watch` sets it aside; --allow-degraded lets it vote, with a flag on every vote";
            Check::failed(group, "proof", proof.as_str(), remedy)
        }
    });
    checks
}

fn one(group: &str, pair: Pair, finding: &Finding, at: &str) -> Check {
    let (what, remedy) = match pair {
        Pair::Sound => {
            ("hears", "the server leaves the sound out: check its version, its limits of media a prompt, and proxies")
        }
        Pair::Pictures => {
            ("sees", "the server leaves the pictures out: check its version, its limits of media a prompt, and proxies")
        }
        Pair::LongSound => ("hears past 30 s", "the server cuts sound at 30 s: update it"),
    };
    let text = format!("{finding}{at}");
    match finding {
        Finding::Differs(_) | Finding::Refused(_) => Check::ok(group, what, text),
        Finding::Same(_) | Finding::NotCounted(_) => Check::failed(group, what, text, remedy),
        Finding::NoLogOdds(_) => Check::warning(group, what, text, "serve it by vLLM, which gives them"),
    }
}

/// Where two replicas are further apart than rounding makes them.
fn disagreement(examined: &[Examined]) -> Option<String> {
    let answered: Vec<_> = examined.iter().filter_map(|e| Some((&e.replica, e.outcome.as_ref().ok()?))).collect();
    let (first, heard) = answered.first()?;
    answered.iter().skip(1).find_map(|(other, theirs)| {
        let off = heard.iter().find_map(|(clip, ours)| {
            let ((a, spread), (b, other)) = (ours.log_odds()?, theirs.get(clip)?.log_odds()?);
            let off = (a - b).abs();
            (off > crate::judge::fingerprint::TOLERANCE + spread + other).then_some((clip, off))
        });
        off.map(|(clip, off)| format!("log-odds of clip {} at {first} and {other} are {off:.3} apart", clip.as_str()))
    })
}

/// The answers of all replicas together.
fn pooled(examined: &[Examined]) -> BTreeMap<CanaryClip, Heard> {
    let mut all: BTreeMap<CanaryClip, Heard> = BTreeMap::new();
    for heard in examined.iter().filter_map(|examined| examined.outcome.as_ref().ok()) {
        for (clip, heard) in heard {
            all.entry(*clip).or_default().labels.extend_from_slice(&heard.labels);
        }
    }
    all
}

fn compared(
    group: &str,
    file: &str,
    fingerprint: &Fingerprint,
    saved: &JudgeFingerprint,
    examined: &[Examined],
    tolerance: f64,
) -> Check {
    const WHAT: &str = "fingerprint";
    let answered = examined.iter().filter_map(|examined| examined.outcome.as_ref().ok());
    let compared: Result<Vec<_>, _> = answered.map(|heard| saved.compare(heard, tolerance)).collect();
    let when = &fingerprint.saved;
    match compared {
        Ok(agreements) => {
            let off = agreements.iter().map(|agreement| agreement.off).fold(0.0, f64::max);
            match agreements.first().map_or(0, |agreement| agreement.clips) {
                0 => {
                    let remedy = "serve it by vLLM, which gives log-odds";
                    Check::warning(group, WHAT, format!("{file} has no log-odds of it, nothing is compared"), remedy)
                }
                clips => Check::ok(group, WHAT, format!("as on {when}: {clips} clips, off by {off:.4} at most")),
            }
        }
        Err(why) => {
            let remedy = "serve what was tested; if the change is meant, test it and save it with --save FILE";
            Check::failed(group, WHAT, format!("not as on {when}: {why}"), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, safe) in [
            ("0.32.0", true),
            ("0.14.1", true),
            ("0.14.1.post1", true),
            ("0.14.0", false),
            ("0.14.0rc2", false),
            ("0.9.2", false),
            ("v0.13.0+cu128", false),
            ("1.0", true),
        ] {
            assert_eq!(numbers(version).unwrap() >= SAFE_VLLM, safe, "{version}");
        }
        for odd in ["dev", "", "main-abc"] {
            assert_eq!(numbers(odd), None, "{odd}");
        }
    }

    #[test]
    fn replicas_of_different_checkpoints_are_told() {
        let replica = |name: &str, log_odds: f64| {
            let labels = vec![crate::judge::canary::LabelLogprobs { yes: log_odds - 9.0, no: -9.0 }; 5];
            let heard = BTreeMap::from([(CanaryClip::Still, Heard { labels, ..Heard::default() })]);
            Examined { replica: name.into(), outcome: Ok(heard) }
        };
        assert_eq!(disagreement(&[replica("a", 0.0), replica("b", 0.2)]), None);
        let told = disagreement(&[replica("a", 0.0), replica("b", 0.2), replica("c", 0.9)]).unwrap();
        assert!(told.contains("at a and c are 0.900 apart"), "{told}");
    }
}
