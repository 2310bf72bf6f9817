use std::path::Path;
use std::time::Duration;

use url::Url;

use super::*;
use crate::source::Microphone;

fn no_env(_: &str) -> Option<String> {
    None
}

fn raw(text: &str) -> RawConfig {
    RawConfig::parse(text, Path::new("a.toml"))
}

fn build(text: &str) -> Result<Config, Problems> {
    Config::build(raw(text), Overrides::default(), &no_env)
}

fn problems(text: &str) -> String {
    build(text).expect_err("must be refused").to_string()
}

fn judge(name: &str, more: &str) -> String {
    format!("[[judge]]\nname = \"{name}\"\nbase_url = \"https://h/v1\"\nmodel = \"m\"\n{more}\n")
}

fn panel(config: Config) -> Vec<JudgeConfig> {
    match config.judging {
        Judging::Panel(judges) => judges,
        Judging::Cues { .. } => panic!("no panel"),
    }
}

#[test]
fn nothing_typed_is_all_defaults() {
    let config = Config::build(RawConfig::default(), Overrides::default(), &no_env).unwrap();
    assert_eq!(config, build("").unwrap());
    assert_eq!(config.window.window, MediaTime::from_millis(5000));
    assert_eq!(config.window.hop, MediaTime::from_millis(5000));
    assert_eq!(config.session.rule, Rule::VoteOfMax);
    assert_eq!(config.session.session_gap, Duration::from_mins(1));
    assert_eq!(config.session.max_session, None);
    assert_eq!(config.judging, Judging::Cues { chosen: false });
    let judges = panel(build(&judge("v1", "")).unwrap());
    assert_eq!(judges[0].deadline, Duration::from_secs(20));
    assert_eq!(judges[0].sampling, Sampling { temperature: 0.0, top_p: None, seed: None, max_tokens: 32 });
    assert_eq!((judges[0].max_pixels, judges[0].time_scale, judges[0].threshold), (786_432, 2.0, None));
}

#[test]
fn a_whole_configuration_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("talk.mp4"), b"").unwrap();
    std::fs::write(dir.path().join("mine.txt"), "<video> and <audio>: yes or no?\n").unwrap();
    let text = "
[window]
window_secs = 5
hop_secs = 2.5
clip_codec = \"h264\"
max_pixels = 307200
jpeg_quality = 90
[session]
rule = \"max_of_vote\"
min_coverage = 0.5
open_windows = 2
clear_windows = 3
cooldown_secs = 0
max_session_secs = 3600
session_gap_secs = 30
[gate]
require = \"speech-or-face\"
min_speech_secs = 1
face_threshold = 0.5
[[source]]
path = \"talk.mp4\"
realtime = true
[[source]]
url = \"rtsp://u:p@cam/1\"
[[judge]]
name = \"a\"
base_url = \"http://localhost:8000/v1/\"
model = \"m\"
prompt = \"./mine.txt\"
api_key_env = \"KEY\"
profile = \"paper\"
seed = 7
max_in_flight = 4
score = true
threshold = 0.4
";
    let env = |name: &str| (name == "KEY").then(|| "sk-1".to_owned());
    let config = Config::build(RawConfig::parse(text, &dir.path().join("a.toml")), Overrides::default(), &env).unwrap();
    assert_eq!(config.window.hop, MediaTime::from_millis(2500));
    assert_eq!(config.session.max_session, Some(MediaTime::from_millis(3_600_000)));
    assert_eq!(
        config.gate,
        GateConfig {
            require: GateRequire::SpeechOrFace,
            min_speech: MediaTime::from_millis(1000),
            face_threshold: 0.5,
            ..GateConfig::default()
        }
    );
    assert_eq!(config.sources[0].name.as_ref(), "talk");
    assert!(config.sources[0].realtime && config.sources[0].once && !config.sources[1].once);
    assert_eq!(config.sources[1].input.shown(), "rtsp://***@cam/1");
    let shown = format!("{config:?}");
    assert!(!shown.contains("sk-1") && !shown.contains("u:p"), "{shown}");
    let judges = panel(config);
    assert_eq!(judges[0].base_urls[0].as_str(), "http://localhost:8000/v1");
    assert_eq!(judges[0].api_key.as_ref().unwrap().expose(), "sk-1");
    assert_eq!(judges[0].sampling, Sampling { temperature: 0.3, top_p: Some(0.95), seed: Some(7), max_tokens: 32 });
    assert_eq!(judges[0].prompt.parts().len(), 4);
}

#[test]
fn every_problem_is_told_at_once_with_place_and_remedy() {
    let text = "
colour = 1
[window]
hop_secs = 6
window_length = 5
max_pixels = \"big\"
[session]
rule = \"majority\"
min_coverage = 0
early_stop = \"yes\"
[gate]
require = \"loud\"
speech_threshold = 1
min_speech_secs = 0
face_threshold = 0.4
min_face_pixels = -1
min_face_pictures = 0
[[source]]
path = \"/nowhere/talk.mp4\"
[[source]]
name = \"cam\"
url = \"http://u:secret@cam/x\"
[[judge]]
name = \"v1\"
base_url = \"http://10.0.0.5:8000/v1\"
model = \"m\"
prompt = \"nope\"
api_key_env = \"AH_KEY\"
threshold = 2
[[judge]]
name = \"v1\"
base_url = \"https://me:secret@h/v1\"
deadline_ms = 1
temprature = 0.3
";
    insta::assert_snapshot!(problems(text));
}

#[test]
fn hop_stays_within_the_window() {
    for (hop, fine) in [
        ("5", true),
        ("0.5", true),
        ("0", false),
        ("-1", false),
        ("5.1", false),
        ("nan", false),
        ("1e-12", false),
        ("1e-9", false),
    ] {
        assert_eq!(build(&format!("[window]\nhop_secs = {hop}")).is_ok(), fine, "{hop}");
    }
    // A shorter window alone brings its hop along.
    assert_eq!(build("[window]\nwindow_secs = 4").unwrap().window.hop, MediaTime::from_millis(4000));
}

#[test]
fn panels_are_odd_and_names_unique() {
    let three = ["a", "b", "c"].map(|name| judge(name, "")).concat();
    assert_eq!(panel(build(&three).unwrap()).len(), 3);
    assert!(problems(&[judge("a", ""), judge("b", "")].concat()).contains("a.toml: judge: the panel has 2 judges"));
    let twice = problems(&["a", "b", "a"].map(|name| judge(name, "")).concat());
    assert!(twice.contains("judge[3] (\"a\"): name: judge[1] has this name too"), "{twice}");
}

#[test]
fn a_judge_may_have_several_addresses_each_once() {
    let urls = |urls: &str| judge("a", "").replace("base_url = \"https://h/v1\"", urls);
    let built = |text: &str| panel(build(&urls(text)).unwrap()).remove(0).base_urls;
    let shown: Vec<_> = built("base_urls = [\"https://h/v1/\", \"https://i\"]").iter().map(Url::to_string).collect();
    assert_eq!(shown, ["https://h/v1", "https://i/"]);
    assert_eq!(built("base_urls = [\"https://H/v1\"]"), built("base_url = \"https://h/v1\""));
    for (typed, what) in [
        ("base_urls = []", "base_urls: is empty"),
        ("base_urls = [\"https://h/v1\", \"https://H/v1/\"]", "base_urls: names https://h/v1 twice"),
        ("base_urls = [\"https://h/v1\", \"http://i/v1\"]", "base_urls: would send media in plain http to i"),
        ("base_urls = [\"h\"]\nbase_url = \"https://h/v1\"", "base_urls: stands beside base_url"),
        ("", "base_url: is missing"),
    ] {
        let told = problems(&urls(typed));
        assert!(told.contains(what) && !told.contains("secret"), "{told}");
    }
}

#[test]
fn plain_http_stays_on_this_machine_unless_allowed() {
    for (url, fine) in [
        ("http://localhost:1/v1", true),
        ("http://127.0.0.1:1/v1", true),
        ("http://127.9.9.9/v1", true),
        ("http://[::1]:1/v1", true),
        ("http://localhost.example.org/v1", false),
        ("http://10.0.0.1/v1", false),
        ("http://[fe80::1]/v1", false),
        ("http://0.0.0.0/v1", false),
        ("https://example.org/v1", true),
        ("ftp://example.org/v1", false),
        ("example.org/v1", false),
        ("https://u:p@example.org/v1", false),
        ("https://example.org/v1?key=1", false),
        ("https://example.org/v1/chat/completions", false),
    ] {
        let text = judge("a", "").replace("https://h/v1", url);
        assert_eq!(build(&text).is_ok(), fine, "{url}");
    }
    let allowed = judge("a", "allow_http = true").replace("https://h/v1", "http://10.0.0.1/v1");
    assert!(build(&allowed).is_ok());
}

#[test]
fn early_stop_needs_vote_of_max() {
    let text = problems("[session]\nearly_stop = true\nrule = \"max_of_vote\"");
    assert!(text.starts_with("a.toml: [session]: early_stop: needs the rule vote_of_max"), "{text}");
    let overrides = Overrides { early_stop: Some(true), ..Overrides::default() };
    let text = Config::build(raw("[session]\nrule = \"max_of_vote\""), overrides, &no_env).unwrap_err().to_string();
    assert!(text.starts_with("command line: --early-stop: "), "{text}");
    assert!(build("[session]\nearly_stop = true").is_ok());
}

#[test]
fn keys_come_by_reference_and_are_never_shown() {
    let text = problems(&judge("a", "api_key_env = \"AH_KEY\""));
    assert!(text.contains("the environment variable AH_KEY is not set"), "{text}");
    let text = problems(&judge("a", "api_key_env = \"sk-live-0123\""));
    assert!(text.contains("not the key itself") && !text.contains("sk-live"), "{text}");
    let text = problems(&judge("a", "api_key = \"sk-live-0123\""));
    assert!(text.contains("unknown field `api_key`") && !text.contains("sk-live"), "{text}");
    let env = |_: &str| Some("sk live\n".to_owned());
    let text = Config::build(raw(&judge("a", "api_key_env = \"AH_KEY\"")), Overrides::default(), &env)
        .unwrap_err()
        .to_string();
    assert!(text.contains("AH_KEY holds characters no key has") && !text.contains("live"), "{text}");
}

#[test]
fn what_is_no_toml_is_told_without_quoting_the_line() {
    let text = problems("[[source]]\nurl = \"rtsp://u:secret@h/1");
    assert!(text.starts_with("a.toml: line 2, column "), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn prompts_are_shipped_or_files() {
    let text = problems(&judge("a", "prompt = \"nope\""));
    assert!(text.contains("there is no prompt \"nope\"; shipped are \"trained\" and \"definitions\""), "{text}");
    let text = problems(&judge("a", "prompt = \"./nope.txt\""));
    assert!(text.contains("cannot read ./nope.txt (entity not found)"), "{text}");

    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("models/prompts")).unwrap();
    std::fs::write(dir.path().join("models/prompts/trained.txt"), "<audio><video>").unwrap();
    let overrides = Overrides { assets: Some(dir.path().to_owned()), ..Overrides::default() };
    let judges = panel(Config::build(raw(&judge("a", "")), overrides, &no_env).unwrap());
    assert_eq!(judges[0].prompt.parts().len(), 2);
}

#[test]
fn the_command_line_wins() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.mp4");
    std::fs::write(&file, b"").unwrap();
    let file = file.to_str().unwrap().to_owned();
    let overrides = Overrides {
        sources: vec![file.clone(), file, "rtsp://u:p@cam:554/s".into()],
        realtime: true,
        once: true,
        hop_secs: Some(1.0),
        rule: Some(Rule::MaxOfVote),
        cues: true,
        ..Overrides::default()
    };
    let text = format!("[window]\nhop_secs = 9\n[[source]]\npath = \"/nowhere\"\n{}", judge("a", ""));
    let config = Config::build(raw(&text), overrides, &no_env).unwrap();
    let names: Vec<_> = config.sources.iter().map(|source| source.name.as_ref()).collect();
    assert_eq!(names, ["x", "x-2", "cam"]);
    assert!(config.sources[0].realtime && !config.sources[2].realtime && config.sources[2].once);
    assert_eq!(config.window.hop, MediaTime::from_millis(1000));
    assert_eq!(config.judging, Judging::Cues { chosen: true });

    let overrides =
        Overrides { hop_secs: Some(7.0), sources: vec!["ftp://h/x".into(), "nofile".into()], ..Overrides::default() };
    let text = Config::build(raw(""), overrides, &no_env).unwrap_err().to_string();
    assert!(text.contains("command line: --hop-secs: 7 leaves"), "{text}");
    assert!(text.contains("ftp:// is not a kind of source") && text.contains("nofile does not exist"), "{text}");
}

#[test]
fn sources_of_one_name_are_refused() {
    let text =
        problems("[[source]]\nname = \"c\"\nurl = \"rtsp://a/1\"\n[[source]]\nname = \"c\"\nurl = \"rtsp://b/1\"");
    assert!(text.contains("source[2] (\"c\"): name: another source has this name"), "{text}");
    let text = problems(
        "[[source]]\nname = \"a b\"\nurl = \"rtsp://a/1\"\n[[source]]\n[[source]]\npath=\"x\"\nurl=\"rtsp://h\"",
    );
    for part in ["is not a plain name", "has neither path nor url", "has both path and url"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn devices_are_sources_like_others() {
    let text = "[[source]]\nurl = \"webcam:/dev/video2\"\naudio = \"hw:1,0\"\n[[source]]\nurl = \"webcam:\"\nno_audio = true\n\
                [[source]]\nurl = \"mic:alsa_input.usb\"\n[[source]]\nurl = \"mic:\"\n[[source]]\nurl = \"test:\"\n";
    let config = Config::build(raw(text), Overrides::default(), &no_env).unwrap();
    let sources: Vec<_> = config.sources.iter().map(|s| (s.name.as_ref(), s.input.clone(), s.once)).collect();
    let camera = |name: &str| Some(name.to_owned());
    let expected = [
        ("webcam", Input::Webcam(camera("/dev/video2"), Microphone::Named("hw:1,0".into())), false),
        ("webcam-2", Input::Webcam(None, Microphone::Off), false),
        ("mic", Input::Mic(camera("alsa_input.usb")), false),
        ("mic-2", Input::Mic(None), false),
        ("test", Input::Test(Microphone::Usual), false),
    ];
    assert_eq!(sources, expected);
    let shown: Vec<_> = config.sources.iter().map(|s| s.input.shown()).collect();
    assert_eq!(shown, ["webcam:/dev/video2", "webcam:default", "mic:alsa_input.usb", "mic:default", "test:"]);

    let overrides = Overrides { audio: Some("desk".into()), ..Overrides::default() };
    let config = Config::build(raw(text), overrides, &no_env).unwrap();
    assert_eq!(config.sources[1].input, Input::Webcam(None, Microphone::Named("desk".into())));
    assert_eq!(config.sources[4].input, Input::Test(Microphone::Named("desk".into())));
}

#[test]
fn what_is_wrong_with_a_device_is_told() {
    let text = problems(
        "[[source]]\nname = \"d\"\nurl = \"mic:\"\naudio = \"x\"\n[[source]]\nname = \"d\"\nurl = \"test:1\"\n\
         [[source]]\nurl = \"webcam:\"\naudio = \"x\"\nno_audio = true\nrealtime = true\n[[source]]\nurl = \"mic://h\"\n",
    );
    for part in [
        "audio: is for webcam: and test:",
        "test: has no devices",
        "no_audio: excludes audio",
        "realtime: is for files",
        "mic: is followed by no name",
        "--list-devices",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let overrides = Overrides { no_audio: true, ..Overrides::default() };
    let text = Config::build(raw("[[source]]\nurl = \"mic:\"\n"), overrides, &no_env).unwrap_err().to_string();
    assert!(text.contains("--no-audio: belongs to a webcam:"), "{text}");
}

#[test]
fn the_panel_file_holds_judges_only_and_excludes_others() {
    let panel_text = judge("p", "");
    let with = |config: &str, panel: &str| {
        Config::build(raw(config).with_panel(panel, Path::new("p.toml")), Overrides::default(), &no_env)
    };
    assert_eq!(panel(with("", &panel_text).unwrap())[0].name.as_ref(), "p");
    for (config, panel, message) in [
        (
            judge("a", ""),
            panel_text.clone(),
            "a.toml: judge: there are [[judge]] tables here and a panel in p.toml; keep one of the two",
        ),
        (String::new(), String::new(), "p.toml: holds no [[judge]]"),
        (
            String::new(),
            format!("[window]\n{panel_text}"),
            "p.toml: window: unknown key; a panel file holds [[judge]] tables only",
        ),
        (String::new(), judge("p", "threshold = 0.5"), "p.toml: judge[1] (\"p\"): threshold: needs P(Yes)"),
    ] {
        let text = with(&config, &panel).unwrap_err().to_string();
        assert!(text.contains(message), "{text}");
    }
    let overrides = Overrides { cues: true, ..Overrides::default() };
    let text = Config::build(raw("").with_panel(&panel_text, Path::new("p.toml")), overrides, &no_env)
        .unwrap_err()
        .to_string();
    assert!(text.contains("--judge cues: excludes the panel p.toml"), "{text}");
}

#[test]
fn the_shipped_panel_is_the_papers() {
    let text = include_str!("../../models/panel.example.toml");
    let env = |name: &str| (name == "AH_GPU_KEY").then(|| "k".to_owned());
    let raw = RawConfig::default().with_panel(text, Path::new("models/panel.example.toml"));
    let judges = panel(Config::build(raw, Overrides::default(), &env).unwrap());
    assert_eq!(judges.iter().map(|judge| judge.name.as_ref()).collect::<Vec<_>>(), ["v1", "v2", "v3"]);
    for judge in judges {
        assert_eq!((judge.sampling.temperature, judge.sampling.top_p, judge.sampling.seed), (0.3, Some(0.95), None));
        assert_eq!((judge.time_scale, judge.prompt_name.as_str()), (2.0, "trained"));
    }
}

#[test]
fn the_schema_says_every_key_and_default_and_takes_what_the_program_takes() {
    let schema = config_schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let json = |text: &str| serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    assert!(validator.is_valid(&json(include_str!("../../models/panel.example.toml"))));
    assert!(validator.is_valid(&json(
        "[window]\nwindow_secs = 5\n[session]\nrule = \"max_of_vote\"\n[gate]\nrequire = \"speech-and-face\""
    )));
    assert!(!validator.is_valid(&json("[window]\nwindow_length = 5")));
    assert_eq!(schema["$defs"]["RawJudge"]["properties"]["deadline_ms"]["default"], 20_000);
    insta::assert_snapshot!(serde_json::to_string_pretty(&schema).unwrap());
}
