//! Judges with several base URLs, and base URLs that die: failover, circuits, and what is asked meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ahwatch::judge::panel::{Due, Panel};
use ahwatch::judge::{AbstentionReason, Answer, Vote};
use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::response::IntoResponse as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::wire::{MapStatus as _, abstained, clips, completion, json_reply, judge_table, panel_of, serve, serve_raw};

/// Long enough for a loaded machine; a hang is what it catches.
const LIMIT: Duration = Duration::from_secs(60);

/// A judge's table with these base URLs.
fn table(name: &str, urls: &[&str], more: &str) -> String {
    judge_table(name, "", more).replace("base_url = \"\"", &format!("base_urls = {}", json!(urls)))
}

async fn vote(panel: &Panel, due: Due) -> Vote {
    tokio::time::timeout(LIMIT, panel.judge(&clips(), &[], due)).await.expect("an answer, or a reason").remove(0)
}

async fn live(panel: &Panel) -> Vote {
    vote(panel, Due::After(Instant::now())).await
}

/// A base URL that refuses connections for as long as the socket is held.
fn refusing() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/v1", socket.local_addr().unwrap());
    (socket, url)
}

/// A server that is ill until it is well; counts what it is asked.
struct Patient {
    url: String,
    well: Arc<AtomicBool>,
    posts: Arc<AtomicUsize>,
    gets: Arc<AtomicUsize>,
}

impl Patient {
    async fn new(ill: u16) -> Self {
        let (well, posts, gets): (Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let (now_well, posted, got) = (well.clone(), posts.clone(), gets.clone());
        let app = Router::new().fallback(move |request: Request| {
            let is_post = request.method() == Method::POST;
            if is_post { &posted } else { &got }.fetch_add(1, Ordering::SeqCst);
            let well = now_well.load(Ordering::SeqCst);
            async move {
                drop(axum::body::to_bytes(request.into_body(), usize::MAX).await);
                match (well, is_post) {
                    (false, _) => json_reply(ill, &json!({"error": {"message": "ill"}})),
                    (true, false) => json_reply(200, &json!({"data": []})),
                    (true, true) => completion("<answer>Yes</answer>", "stop"),
                }
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, well, posts, gets }
    }

    fn asked(&self) -> (usize, usize) {
        (self.posts.load(Ordering::SeqCst), self.gets.load(Ordering::SeqCst))
    }

    fn heal(&self) {
        self.well.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_least_loaded_is_asked_and_equals_in_turn() {
    let gate = Arc::new(Semaphore::new(0));
    let held = || {
        let gate = gate.clone();
        serve(move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                completion("<answer>No</answer>", "stop")
            }
        })
    };
    let (one, two) = (held().await, held().await);
    let panel = panel_of(&table("v1", &[&one.url, &two.url], "max_in_flight = 3"));
    assert_eq!(panel.windows_at_once(), 6);
    let asked = async {
        while one.hits() + two.hits() < 6 {
            tokio::task::yield_now().await;
        }
        // Six windows have filled both; the two others wait for whichever has a place first.
        let seen = (one.hits(), two.hits());
        gate.add_permits(8);
        seen
    };
    let votes = join_all((0..8).map(|_| live(&panel)));
    let (votes, seen) = tokio::time::timeout(LIMIT, async { tokio::join!(votes, asked) }).await.unwrap();
    assert_eq!(seen, (3, 3));
    assert!(votes.iter().all(|vote| vote.answer == Answer::Absent && vote.attempts == 1));
    let urls: std::collections::BTreeSet<_> = votes.iter().filter_map(|vote| vote.base_url.clone()).collect();
    assert_eq!(urls.len(), 2);
}

/// Under overload a place that comes free goes to a window that can still be answered: else each would get it too late.
#[tokio::test]
async fn what_cannot_come_back_in_time_is_not_sent_while_others_wait() {
    let (slow, gate) = (Duration::from_millis(600), Arc::new(Semaphore::new(0)));
    let release = gate.clone();
    let server = serve(move |call| {
        let gate = gate.clone();
        async move {
            if call.number < 6 {
                tokio::time::sleep(slow).await;
            } else {
                gate.acquire().await.unwrap().forget();
            }
            completion("<answer>No</answer>", "stop")
        }
    })
    .await;
    let panel = panel_of(&judge_table("v1", &server.url, "max_in_flight = 2\ndeadline_ms = 20000"));
    // It takes at least 0.6 s for an answer.
    join_all((0..6).map(|_| live(&panel))).await;
    let held = join_all((0..2).map(|_| live(&panel)));
    let late = async {
        while server.hits() < 8 {
            tokio::task::yield_now().await;
        }
        let due = Due::After(Instant::now() - Duration::from_millis(19_500));
        let late = join_all((0..3).map(|_| vote(&panel, due)));
        let free = async {
            // In line by now, since all of them are polled before this is again.
            tokio::task::yield_now().await;
            release.add_permits(2);
        };
        let votes = tokio::join!(late, free).0;
        release.add_permits(1);
        votes
    };
    let (held, late) = tokio::time::timeout(LIMIT, async { tokio::join!(held, late) }).await.unwrap();
    assert!(held.iter().all(|vote| vote.answer == Answer::Absent));
    for vote in &late[..2] {
        abstained(vote, AbstentionReason::Deadline, "no request was sent");
    }
    // Whoever stands in nobody's way may try.
    assert!(late[2].attempts <= 1 && server.hits() <= 9);
}

#[tokio::test]
async fn a_replicas_death_costs_no_verdict() {
    let alive = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let (_held, refused) = refusing();
    // One that dies with the request in hand, and again with half an answer.
    let broken = serve_raw("").await;
    let cut = serve_raw("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"choices\": [").await;
    for dead in [&refused, &broken, &cut] {
        let panel = panel_of(&table("v1", &[dead, &alive.url], ""));
        let mut failovers = 0;
        for _ in 0..20 {
            let vote = live(&panel).await;
            assert_eq!(vote.answer, Answer::Present, "{dead}");
            failovers += vote.attempts - 1;
        }
        // After five failures in a row nobody is sent there any more, but for one request that a canary's answer let through.
        assert!((1..=7).contains(&failovers), "{dead}: {failovers}");
    }
}

#[tokio::test]
async fn one_that_says_nothing_is_given_up_in_time_to_ask_another() {
    let stuck = serve(|_| std::future::pending()).await;
    let alive = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let panel = panel_of(&table("v1", &[&stuck.url, &alive.url], "deadline_ms = 2000"));
    for _ in 0..2 {
        assert_eq!(live(&panel).await.answer, Answer::Present);
    }
    assert_eq!(stuck.hits(), 1);
}

#[tokio::test]
async fn a_server_with_another_model_is_passed_over() {
    let other =
        serve(|_| async { json_reply(404, &json!({"error": {"message": "The model `m` does not exist."}})) }).await;
    let alive = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let panel = panel_of(&table("v1", &[&other.url, &alive.url], ""));
    for _ in 0..10 {
        assert_eq!(live(&panel).await.answer, Answer::Present);
    }
    assert_eq!((other.hits(), alive.hits()), (1, 10));
    // Alone it is asked each time, and no circuit opens for what is between it and this judge.
    let alone = panel_of(&judge_table("v1", &other.url, ""));
    for _ in 0..10 {
        abstained(&live(&alone).await, AbstentionReason::UnknownModel, "The model `m` does not exist");
    }
}

#[tokio::test]
async fn who_is_asked_to_wait_asks_another_meanwhile() {
    let busy = serve(|_| async { ([("retry-after", "60")], "").into_response().map_status(429) }).await;
    let alive = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let panel = panel_of(&table("v1", &[&busy.url, &alive.url], ""));
    for _ in 0..10 {
        assert_eq!(live(&panel).await.answer, Answer::Present);
    }
    assert_eq!((busy.hits(), alive.hits()), (1, 10));
}

#[tokio::test]
async fn retry_after_is_kept() {
    let server = serve(|call| async move {
        if call.number == 0 {
            ([("retry-after", "1")], "").into_response().map_status(429)
        } else {
            completion("<answer>Yes</answer>", "stop")
        }
    })
    .await;
    let panel = panel_of(&judge_table("v1", &server.url, ""));
    let asked = Instant::now();
    assert_eq!(live(&panel).await.answer, Answer::Present);
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
}

/// Live windows meet an open circuit: no request but one canary a second, no waiting; and it closes once the server is well.
#[tokio::test]
async fn an_open_circuit_costs_a_canary_a_second_and_closes_by_itself() {
    for watched in [false, true] {
        let server = Patient::new(500).await;
        let panel = panel_of(&judge_table("v1", &server.url, ""));
        abstained(&live(&panel).await, AbstentionReason::ServerError, "500: ill; 5 requests, its circuit is open");
        let opened = Instant::now();
        let windows = async {
            while opened.elapsed() < Duration::from_millis(2500) {
                let asked = Instant::now();
                let vote = live(&panel).await;
                abstained(&vote, AbstentionReason::CircuitOpen, "asked again once a second");
                assert!(vote.attempts == 0 && vote.base_url.is_none() && asked.elapsed() < LIMIT / 4);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let (posts, gets) = server.asked();
            assert_eq!(posts, 5);
            assert!((1..=3).contains(&gets), "{gets} canaries");
            server.heal();
            let healed = Instant::now();
            while live(&panel).await.answer != Answer::Present {
                assert!(healed.elapsed() < LIMIT, "never closed");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if watched {
            tokio::select! { () = windows => {}, never = panel.watch() => match never {} }
        } else {
            windows.await;
        }
    }
}

#[tokio::test]
async fn a_model_that_errs_stops_no_other_on_its_server() {
    let server = serve(|call| async move {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        if body["model"] == "ill" {
            json_reply(500, &json!({"error": {"message": "CUDA error"}}))
        } else {
            completion("<answer>No</answer>", "stop")
        }
    })
    .await;
    let ill = judge_table("c", &server.url, "deadline_ms = 3000").replace("\"m\"", "\"ill\"");
    let panel = panel_of(&[judge_table("a", &server.url, ""), judge_table("b", &server.url, ""), ill].concat());
    for _ in 0..3 {
        let votes = panel.judge(&clips(), &[], Due::After(Instant::now())).await;
        assert!(votes[..2].iter().all(|vote| vote.answer == Answer::Absent && vote.attempts == 1), "{votes:?}");
        abstained(&votes[2], AbstentionReason::ServerError, "CUDA error");
    }
}

#[tokio::test]
async fn judges_of_a_dead_base_url_share_its_circuit() {
    let (_held, url) = refusing();
    let panel = panel_of(&["a", "b", "c"].map(|name| judge_table(name, &url, "deadline_ms = 20000")).concat());
    let asked = Instant::now();
    let votes = panel.judge(&clips(), &[], Due::After(asked)).await;
    let attempts: u32 = votes.iter().map(|vote| vote.attempts).sum();
    // Five open it; what was on its way then is two more at most.
    assert!((5..=7).contains(&attempts), "{attempts}");
    for vote in &votes {
        abstained(vote, AbstentionReason::Unreachable, "Connection refused");
    }
    assert!(asked.elapsed() < Duration::from_secs(15), "no deadline is waited out");
}

#[tokio::test]
async fn a_recording_waits_for_a_server_that_restarts_but_not_for_ever() {
    let server = Patient::new(503).await;
    let panel = panel_of(&judge_table("v1", &server.url, "deadline_ms = 30000"));
    let windows = join_all((0..5).map(|_| vote(&panel, Due::AfterSending)));
    let heals = async {
        // It is well again after the canary that it failed.
        while server.asked().1 == 0 {
            tokio::task::yield_now().await;
        }
        server.heal();
    };
    let (votes, ()) = tokio::join!(windows, heals);
    assert!(votes.iter().all(|vote| vote.answer == Answer::Present), "{votes:?}");

    let (_held, url) = refusing();
    let panel = panel_of(&judge_table("v1", &url, "deadline_ms = 3000"));
    let began = Instant::now();
    // One after the other, as many as would take ten minutes at a deadline each.
    let mut open = 0;
    for _ in 0..200 {
        let vote = vote(&panel, Due::AfterSending).await;
        let Answer::Abstained(why) = vote.answer else { panic!("{vote:?}") };
        open += usize::from(why.reason == AbstentionReason::CircuitOpen);
    }
    assert!(open >= 190 && began.elapsed() < LIMIT, "{open}, {:?}", began.elapsed());
}
