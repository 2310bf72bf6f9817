//! Sources that come and go by command: in this process, against real sources and the endpoint that decodes what it is sent.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ahwatch::alert::Actor;
use ahwatch::alert::stdout::json_line;
use ahwatch::config::{Config, Overrides, RawConfig, Rule, SourceConfig};
use ahwatch::run::{Anew, Control, ControlError, Outcome, RunError, SessionOptions, control, run_controlled};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::books::{books_are_exact, nanos};
use crate::kit::endpoint::{Endpoint, Judge, Mode};
use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::Finished;
use crate::kit::wait_until;
use crate::watch_file::{LIMIT, labels, three};

const STARTED: &str = "ah.session.started.v1";
const ENDED: &str = "ah.session.ended.v1";
const WITHDRAWN: &str = "ah.session.withdrawn.v1";
const JUDGED: &str = "ah.window.judged.v1";

/// A watch that takes commands.
struct Stage {
    runtime: tokio::runtime::Runtime,
    control: Control,
    /// Events as lines of JSON.
    told: Arc<Mutex<String>>,
    anew: mpsc::Sender<Anew>,
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<Result<Outcome, RunError>>,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

fn config(text: &str, file: &Path) -> Config {
    Config::build(RawConfig::parse(text, file), Overrides::default(), &|_| None).unwrap()
}

fn judges(endpoint: &Endpoint, models: &[&str]) -> String {
    let table = |model: &&str| {
        format!("[[judge]]\nname = \"{model}\"\nbase_url = \"{}\"\nmodel = \"{model}\"\n", endpoint.base_url())
    };
    "[panel]\ncanary = false\n".to_owned() + &models.iter().map(table).collect::<String>()
}

impl Stage {
    fn open(text: &str) -> Self {
        Self::open_with(text, |_, _| {})
    }

    fn open_with(text: &str, change: impl FnOnce(&mut Config, &Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ahwatch.toml");
        let mut config = config(text, &file);
        change(&mut config, dir.path());
        let (control, commands) = control();
        let (events, mut receiver) = mpsc::channel(16);
        let (anew, changed) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let told: Arc<Mutex<String>> = Arc::default();
        let lines = Arc::clone(&told);
        runtime.spawn(async move {
            while let Some(event) = receiver.recv().await {
                let mut line = Vec::new();
                json_line(&mut line, &event).unwrap();
                lines.lock().unwrap().push_str(std::str::from_utf8(&line).unwrap());
            }
        });
        let handle = runtime.handle().clone();
        let run = std::thread::spawn(move || {
            let stop = async { drop(stopped.await) };
            handle.block_on(run_controlled(&config, changed, commands, events, stop))
        });
        Self { runtime, control, told, anew, stop: Some(stop), run, file, _dir: dir }
    }

    fn source(&self, name: &str, table: &str) -> SourceConfig {
        config(&format!("[[source]]\nname = \"{name}\"\n{table}\n"), &self.file).sources.remove(0)
    }

    fn camera(&self, name: &str, camera: &Camera) -> SourceConfig {
        self.source(name, &format!("url = \"{}\"", camera.url("/live")))
    }

    fn now<T>(&self, command: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(LIMIT, command).await.expect("the command ends") })
    }

    /// Adds a source; the id of its session.
    fn add(&self, source: SourceConfig) -> String {
        let id = uuid::Uuid::now_v7().to_string();
        self.now(self.control.add(source, options(&id))).unwrap();
        id
    }

    /// Events so far, each of which fits its schema.
    fn events(&self) -> Vec<Value> {
        let stdout = self.told.lock().unwrap().clone();
        Finished { code: None, stdout, stderr: String::new(), took: Duration::ZERO }.events()
    }

    fn of(&self, id: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["subject"] == *id).collect()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_until(LIMIT, what, || self.events().into_iter().find(|event| wanted(event)))
    }

    #[track_caller]
    fn wait_for_kind(&self, id: &str, kind: &str) -> Value {
        self.wait_for(kind, |event| event["subject"] == *id && event["type"] == kind)
    }

    /// Ends the watch; how it came out, and all events.
    fn close(mut self) -> (Outcome, Vec<Value>) {
        drop(self.stop.take());
        wait_until(LIMIT, "the end", || self.run.is_finished().then_some(()));
        let events = self.events();
        (self.run.join().unwrap().unwrap(), events)
    }
}

fn options(id: &str) -> SessionOptions {
    SessionOptions { id: id.into(), rule: None, cues: false }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// Frame codes of everything the endpoint was sent.
fn frames(endpoint: &Endpoint) -> Vec<u32> {
    endpoint.requests().into_iter().filter_map(|seen| seen.clip).flat_map(|clip| clip.frames()).collect()
}

#[test]
fn a_source_that_is_added_has_the_given_id_one_session_and_its_name_for_itself_until_it_is_ended() {
    let camera = Camera::start(Show::live(&Recipe::new(3600.0).plant(&[0, 1, 2])));
    let (endpoint, models) = three();
    let stage = Stage::open(&judges(&endpoint, &models));
    assert_eq!(stage.now(stage.control.panel().wait_for(Option::is_some)).unwrap().as_ref().unwrap().judges().len(), 3);
    let id = stage.add(stage.camera("room", &camera));
    let twin = stage.now(stage.control.add(stage.source("room", "url = \"test:\""), options(&id)));
    assert!(matches!(twin, Err(ControlError::Duplicate(name)) if &*name == "room"));
    for unknown in [stage.now(stage.control.end("hall")), stage.now(stage.control.pause("hall", Actor::Operator))] {
        assert!(matches!(unknown, Err(ControlError::Unknown(name)) if &*name == "hall"));
    }
    stage.wait_for_kind(&id, JUDGED);
    stage.now(stage.control.end("room")).unwrap();
    // All events were sent; whoever takes them may be a moment behind.
    stage.wait_for_kind(&id, ENDED);
    let events = stage.of(&id);
    assert_eq!((kinds(&events)[0], *kinds(&events).last().unwrap()), (STARTED, ENDED));
    books_are_exact(&events);
    // The name is free, and another session may have other rules and another judge.
    let other = uuid::Uuid::now_v7().to_string();
    let cues = SessionOptions { rule: Some(Rule::MaxOfVote), cues: true, ..options(&other) };
    stage.now(stage.control.add(stage.source("room", "url = \"test:\""), cues)).unwrap();
    let started = stage.wait_for_kind(&other, STARTED);
    assert_eq!((&started["data"]["kind"], &started["data"]["rule"]), (&"heuristic".into(), &"max_of_vote".into()));
    assert_eq!(stage.events().iter().filter(|event| event["type"] == STARTED).count(), 2);
    // A stop of the whole ends them all.
    let (outcome, events) = stage.close();
    assert!(outcome.stopped && outcome.errors.is_empty());
    books_are_exact(&events);
    assert_eq!(events.iter().filter(|event| event["type"] == ENDED).count(), 2);
}

#[test]
fn what_arrives_while_paused_is_never_judged_and_its_time_is_skipped() {
    let camera = Camera::start(Show::live(&Recipe::new(3600.0)));
    let (endpoint, models) = three();
    let stage = Stage::open(&judges(&endpoint, &models));
    let id = stage.add(stage.camera("room", &camera));
    stage.wait_for_kind(&id, JUDGED);
    for _ in 0..2 {
        stage.now(stage.control.pause("room", Actor::Participant)).unwrap();
    }
    let paused = camera.source_secs();
    std::thread::sleep(Duration::from_secs(7)); // the pause itself: longer than a window
    let resumed = camera.source_secs();
    for _ in 0..2 {
        stage.now(stage.control.resume("room", Actor::Operator)).unwrap();
    }
    let later = |event: &Value| event["type"] == JUDGED && event["data"]["continuity"] == 1;
    stage.wait_for("a window after the pause", |event| event["subject"] == *id && later(event));
    stage.now(stage.control.pause("room", Actor::Operator)).unwrap();
    std::thread::sleep(Duration::from_secs(2)); // and one that the session ends in
    stage.now(stage.control.end("room")).unwrap();
    let events = {
        stage.wait_for_kind(&id, ENDED);
        stage.of(&id)
    };
    books_are_exact(&events);
    let said = of_kind(&events, "ah.session.paused.v1");
    assert_eq!(
        said.iter().map(|event| event["data"]["by"].as_str().unwrap()).collect::<Vec<_>>(),
        ["participant", "operator"]
    );
    assert_eq!(of_kind(&events, "ah.session.resumed.v1").len(), 1);
    let coverage = &of_kind(&events, ENDED)[0]["data"]["coverage"];
    let skipped = coverage["skipped"]["paused_secs"].as_f64().unwrap();
    assert!((8.5..11.0).contains(&skipped), "{coverage:#}");
    assert_eq!((nanos(&coverage["lost"]["total_secs"]), of_kind(&events, STARTED).len()), (0, 1), "{coverage:#}");
    // By the camera's own clock, in pictures: it is up to a second ahead of what comes out of its encoder and the network.
    let sent = frames(&endpoint);
    let inside = |frame: &&u32| ((paused + 0.1)..(resumed - 1.5)).contains(&(f64::from(**frame) / 25.0));
    assert!(sent.iter().any(|frame| f64::from(*frame) / 25.0 > resumed) && sent.iter().filter(inside).count() == 0);
    stage.close();
}

#[test]
fn a_camera_that_is_away_while_paused_for_longer_than_a_gap_is_still_the_same_session() {
    let mut camera = Camera::start(Show::live(&Recipe::new(3600.0)));
    let (endpoint, models) = three();
    let stage = Stage::open(&(judges(&endpoint, &models) + "[session]\nsession_gap_secs = 2.0\n"));
    let id = stage.add(stage.camera("room", &camera));
    stage.wait_for_kind(&id, JUDGED);
    stage.now(stage.control.pause("room", Actor::Operator)).unwrap();
    camera.kill();
    stage.wait_for_kind(&id, "ah.source.lost.v1");
    std::thread::sleep(Duration::from_secs(4));
    camera.restart();
    wait_until(LIMIT, "the camera's being back", || (camera.connections() >= 2).then_some(()));
    std::thread::sleep(Duration::from_secs(1)); // frames that nobody looks at
    stage.now(stage.control.resume("room", Actor::Operator)).unwrap();
    stage.wait_for("a window after the pause", |event| event["type"] == JUDGED && event["data"]["continuity"] == 1);
    stage.now(stage.control.end("room")).unwrap();
    let events = {
        stage.wait_for_kind(&id, ENDED);
        stage.of(&id)
    };
    books_are_exact(&events);
    assert_eq!(of_kind(&events, STARTED).len(), 1);
    // Without the pause the gap would have ended it.
    let id = stage.add(stage.camera("room", &camera));
    stage.wait_for_kind(&id, STARTED);
    camera.kill();
    stage.wait_for_kind(&id, ENDED);
    // And with its one session the source itself.
    wait_until(LIMIT, "the source's end", || {
        matches!(stage.now(stage.control.resume("room", Actor::Operator)), Err(ControlError::Unknown(_))).then_some(())
    });
    stage.close();
}

#[test]
fn a_recording_at_its_own_pace_is_paused_ends_by_itself_and_frees_its_name() {
    let path = Recipe::new(14.0).plant(&[0]).make();
    let (endpoint, models) = three();
    let stage = Stage::open(&judges(&endpoint, &models));
    let table = format!("path = \"{}\"\nrealtime = true", path.display());
    let source = stage.source("tape", &table);
    let id = stage.add(source.clone());
    stage.wait_for_kind(&id, JUDGED);
    stage.now(stage.control.pause("tape", Actor::Operator)).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    stage.now(stage.control.resume("tape", Actor::Operator)).unwrap();
    stage.now(stage.control.ended("tape")).unwrap();
    let events = {
        stage.wait_for_kind(&id, ENDED);
        stage.of(&id)
    };
    books_are_exact(&events);
    assert_eq!(labels(&events)[0], (0.0, "present".to_owned()));
    let data = &of_kind(&events, ENDED)[0]["data"];
    assert!((data["span"]["end_secs"].as_f64().unwrap() - 14.0).abs() < 0.1, "{data:#}");
    let skipped = data["coverage"]["skipped"]["paused_secs"].as_f64().unwrap();
    assert!((2.0..4.5).contains(&skipped), "{data:#}");
    let again = stage.add(source);
    stage.wait_for_kind(&again, STARTED);
    // Its name says nothing to those whose file is not there.
    let gone = SourceConfig { name: "gone".into(), ..stage.source("gone", "url = \"test:\"") };
    let gone = SourceConfig { input: ahwatch::config::Input::File("/does/not/exist.mp4".into()), ..gone };
    stage.add(gone);
    let _ = stage.now(stage.control.ended("gone"));
    let (outcome, _) = stage.close();
    assert_eq!(outcome.errors.len(), 1, "{:?}", outcome.errors);
}

#[test]
fn a_withdrawal_drops_requests_in_flight_and_is_the_last_that_is_told() {
    let camera = Camera::start(Show::live(&Recipe::new(3600.0)));
    let (endpoint, models) = three();
    endpoint.set(Mode::Slow);
    let stage = Stage::open(&judges(&endpoint, &models));
    let id = stage.add(stage.camera("room", &camera));
    let other = stage.add(stage.source("hall", "url = \"test:\""));
    // Held by the endpoint, with the next windows on their way.
    endpoint.wait_for(LIMIT, |seen| seen.len() >= 6 && seen.iter().all(|seen| seen.clip.is_some()));
    let before = Instant::now();
    stage.now(stage.control.withdraw("room", Actor::Participant)).unwrap();
    let took = before.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    stage.wait_for_kind(&id, WITHDRAWN);
    // The endpoint sees the connections go.
    stage.now(stage.control.withdraw("hall", Actor::Operator)).unwrap();
    wait_until(Duration::from_secs(5), "the connections' end", || (endpoint.in_flight() == 0).then_some(()));
    let asked = endpoint.requests().len();
    stage.wait_for_kind(&other, WITHDRAWN);
    endpoint.release();
    // The name is free when all of it is gone.
    let begun = Instant::now();
    let again = loop {
        let again = uuid::Uuid::now_v7().to_string();
        match stage.now(stage.control.add(stage.camera("room", &camera), options(&again))) {
            Ok(()) => break again,
            Err(ControlError::Duplicate(_)) => assert!(begun.elapsed() < LIMIT),
            Err(error) => panic!("{error}"),
        }
    };
    stage.wait_for_kind(&again, STARTED);
    assert_eq!(endpoint.requests().len(), asked, "no further byte");
    for id in [&id, &other] {
        let events = stage.of(id);
        assert_eq!(*kinds(&events).last().unwrap(), WITHDRAWN);
        assert!(of_kind(&events, ENDED).is_empty() && of_kind(&events, JUDGED).is_empty());
    }
    let gone = stage.now(stage.control.withdraw("hall", Actor::Operator));
    assert!(matches!(gone, Err(ControlError::Unknown(_))));
    stage.close();
}

#[test]
fn a_source_that_never_came_is_withdrawn_under_its_id() {
    let stage = Stage::open("");
    // Nobody listens there.
    let id = stage.add(stage.source("room", "url = \"rtsp://127.0.0.1:1/live\""));
    stage.wait_for_kind(&id, "ah.source.lost.v1");
    stage.now(stage.control.pause("room", Actor::Operator)).unwrap();
    stage.now(stage.control.withdraw("room", Actor::Participant)).unwrap();
    stage.wait_for_kind(&id, WITHDRAWN);
    assert_eq!(kinds(&stage.of(&id)), ["ah.source.lost.v1", WITHDRAWN]);
    let (_, events) = stage.close();
    assert!(of_kind(&events, STARTED).is_empty());
}

#[test]
fn clips_that_were_recorded_of_a_withdrawn_session_are_deleted() {
    let camera = Camera::start(Show::live(&Recipe::new(3600.0)));
    let endpoint = Endpoint::start([("v1", Judge::windows(&(0..720).collect::<Vec<_>>()))]);
    let mut records = PathBuf::new();
    let stage = Stage::open_with(&judges(&endpoint, &["v1"]), |config, dir| {
        records = dir.join("records");
        config.record = Some(records.clone());
    });
    let kept = stage.add(stage.camera("kept", &camera));
    let id = stage.add(stage.camera("room", &camera));
    for id in [&id, &kept] {
        wait_until(LIMIT, "a recorded clip", || records.join(id).join("0-0.json").exists().then_some(()));
    }
    stage.now(stage.control.withdraw("room", Actor::Participant)).unwrap();
    assert!(!records.join(&id).exists() && records.join(&kept).exists());
    stage.now(stage.control.end("kept")).unwrap();
    assert!(records.join(&kept).join("0-0.mp4").exists());
    stage.close();
}

#[test]
fn a_configuration_that_is_read_again_leaves_sources_that_were_added_by_command_alone() {
    let stage = Stage::open("[[source]]\nname = \"old\"\nurl = \"test:\"\n");
    let of = |name: &str, kind: &str| {
        let source = format!("/ahwatch/{name}");
        stage.events().into_iter().filter(|event| event["type"] == kind && event["source"] == source).count()
    };
    let id = stage.add(stage.source("room", "url = \"test:\""));
    stage.wait_for_kind(&id, STARTED);
    let table = |name: &str| format!("[[source]]\nname = \"{name}\"\nurl = \"test:\"\n");
    let reload = |text: &str| stage.now(stage.anew.send(Anew::new(config(text, &stage.file)).0)).unwrap();
    reload(&table("new"));
    stage.wait_for("the new one", |event| event["type"] == STARTED && event["source"] == "/ahwatch/new");
    stage.wait_for("the old one's end", |event| event["type"] == ENDED && event["source"] == "/ahwatch/old");
    // One that is configured under its name waits for its end.
    reload(&(table("new") + &table("room")));
    reload(&(table("new") + &table("room") + &table("third")));
    stage.wait_for("the third", |event| event["type"] == STARTED && event["source"] == "/ahwatch/third");
    assert_eq!((of("room", STARTED), of("room", ENDED), of("new", STARTED)), (1, 0, 1));
    stage.now(stage.control.end("room")).unwrap();
    wait_until(LIMIT, "the configured one", || (of("room", STARTED) == 2).then_some(()));
    // A configured one that was ended by command stays away while it is configured as it was.
    stage.now(stage.control.end("third")).unwrap();
    reload(&(table("new") + &table("room") + &table("third") + &table("fourth")));
    stage.wait_for("the fourth", |event| event["type"] == STARTED && event["source"] == "/ahwatch/fourth");
    assert_eq!((of("third", STARTED), of("new", STARTED), of("new", ENDED)), (1, 1, 0));
    let control = stage.control.clone();
    let source = stage.source("late", "url = \"test:\"");
    let (outcome, events) = stage.close();
    assert!(outcome.stopped);
    books_are_exact(&events);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let late = runtime.block_on(control.add(source, options("late")));
    assert!(matches!(late, Err(ControlError::Stopping)));
}
