//! What the cases of endpoints, sinks and limits share: the program on a camera, and what its events say.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::after::{After, peak_mib};
use super::case::Case;
use super::secrets::Secrets;
use crate::kit::endpoint::Endpoint;
use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Running, ahwatch};

/// Long enough for a loaded machine; a hang is what it catches.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What `ahwatch watch` or `ahwatch serve` on a camera or a recording of the kit should at most hold, MiB.
pub const MEMORY: u64 = 320;

/// A camera of small pictures, where every second five seconds show the mark.
pub fn camera() -> Camera {
    let every_second: Vec<u64> = (0..720).step_by(2).collect();
    Camera::start(Show::live(&Recipe::new(3600.0).size(320, 240).fps((10, 1)).plant(&every_second)))
}

/// A `[[judge]]` with a key of its own that is one of the planted secrets; `more` are further lines.
pub fn judge(name: &str, base_url: &str, more: &str) -> String {
    let nth = name.bytes().map(usize::from).sum::<usize>() % 50;
    format!(
        "[[judge]]\nname = \"{name}\"\nbase_url = \"{base_url}\"\nmodel = \"{name}\"\napi_key_env = \"AH_PLANTED_{nth}\"\n{more}\n"
    )
}

/// A configuration file in `dir`.
pub fn config(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("ahwatch.toml");
    std::fs::write(&file, format!("[panel]\ncanary = false\n{text}")).unwrap();
    file
}

/// Starts `ahwatch watch --json` with this configuration, and fifty secrets.
pub fn watch(dir: &Path, text: &str) -> Running {
    let file = config(dir, text);
    Secrets::plant(ahwatch(["watch", "--json", "--config", file.to_str().unwrap()])).start()
}

/// A `[[source]]` named `cam`.
pub fn source(url: &str) -> String {
    format!("[[source]]\nname = \"cam\"\nurl = \"{url}\"\n")
}

/// Ends a watch by SIGINT, and looks at what must hold after every case. Gives its events.
pub fn end(case: &mut Case, run: Running, endpoints: &[&Endpoint], whole: &[&str]) -> Vec<Value> {
    let memory = Some((peak_mib(&run), MEMORY));
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    let after = After { whole, memory, ..After::watch(&run, endpoints) };
    after.check(case);
    run.events()
}

/// Windows that were judged or that every judge abstained on, with all votes.
pub fn voted(events: &[Value]) -> Vec<&Value> {
    let asked = |event: &&Value| event["data"]["votes"].as_array().is_some_and(|votes| !votes.is_empty());
    events.iter().filter(asked).collect()
}

/// A judge's vote in a window's event: what it said, or why it abstained.
pub fn said(event: &Value, judge: &str) -> String {
    let votes = event["data"]["votes"].as_array().into_iter().flatten();
    let vote = votes.into_iter().find(|vote| vote["judge"] == judge).expect("its vote");
    let why = &vote["abstention"]["reason"];
    why.as_str().or_else(|| vote["answer"].as_str()).expect("a word").to_owned()
}

/// Waits for the event that a judge is in this state, and when it was seen.
pub fn wait_for_state(run: &mut Running, judge: &str, state: &str) -> Instant {
    run.wait_for(LIMIT, state, |event| event["data"]["judge"] == judge && event["data"]["state"] == state);
    Instant::now()
}

/// Waits for `more` further windows that judges were asked about; all that are known then.
pub fn wait_for_windows(run: &mut Running, more: usize) -> Vec<Value> {
    let enough = voted(&run.events()).len() + more;
    run.wait_until(LIMIT, "windows", |run| {
        let events = run.events();
        (voted(&events).len() >= enough).then_some(events)
    })
}
