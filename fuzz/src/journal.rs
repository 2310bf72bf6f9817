//! A journal under any order of events, deliveries, withdrawals and restarts: in order afterwards, every alert on one account,
//! nothing of what was withdrawn left in the file. And a file that was damaged: refused or read, never a panic.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use ahwatch::alert::journal::verify::{Report, verify};
use ahwatch::alert::journal::{Failure, FailureKind, Journal, Next, Reader, Route, SessionState, Told};
use ahwatch::alert::{Actor, Event};
use ahwatch::judge::{Abstention, AbstentionReason, Answer, Outcome, Verdict, Vote, WindowId};
use ahwatch::session::{Session, SessionSettings};
use ahwatch::time::{MediaTime, Span};
use arbitrary::{Arbitrary, Unstructured};
use jiff::{SignedDuration, Timestamp};

const SINKS: [&str; 2] = ["desk", "home"];

#[derive(Arbitrary, Debug)]
enum Op {
    /// The next window of a session, said Yes to or not; it begins the session.
    Window(u8, bool),
    /// The session ends.
    End(u8),
    Withdraw(u8),
    /// A sink is offered what is next, takes it or not.
    Deliver(u8, Fate),
    /// Dead letters of a sink are sent again.
    Resend(u8),
    /// Time goes by, in hours.
    Hours(u8),
    /// The service ends in good order and starts again.
    Restart,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fate {
    Taken,
    Away,
    Refused,
    Gone,
    /// The sender goes without a word.
    Dropped,
}

#[derive(Arbitrary, Debug)]
enum Script {
    Ops(Vec<Op>),
    /// Bytes of a sound journal that are changed: where, in how many sixteenths and more, to what.
    Damage(Vec<(u16, u8)>, u16),
}

/// A script of operations, or of damage.
pub fn run(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let dir = tempfile::tempdir().expect("a folder for the journal");
    let path = dir.path().join("j.db");
    match script {
        Script::Ops(ops) => {
            let withdrawn = operate(&path, ops.iter().take(40));
            let report = verify(&Reader::open(&path).expect("it can be opened")).expect("it can be read");
            in_order(&report);
            let bytes = std::fs::read(&path).expect("the journal's file");
            for session in withdrawn {
                let planted = planted(&session);
                assert!(
                    !bytes.windows(planted.len()).any(|part| part == planted.as_bytes()),
                    "{session} is still there"
                );
            }
        }
        Script::Damage(changes, cut) => {
            let mut image = sound().to_vec();
            for (at, to) in changes {
                let at = (usize::from(at) * 16 + usize::from(to % 16)) % image.len();
                image[at] = to;
            }
            if cut > 0 {
                image.truncate(image.len() - usize::from(cut) % image.len());
            }
            std::fs::write(&path, &image).expect("a temporary file can be written");
            look(&path);
        }
    }
}

/// What somebody may find in a damaged file is theirs to say; nobody may panic over it.
fn look(path: &Path) {
    if let Ok(reader) = Reader::open(path) {
        let _ = verify(&reader);
        let _ = reader.sessions(None, 10);
        let _ = reader.events_after(None, 0, &[], 100);
        let _ = reader.outbox();
        let _ = reader.tokens();
    }
    if let Ok((journal, writer)) = Journal::open(path) {
        let writing = std::thread::spawn(move || writer.run());
        runtime().block_on(async {
            let other: Arc<str> = "another session".into();
            let event = Event { session: Some(other.clone()), scope: other, ..super::resume::event(1) };
            let told = journal.record(vec![event]).await;
            assert_eq!(told.len(), 1, "what happens is told, whatever the file is like");
            journal.close().await;
        });
        writing.join().expect("the writer does not panic");
    }
}

fn in_order(report: &Report) {
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.holes.iter().all(|hole| matches!(&*hole.reason, "withdrawn" | "restart")), "{:?}", report.holes);
    for sink in &report.sinks {
        assert_eq!(sink.alerts, sink.delivered + sink.pending + sink.dead, "{sink:?}");
    }
    assert_eq!(report.sessions.wrong, 0);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// What stands in a vote of this session and nowhere else.
fn planted(session: &str) -> String {
    format!("planted in {session}")
}

/// A session that is told.
struct Live {
    session: Session,
    windows: u32,
    ended: bool,
    withdrawn: bool,
    /// The service was restarted since: nothing more comes of it.
    past: bool,
}

struct Rig {
    journal: Journal,
    writing: std::thread::JoinHandle<()>,
    now: Timestamp,
}

fn open(path: &Path, now: Timestamp) -> Rig {
    let (journal, writer) = Journal::open(path).expect("a journal that was closed can be opened");
    let route = |sink: &str| Route { sink: sink.into(), classes: vec!["alert".into(), "session".into()] };
    journal.set_routes(SINKS.iter().map(|sink| route(sink)).collect());
    Rig { journal, writing: std::thread::spawn(move || writer.run()), now }
}

impl Rig {
    async fn close(self) -> Timestamp {
        self.journal.close().await;
        self.writing.join().expect("the writer does not panic");
        self.now
    }

    async fn record(&self, events: Vec<Event>, withdrawn: bool) {
        let many = events.len();
        let told: Vec<Told> = self.journal.record(events).await;
        assert_eq!(told.len(), if withdrawn { 0 } else { many }, "what is withdrawn is not told");
    }

    async fn deliver(&self, sink: &str, fate: Fate) {
        let courier = self.journal.courier(sink).expect("the sink is there");
        courier.refill().await.expect("the journal can be read");
        let Next::Send(item) = courier.next(self.now) else { return };
        assert_eq!(courier.next(self.now), Next::Idle, "one at a time");
        let failed = |kind| {
            let failure = Failure { kind, detail: "no".into() };
            let _ = courier.failed(item.seq, &failure, self.now, 1.0);
        };
        match fate {
            Fate::Taken => courier.delivered(item.seq, self.now),
            Fate::Away => failed(FailureKind::Away),
            Fate::Refused => failed(FailureKind::Refused),
            Fate::Gone => failed(FailureKind::Gone),
            Fate::Dropped => {}
        }
    }
}

/// Does all of it; the sessions that were withdrawn.
fn operate<'a>(path: &Path, ops: impl Iterator<Item = &'a Op>) -> Vec<String> {
    let mut live: Vec<Option<Live>> = vec![None, None, None];
    runtime().block_on(async {
        let mut rig = open(path, "2026-01-01T00:00:00Z".parse().expect("a time"));
        for op in ops {
            match op {
                Op::Window(of, yes) => window(&rig, &mut live[usize::from(of % 3)], of % 3, *yes).await,
                Op::End(of) => {
                    let Some(of) = live[usize::from(of % 3)].as_mut().filter(|of| !of.past) else { continue };
                    of.ended = true;
                    let events = of.session.end(MediaTime::ZERO, rig.now);
                    rig.record(events, of.withdrawn).await;
                }
                Op::Withdraw(of) => {
                    let Some(of) = &mut live[usize::from(of % 3)] else { continue };
                    let id = of.session.id().to_string();
                    let receipt = rig.journal.withdraw(&id, Actor::Participant, rig.now).await;
                    assert_eq!(receipt.expect("the session is known").session, id);
                    of.withdrawn = true;
                }
                Op::Deliver(sink, fate) => rig.deliver(SINKS[usize::from(sink % 2)], *fate).await,
                Op::Resend(sink) => {
                    let sent = rig.journal.resend(SINKS[usize::from(sink % 2)], None, rig.now).await;
                    sent.expect("the journal can be written");
                }
                Op::Hours(hours) => {
                    rig.now = rig.now.checked_add(SignedDuration::from_hours(i64::from(*hours))).expect("a time");
                }
                Op::Restart => {
                    let now = rig.close().await;
                    rig = open(path, now);
                    for of in live.iter_mut().flatten() {
                        let row = rig.journal.reader().session(of.session.id()).expect("the journal can be read");
                        let is_interrupted = row.is_some_and(|row| row.state == SessionState::Interrupted);
                        assert_eq!(is_interrupted, !of.ended && !of.withdrawn);
                        of.past = true;
                    }
                }
            }
        }
        rig.close().await;
    });
    live.into_iter().flatten().filter(|of| of.withdrawn).map(|of| of.session.id().to_string()).collect()
}

async fn window(rig: &Rig, of: &mut Option<Live>, number: u8, yes: bool) {
    let mut events = Vec::new();
    let of = of.get_or_insert_with(|| {
        let settings =
            SessionSettings { judges: vec!["v1".into(), "v2".into(), "v3".into()], ..SessionSettings::default() };
        let mut session = Session::new(format!("s{number}").into(), "camera".into(), Arc::new(settings));
        events.push(session.start(rig.now));
        Live { session, windows: 0, ended: false, withdrawn: false, past: false }
    });
    if of.past {
        return;
    }
    let at = MediaTime::from_millis(5000).scale(i64::from(of.windows), 1);
    let answer = if yes { Answer::Present } else { Answer::Absent };
    let detail = planted(of.session.id());
    let abstained = Answer::Abstained(Abstention { reason: AbstentionReason::Deadline, detail });
    let votes =
        vec![Vote::new("v1".into(), answer.clone()), Vote::new("v2".into(), answer), Vote::new("v3".into(), abstained)];
    let verdict = Verdict {
        window: WindowId { continuity: 0, index: of.windows },
        span: Span::new(at, at + MediaTime::from_millis(5000)),
        outcome: Outcome::Votes(votes),
    };
    of.windows += 1;
    events.extend(of.session.apply(&verdict, rig.now));
    rig.record(events, of.withdrawn).await;
}

/// The bytes of a journal in good order, with a little of everything in it.
fn sound() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder for the journal");
        let path = dir.path().join("j.db");
        let ops = [
            Op::Window(0, false),
            Op::Window(0, true),
            Op::Window(1, true),
            Op::Deliver(0, Fate::Taken),
            Op::Deliver(1, Fate::Gone),
            Op::Window(2, true),
            Op::End(0),
            Op::Withdraw(2),
        ];
        operate(&path, ops.iter());
        std::fs::read(&path).expect("the journal's file")
    })
}
