//! MQTT through a real Mosquitto.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ahwatch::run::Sinks;
use ahwatch::stage::Stages;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

use super::receiver::until;
use super::{alert, journal, sinks};

/// A broker; gone with its value.
pub struct Broker {
    process: Child,
    /// Where it listens.
    pub port: u16,
}

impl Broker {
    /// Of a configuration in `dir`, on a free port, or again on that.
    pub fn start(dir: &Path, port: Option<u16>, more: &str) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.unwrap_or_else(free);
        let file = dir.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\npersistence true\npersistence_location {}/\nuser root\n{more}\n",
            dir.display()
        );
        std::fs::write(&file, text).unwrap();
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists() || !path.starts_with('/'))
            .unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is missing: scripts/setup.sh --test brings it");
        let at: SocketAddr = ([127, 0, 0, 1], port).into();
        crate::kit::wait_until(Duration::from_secs(10), "the broker", || TcpStream::connect(at).ok());
        Self { process, port }
    }

    /// In good order, so that it keeps its subscribers.
    pub fn stop(mut self) -> u16 {
        Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        self.process.wait().unwrap();
        self.port
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Everything that is published, in order: topic and text. Its session outlives the broker.
pub fn subscribe(port: u16) -> std::sync::Arc<std::sync::Mutex<Vec<(String, String)>>> {
    let mut options = MqttOptions::new("observer", "127.0.0.1", port);
    options.set_clean_session(false).set_credentials("watch", "hunter2");
    let (client, mut events) = AsyncClient::new(options, 10);
    let got = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = got.clone();
    tokio::spawn(async move {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => client.try_subscribe("ah/#", QoS::AtLeastOnce).unwrap(),
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    kept.lock().unwrap().push((String::new(), "subscribed".into()));
                }
                Ok(Event::Incoming(Packet::Publish(it))) => {
                    kept.lock().unwrap().push((it.topic, String::from_utf8(it.payload.to_vec()).unwrap()));
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    got
}

fn ids(got: &[(String, String)]) -> Vec<String> {
    let events = got.iter().filter(|(topic, _)| topic == "ah/room-1/alert");
    events
        .map(|(_, text)| serde_json::from_str::<serde_json::Value>(text).unwrap()["id"].as_str().unwrap().into())
        .collect()
}

const SINK: &str = "[[sink]]\nname = \"home\"\nkind = \"mqtt\"\nprefix = \"ah\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_and_comes_back_gets_everything_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), None, "allow_anonymous true");
    let port = broker.port;
    let got = subscribe(port);
    let all = || got.lock().unwrap().clone();
    until("the subscription", || (!all().is_empty()).then_some(())).await;
    let sinks = sinks(&format!("{SINK}url = \"mqtt://127.0.0.1:{port}\"\n"), dir.path());
    let journal = journal(dir.path(), &sinks);
    // A runtime of its own, so that it can end without a word.
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let running = {
        let _inside = other.enter();
        Sinks::start(&journal, &sinks, Stages::default()).unwrap()
    };
    let word = |text: &'static str| move |(topic, said): &(String, String)| topic == "ah/available" && said == text;
    until("online", || all().iter().any(word("online")).then_some(())).await;
    for number in 0..5 {
        journal.record(vec![alert("s1", number)]).await;
    }
    until("five alerts", || (ids(&all()).len() == 5).then_some(())).await;
    broker.stop();
    for number in 5..10 {
        let told = journal.record(vec![alert("s1", number)]).await;
        assert!(told[0].durable);
    }
    let _broker = Broker::start(dir.path(), Some(port), "allow_anonymous true");
    until("all ten", || (ids(&all()).into_iter().collect::<BTreeSet<_>>().len() == 10).then_some(())).await;
    let mut once = ids(&all());
    once.dedup();
    assert_eq!(once, (0..10).map(|n| format!("s1.{n}")).collect::<Vec<_>>());
    until("that to be noted", || journal.reader().outbox().unwrap().is_empty().then_some(())).await;
    let before = all().len();
    std::mem::forget(running);
    other.shutdown_background();
    until("the last will", || all()[before..].iter().any(word("offline")).then_some(())).await;
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_password_reach_the_broker_and_another_authority_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let authority = || {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), rcgen::Issuer::new(params, key))
    };
    let (ca, issuer) = authority();
    let (other_ca, _) = authority();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    for (name, text) in
        [("ca.pem", ca), ("other.pem", other_ca), ("cert.pem", leaf.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(at(name), text).unwrap();
    }
    let password =
        Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(at("users")).args(["watch", "hunter2"]).status();
    assert!(password.unwrap().success());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tls = format!(
        "allow_anonymous false\npassword_file {}\nlistener {free} 127.0.0.1\ncertfile {}\nkeyfile {}",
        at("users").display(),
        at("cert.pem").display(),
        at("key.pem").display()
    );
    let broker = Broker::start(dir.path(), None, &tls);
    let got = subscribe(broker.port);
    until("the subscription", || (!got.lock().unwrap().is_empty()).then_some(())).await;
    let sink = |name: &str, ca: &str| {
        SINK.replace("home", name)
            + &format!(
                "url = \"mqtts://localhost:{free}\"\nca_file = \"{ca}\"\nusername_env = \"USER\"\npassword_env = \"PASSWORD\"\n"
            )
    };
    let sinks = sinks(&(sink("home", "ca.pem") + &sink("stranger", "other.pem")), dir.path());
    let journal = journal(dir.path(), &sinks);
    let running = Sinks::start(&journal, &sinks, Stages::default()).unwrap();
    journal.record(vec![alert("s1", 0)]).await;
    until("the alert", || (ids(&got.lock().unwrap()) == ["s1.0"]).then_some(())).await;
    let state = until("the other to have failed", || {
        let row =
            journal.reader().alerts(ahwatch::alert::journal::AlertFilter { limit: 1, ..Default::default() }).unwrap();
        row[0].deliveries.iter().find(|it| it.sink == "stranger" && it.attempts > 0).cloned()
    })
    .await;
    assert!(state.detail.as_deref().is_some_and(|why| why.to_lowercase().contains("certificate")), "{state:?}");
    running.stop().await;
    journal.close().await;
}
