//! A reader of events that reads nothing: it is cut, on a real connection, and delays nobody.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ahwatch::alert::Event;
use ahwatch::config::JournalConfig;

use crate::journal::alert;
use crate::kit::service::Service;
use crate::kit::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

/// More than any system keeps for a connection, of one session.
fn fill(dir: &std::path::Path) -> usize {
    const EVENTS: u64 = 3000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = ahwatch::run::journal(&JournalConfig::at(dir.join("journal.db")), &[]).unwrap();
        let long: std::sync::Arc<str> = "a room of a very long name, ".repeat(150).into();
        let mut bytes = 0;
        for first in (0..EVENTS).step_by(100) {
            let event = |number| Event { source: long.clone(), ..alert("s1", number) };
            let told = journal.record((first..first + 100).map(event).collect()).await;
            bytes += told.iter().map(|told| told.json.len()).sum::<usize>();
        }
        journal.close().await;
        bytes
    })
}

#[test]
fn a_reader_that_takes_nothing_loses_its_connection_and_nobody_else_notices() {
    let dir = tempfile::tempdir().unwrap();
    assert!(fill(dir.path()) > 20 << 20, "it has to be more than fits into buffers");
    let service = Service::start_in(dir.path(), "[window]\nwindow_secs = 1\n");
    let token = service.token("op", "operator");
    let streams = |wanted: &str| {
        let text = service.get("/metrics", &token).ok().text;
        let line = text.lines().find_map(|line| line.strip_prefix("ahwatch_event_streams ")).map(str::to_owned);
        (line.as_deref() == Some(wanted)).then_some(())
    };
    let mut stalled = TcpStream::connect(service.url.strip_prefix("http://").unwrap()).unwrap();
    let request = format!("GET /v1/events?after=0 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
    stalled.write_all(request.as_bytes()).unwrap();
    wait_until(LIMIT, "the reader to be counted", || streams("1"));
    let began = Instant::now();

    // Meanwhile others are served, from the same journal, and windows are told.
    let id = super::made(&service, &token, &super::camera("test:"));
    let others = service.follow(&format!("/v1/sessions/{id}/events?after=0"), &token);
    wait_until(LIMIT, "three windows", || (others.told().len() >= 4).then_some(()));
    drop(others);

    wait_until(LIMIT, "the stalled reader to be cut", || streams("0"));
    assert!(began.elapsed() < ahwatch::server::connection::PATIENCE + Duration::from_secs(20), "{:?}", began.elapsed());
    // It is not only forgotten: what was on its way can still be read, then the connection is reset.
    let mut part = vec![0; 1 << 16];
    stalled.set_read_timeout(Some(LIMIT)).unwrap();
    let end = loop {
        match stalled.read(&mut part) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    service.stop().expect_code(0);
}
