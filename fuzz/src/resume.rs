//! A reader of events that comes back: whatever `Last-Event-ID` and `?after=` say, it gets exactly what comes after, in order, of
//! its session, or is refused.

use std::sync::{Arc, OnceLock};

use ahwatch::alert::event::CloudEvent;
use ahwatch::alert::journal::{Journal, Reader};
use ahwatch::alert::{Event, EventKind, SourceState};
use ahwatch::server::stream::resume;
use ahwatch::time::{MediaTime, Span};
use axum::http::HeaderValue;
use jiff::Timestamp;

/// Events of two sessions in turn, by number from 1.
const EVENTS: u64 = 12;

/// What is read: it stands for the whole process.
struct Fixture {
    reader: Reader,
    _dir: tempfile::TempDir,
}

/// A first byte says which session (or all), how many at a time, and whether there is a header; the rest is the header. Its last
/// eight bytes are the query's number too, if there is one.
pub fn run(data: &[u8]) {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    let Some((&first, rest)) = data.split_first() else { return };
    let header = if first & 1 > 0 { HeaderValue::from_bytes(rest).ok() } else { None };
    let query = if first & 2 > 0 { rest.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)) } else { None };
    let session = [None, Some("s0"), Some("s1"), Some("s2")][usize::from(first >> 2 & 3)];
    let page = usize::from(first >> 4) + 1;
    let plain = |header: &HeaderValue| -> Option<u64> { header.to_str().ok()?.trim().parse().ok() };
    let after = match resume(header.as_ref(), query) {
        Ok(after) => {
            assert_eq!(after, header.as_ref().map_or(query, plain), "the header counts before the query");
            assert!(header.is_none() || after.is_some(), "a header that is no number is not \"from now on\"");
            after
        }
        Err(_) => {
            let is_number = |n: u64| i64::try_from(n).is_ok();
            assert!(!header.as_ref().map_or(query, plain).is_some_and(is_number), "{header:?} {query:?}");
            return;
        }
    };
    let Some(after) = after else { return };
    let fixture = FIXTURE.get_or_init(fixture);
    let (mut got, mut last) = (Vec::new(), after);
    loop {
        let read = fixture.reader.events_after(session, last, &[], page).expect("the journal can be read");
        assert!(read.len() <= page);
        let Some((seq, _)) = read.last() else { break };
        last = *seq;
        got.extend(read.iter().map(|(seq, _)| *seq));
    }
    let of = |seq: &u64| session.is_none_or(|session| session == format!("s{}", seq % 2));
    let wanted: Vec<u64> = (1..=EVENTS).filter(|seq| *seq > after).filter(of).collect();
    assert_eq!(got, wanted, "after {after} of {session:?}");
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a folder for the journal");
    let (journal, writer) = Journal::open(&dir.path().join("j.db")).expect("a journal");
    let reader = journal.reader();
    let writing = std::thread::spawn(move || writer.run());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for number in 1..=EVENTS {
            let told = journal.record(vec![event(number)]).await;
            assert_eq!(told[0].seq, number);
            assert!(told[0].json.contains(&CloudEvent::from(&told[0].event).id));
        }
        journal.close().await;
    });
    writing.join().expect("the writer ends");
    Fixture { reader, _dir: dir }
}

/// The event of this number: of session `s0` or `s1`.
pub fn event(number: u64) -> Event {
    let session: Arc<str> = format!("s{}", number % 2).into();
    Event {
        session: Some(session.clone()),
        scope: session,
        number,
        source: "room-1".into(),
        continuity: 0,
        span: Span::new(MediaTime::ZERO, MediaTime::ZERO),
        wall: Timestamp::UNIX_EPOCH,
        kind: EventKind::SourceLost(SourceState::Retrying, "gone".into()),
    }
}
