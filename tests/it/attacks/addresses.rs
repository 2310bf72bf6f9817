//! Forged addresses: spellings of this machine and of private networks, in every place that takes an address. None is reached.

use ahwatch::run::Sinks;
use serde_json::json;

use super::Trap;
use crate::journal::receiver::until;
use crate::journal::{alert, journal, sinks};
use crate::kit::service::Service;

/// Hosts that lead to this machine, a private network or a cloud's secrets, in spellings that checks by text let through.
const INWARD: [&str; 44] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433", // decimal
    "0x7f000001", // hexadecimal
    "0x7f.0.0.1", // in parts
    "0x7F.1",
    "017700000001", // octal
    "0177.0.0.1",
    "0177.1",
    "127.0.0.1.", // a dot at the end
    "127.000.000.001",
    "%31%32%37.0.0.1", // escaped
    "127%2e0%2e0%2e1",
    "①②⑦.⓪.⓪.①",       // digits in circles
    "１２７.０.０.１", // digits of full width
    "127。0。0。1",    // ideographic full stops
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]", // mapped
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",        // compatible
    "[::ffff:0:127.0.0.1]", // translated
    "[64:ff9b::127.0.0.1]", // NAT64
    "[64:ff9b::a00:1]",
    "[64:ff9b:1::7f00:1]", // NAT64 of one's own
    "[2002:7f00:1::]",     // 6to4
    "[2002:a00:1::1]",
    "[2001:0:7f00:1::]", // Teredo
    "[fe80::1]",
    "[fc00::1]",
    "[fec0::1]",
    "[ff02::1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "[fd00:ec2::254]",
    "100.64.0.1",
    "198.18.0.1",
    "255.255.255.255",
];

/// The same by tricks of the whole address; PORT is the trap's.
const TRICKS: [&str; 8] = [
    "user@127.0.0.1:PORT/x",
    "public.example@127.0.0.1:PORT/x",
    "public.example:443@127.0.0.1:PORT/x",
    "public.example%40127.0.0.1:PORT/x",
    "127.0.0.1:PORT#@public.example/x",
    "127.0.0.1:PORT?@public.example/x",
    "public.example\\@127.0.0.1:PORT/x",
    "[fe80::1%25lo]:PORT/x", // a zone
];

/// Names that the system's own files lead here.
const NAMES: [&str; 5] = ["localhost", "LOCALHOST", "localhost.", "ip6-localhost", "ip6-loopback"];

fn forms(port: u16) -> Vec<String> {
    let tricks = TRICKS.iter().map(|form| form.replace("PORT", &port.to_string()));
    INWARD.iter().chain(&NAMES).map(|host| format!("{host}:{port}/x")).chain(tricks).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_webhooks_address_leads_inward() {
    let trap = Trap::set();
    let dir = tempfile::tempdir().unwrap();
    let (mut refused, mut text, mut taken) = (0, String::new(), Vec::new());
    for form in forms(trap.port) {
        let name = format!("s{}", taken.len());
        let sink = format!(
            "[[sink]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = {}\nsecret_env = \"HOOK\"\nallow_plain = true\n",
            json!(format!("http://{form}"))
        );
        let raw = ahwatch::config::RawConfig::parse(&sink, &dir.path().join("a.toml"));
        let env = |_: &str| Some(crate::journal::SECRET.to_owned());
        if ahwatch::config::Config::build(raw, ahwatch::config::Overrides::default(), &env).is_ok() {
            text += &sink;
            taken.push(form);
        } else {
            refused += 1;
        }
    }
    // What is written out is refused before anything runs; names have to be resolved for that.
    assert!(refused >= 50, "{refused} refused, taken: {taken:?}");
    assert!(NAMES.iter().all(|name| taken.iter().any(|form| form.starts_with(name))), "{taken:?}");
    let sinks = sinks(&text, dir.path());
    let journal = journal(dir.path(), &sinks);
    let running = Sinks::start(&journal, &sinks).unwrap();
    journal.record(vec![alert("s1", 1)]).await;
    let filter = || ahwatch::alert::journal::AlertFilter { limit: 9, ..Default::default() };
    let deliveries = until("all of them to have failed", || {
        let deliveries = journal.reader().alerts(filter()).unwrap().remove(0).deliveries;
        deliveries.iter().all(|delivery| delivery.attempts > 0 && delivery.detail.is_some()).then_some(deliveries)
    })
    .await;
    assert_eq!(deliveries.len(), taken.len());
    running.stop().await;
    journal.close().await;
    assert_eq!(trap.reached(), 0, "{taken:?}");
}

#[test]
fn no_spelling_of_a_cameras_address_leads_beyond_the_operators_list() {
    let trap = Trap::set();
    let list = r#"["192.0.2.0/24", "2001:db8::/32", "*.clinic.example", "public.example"]"#;
    let service = Service::start_so(&format!("requests_per_second = 10000\ncameras = {list}"), "");
    let operator = service.token("op", "operator");
    let ask = |url: &str| {
        let wish = json!({
            "source": { "kind": "url", "url": url }, "purpose": "research", "consent": { "reference": "form 1" }
        });
        service.post("/v1/sessions", &operator, &wish)
    };
    let mut waits = Vec::new();
    for form in forms(trap.port) {
        for scheme in ["rtsp", "rtsps"] {
            let answer = ask(&format!("{scheme}://{form}"));
            if answer.status == 201 {
                waits.push((form.clone(), answer.json()["id"].as_str().unwrap().to_owned()));
            } else {
                answer.refused(422);
            }
        }
    }
    // A name that nobody knows may be one tomorrow. It is resolved, and looked at, for each connection.
    assert!(waits.len() <= 10, "{waits:?}");
    for (form, id) in &waits {
        let path = format!("/v1/sessions/{id}/events?after=0");
        service.follow(&path, &operator).wait_for(form, |told| told.kind == "ah.source.lost.v1");
    }
    for url in [
        "http://192.0.2.1/x",
        "file:///etc/passwd",
        "rtspt://192.0.2.1/x",
        "rtsph://192.0.2.1/x",
        "rtsp-sdp://192.0.2.1/x",
        "RTSP://192.0.2.1/x",
        "rtsp:192.0.2.1/x",
        "rtsp:///x",
        "webcam:",
        "/dev/video0",
        "rtsp://192.0.2.1:22/x",
        "rtsp://192.0.2.1:0/x",
        "rtsp://192.0.2.1:99999/x",
        "rtsp://192.0.3.1/x",
        "rtsp://clinic.example/x",
        "rtsp://xclinic.example.evil.example./x",
        "rtsp://a..clinic.example/x",
        "rtsp://a.clinic.example%00.evil.example/x",
        "rtsp://a.clinic.example\r\nHost:evil/x",
    ] {
        let answer = ask(url);
        // A name beyond the list that nobody knows cannot be told from one that nobody knows yet.
        let unknown = answer.status == 201 && !url.contains("192.0") && url.contains("clinic");
        assert!(unknown || [400, 422].contains(&answer.status), "{url}: {} {}", answer.status, answer.text);
    }
    assert_eq!(trap.reached(), 0);
    let one = ask("rtsp://192.0.2.9:8554/live");
    assert_eq!(one.status, 201, "what is on the list is taken: {}", one.text);
}

/// A broker is the owner's own, and may be in the clinic's network. It is not named by accident, nor spoken to in the clear.
#[test]
fn a_brokers_address_says_what_it_is_and_is_not_here_by_a_trick() {
    let dir = tempfile::tempdir().unwrap();
    let built = |url: &str| {
        let text = format!("[[sink]]\nname = \"home\"\nkind = \"mqtt\"\nurl = {}\n", json!(url));
        let raw = ahwatch::config::RawConfig::parse(&text, &dir.path().join("a.toml"));
        ahwatch::config::Config::build(raw, ahwatch::config::Overrides::default(), &|_| None)
    };
    for url in [
        "tcp://127.0.0.1",
        "ws://127.0.0.1",
        "mqtt+unix:///run/x",
        "http://127.0.0.1",
        "mqtt://u:p@127.0.0.1",
        "mqtt://localhost@evil.example",
        "mqtt://127.0.0.1.evil.example",
        "mqtt://localhost.evil.example",
        "mqtt://0x7f.1",
        "mqtt://2130706433",
        "mqtt://[::ffff:10.0.0.1]",
        "mqtt://10.0.0.1",
        "mqtt://127.0.0.1/topic",
        "mqtt://127.0.0.1?x",
        "mqtt://",
        "mqtt:127.0.0.1",
    ] {
        assert!(built(url).is_err(), "{url}");
    }
    for url in ["mqtt://localhost", "mqtt://127.0.0.1:1884", "mqtt://[::1]"] {
        assert!(built(url).is_ok(), "{url}: {:?}", built(url).err());
    }
}
