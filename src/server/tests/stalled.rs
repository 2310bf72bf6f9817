//! Clients that go away, and a disk that stalls: what was begun is finished, and nothing is held.

use std::future::poll_fn;

use axum::extract::State;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, pause, resume, sleep, timeout};

use super::super::problem::{Body, Named};
use super::super::whip::{Hub, Peers};
use super::*;
use crate::alert::fixtures;
use crate::alert::journal::{Role, SessionRow, Token};
use crate::config::{JournalConfig, Overrides, RawConfig};
use crate::run::{Commands, control};

const LIMIT: Duration = Duration::from_secs(20);
const CONTROLLER: &str = "[controller]\nname = \"Test clinic\"\ncontact = \"privacy@example.org\"\n";

/// A service whose watch is the test.
struct Rig {
    service: Arc<Service>,
    commands: Commands,
    journal: Journal,
    browsers: Arc<Hub>,
    _dir: TempDir,
}

fn rig(text: &str) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let raw = RawConfig::parse(&format!("{CONTROLLER}{text}"), &dir.path().join("ahwatch.toml"));
    let config = Arc::new(Config::build(raw, Overrides::default(), &|_| None).unwrap());
    let journal = crate::run::journal(&JournalConfig::at(dir.path().join("j.db")), &[]).unwrap();
    let (control, commands) = control();
    let browsers = Arc::new(Hub::new(Peers::new(Vec::new())));
    let whip = Whip::new(Arc::clone(&browsers), Arc::new(()));
    let service = Service::new(config, "http://127.0.0.1".to_owned(), control, journal.clone(), Some(whip));
    Rig { service: Arc::new(service), commands, journal, browsers, _dir: dir }
}

fn caller(role: Role, session: Option<&str>) -> Caller {
    Caller { name: "a".to_owned(), role, session: session.map(str::to_owned), address: [127, 0, 0, 1].into() }
}

impl Rig {
    /// A session that waits for its participant.
    async fn invited(&self) -> String {
        let wish = json!({ "source": { "kind": "webrtc" }, "purpose": "health_care" });
        let wish = Body(serde_json::from_value(wish).unwrap());
        let made = create::create(State(Arc::clone(&self.service)), caller(Role::Operator, None), wish).await.unwrap();
        made.2.0.own.id
    }

    async fn consent(&self, id: &str) -> bool {
        let agreement = json!({ "text_version": pages::text_version(), "language": "en" });
        let agreement = Body(serde_json::from_value(agreement).unwrap());
        let (service, caller) = (Arc::clone(&self.service), caller(Role::Participant, Some(id)));
        consent::give(State(service), caller, Named(id.to_owned()), agreement).await.is_ok()
    }

    fn row(&self, id: &str) -> SessionRow {
        self.journal.reader().session(id).unwrap().unwrap()
    }

    /// Once everything is written that was asked for.
    async fn written(&self) {
        timeout(LIMIT, self.journal.revoke("nobody")).await.unwrap().unwrap();
    }

    fn places(&self) -> usize {
        hold(&self.service.open).len()
    }
}

#[tokio::test]
async fn a_withdrawal_is_carried_out_though_who_asked_for_it_is_gone() {
    let rig = rig("");
    let id = rig.invited().await;
    rig.service.closed(&id).await;
    let token = Token { name: "op".into(), role: Role::Operator, session: None, created: wall(), expires: None };
    let token = rig.journal.new_token(token).await.unwrap();
    // The handler has to wait here.
    let held = rig.browsers.peers.lock().await;
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let app = TowerToHyperService::new(router(Arc::clone(&rig.service)));
    let builder = Builder::new(TokioExecutor::new());
    let served = builder.serve_connection(TokioIo::new(server), app);
    pause();
    let asked = async {
        let head = format!(
            "POST /v1/sessions/{id}/withdraw HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
             content-length: 0\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        // A clock that stands still goes on only when nothing else does.
        sleep(Duration::from_secs(1)).await;
        drop(client);
    };
    let _ = tokio::join!(served, asked);
    resume();
    assert_eq!(rig.journal.reader().receipt(&id).unwrap(), None);
    let mut idle = Box::pin(rig.service.idle());
    assert!(poll_fn(|cx| std::task::Poll::Ready(idle.as_mut().poll(cx))).await.is_pending(), "it is under way");
    drop(held);
    timeout(LIMIT, idle).await.unwrap();
    assert!(rig.journal.reader().receipt(&id).unwrap().is_some());
    assert_eq!(rig.row(&id).state, SessionState::Withdrawn);
}

#[tokio::test]
async fn a_consent_that_a_stalled_disk_wrote_late_is_taken_up_by_the_next_try() {
    let mut rig = rig("");
    let id = rig.invited().await;
    let stalled = rig.journal.stall();
    pause();
    assert!(!rig.consent(&id).await, "it is not known to be written");
    resume();
    drop(stalled);
    rig.written().await;
    let row = rig.row(&id);
    assert!(row.state == SessionState::AwaitingMedia && row.consent.is_some(), "{row:?}");
    let mut commands = std::mem::replace(&mut rig.commands, control().1);
    let (agreed, asked) = tokio::join!(rig.consent(&id), timeout(LIMIT, commands.answer()));
    assert!(agreed);
    assert_eq!(asked, Ok("add"));
    assert!(hold(&rig.service.open)[&*id].waiting.is_none(), "its media is taken from now on");
    assert!(rig.consent(&id).await, "a further click changes nothing");
}

#[tokio::test]
async fn a_session_that_cannot_be_started_is_over_and_holds_no_place() {
    let mut rig = rig("");
    let id = rig.invited().await;
    assert_eq!(rig.places(), 1);
    rig.commands = control().1;
    assert!(!rig.consent(&id).await, "the watch is gone");
    assert_eq!(rig.places(), 0);
    rig.written().await;
    assert_eq!(rig.row(&id).state, SessionState::Ended);
    assert!(!rig.consent(&id).await, "and nobody can consent any more");
}

#[tokio::test]
async fn a_place_whose_session_the_journal_does_not_know_is_freed() {
    let mut rig = rig("");
    let old = wall().checked_sub(Duration::from_secs(90 * 86_400)).unwrap();
    let open = || Open {
        source: "join-1".into(),
        created: old,
        waiting: None,
        feed: None,
        url: None,
        language: None,
        cues: false,
    };
    hold(&rig.service.open).insert("s1".into(), open());
    let ((), asked) = tokio::join!(rig.service.tidy(wall()), rig.commands.answer());
    assert_eq!((asked, rig.places()), ("end", 0));
}

#[tokio::test]
async fn what_cannot_be_made_holds_no_place() {
    let rig = rig("");
    let stalled = rig.journal.stall();
    pause();
    let wish = json!({ "source": { "kind": "webrtc" }, "purpose": "health_care" });
    let wish = Body(serde_json::from_value(wish).unwrap());
    let made = create::create(State(Arc::clone(&rig.service)), caller(Role::Operator, None), wish).await;
    resume();
    assert!(made.is_err() && rig.places() == 0);
    drop(stalled);
    rig.written().await;
    let all = rig.journal.reader().sessions(None, 9).unwrap();
    assert_eq!(all.iter().map(|row| row.state).collect::<Vec<_>>(), [SessionState::Ended], "nobody has its link");
}

#[tokio::test]
async fn sessions_of_configured_sources_begin_without_waiting_for_the_disk() {
    const SESSIONS: u64 = 20;
    let source = "[[source]]\nname = \"room\"\nurl = \"test:\"\npurpose = \"research\"\nconsent = \"folder 3\"\n";
    let rig = rig(source);
    let began = fixtures::panel_session().into_iter().find(|e| matches!(e.kind, EventKind::SessionStarted(_))).unwrap();
    let of = |n: u64| {
        let id: Arc<str> = format!("s{n}").into();
        Event { session: Some(Arc::clone(&id)), scope: id, number: 0, source: "room".into(), ..began.clone() }
    };
    let stalled = rig.journal.stall();
    pause();
    let start = Instant::now();
    rig.service.tell((0..SESSIONS).map(of).collect()).await;
    let took = start.elapsed();
    resume();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(hold(&rig.service.live).sessions().count() as u64, SESSIONS);
    drop(stalled);
    rig.written().await;
    for n in 0..SESSIONS {
        let row = rig.row(&format!("s{n}"));
        let consent = row.consent.and_then(|consent| consent.reference);
        assert_eq!((row.purpose.as_deref(), consent.as_deref()), (Some("research"), Some("folder 3")));
    }
}
