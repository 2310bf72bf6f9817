//! Browsers on simulated time: str0m on the other side, datagrams carried by hand.

use std::time::Duration;

use str0m::change::SdpPendingOffer;
use str0m::media::{Direction, MediaKind};
use str0m::{Candidate, Output, Rtc};

use super::*;
use crate::source::{Feed, pushed};
use crate::time::monotonic;

const OWN: &str = "192.0.2.1:4000";

fn browser(now: Instant, address: SocketAddr) -> (Rtc, String, SdpPendingOffer) {
    let mut rtc = Rtc::new(now);
    rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
    let mut changes = rtc.sdp_api();
    changes.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    let (offer, pending) = changes.apply().unwrap();
    (rtc, offer.to_sdp_string(), pending)
}

fn peers() -> Peers {
    Peers::new(vec![(OWN.parse().unwrap(), 0)])
}

/// Carries datagrams both ways until `until`; gives the time.
fn carry(peers: &mut Peers, rtc: &mut Rtc, address: SocketAddr, mut now: Instant, until: Instant) -> Instant {
    while now < until {
        peers.advance(now);
        for Outgoing { socket, to, bytes } in peers.outgoing().collect::<Vec<_>>() {
            assert_eq!((socket, to), (0, address));
            let received = Receive::new(Protocol::Udp, OWN.parse().unwrap(), to, &bytes).unwrap();
            rtc.handle_input(Input::Receive(now, received)).unwrap();
            for bytes in outgoing(rtc) {
                peers.receive(now, 0, address, &bytes);
            }
        }
        rtc.handle_input(Input::Timeout(now)).unwrap();
        for bytes in outgoing(rtc) {
            peers.receive(now, 0, address, &bytes);
        }
        now += Duration::from_millis(10);
    }
    now
}

fn outgoing(rtc: &mut Rtc) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        match rtc.poll_output().unwrap() {
            Output::Timeout(_) => return out,
            Output::Transmit(transmit) => out.push(transmit.contents.to_vec()),
            Output::Event(_) => {}
        }
    }
}

fn join(peers: &mut Peers, now: Instant, port: u16) -> (Rtc, SocketAddr, Answer, Feed) {
    join_as(peers, now, port, &format!("session-{port}"))
}

fn join_as(peers: &mut Peers, now: Instant, port: u16, session: &str) -> (Rtc, SocketAddr, Answer, Feed) {
    let address = SocketAddr::new("198.51.100.7".parse().unwrap(), port);
    let (mut rtc, sdp, pending) = browser(now, address);
    let (sender, feed) = pushed("a");
    let answer = peers.offer(now, &session.into(), &sdp, sender).unwrap();
    let parsed = str0m::change::SdpAnswer::from_sdp_string(&answer.sdp).unwrap();
    rtc.sdp_api().accept_answer(pending, parsed).unwrap();
    (rtc, address, answer, feed)
}

#[test]
fn a_browser_that_vanished_is_freed_after_fifteen_seconds_and_no_sooner() {
    let (mut peers, start) = (peers(), monotonic());
    let (mut rtc, address, answer, _feed) = join(&mut peers, start, 5000);
    let now = carry(&mut peers, &mut rtc, address, start, start + Duration::from_secs(60));
    assert!(rtc.is_connected() && peers.counters().read().peers == 1, "it is there, without any media, for a minute");
    // Its last word was a connectivity check, at most three seconds ago.
    peers.advance(now + Duration::from_millis(11_900));
    assert_eq!(peers.session_of(&answer.resource), Some("session-5000"));
    assert!(peers.deadline().is_some_and(|at| at <= now + Duration::from_secs(15)));
    peers.advance(now + Duration::from_secs(15));
    assert_eq!((peers.session_of(&answer.resource), peers.counters().read().peers), (None, 0));
    assert!(peers.from.is_empty() && peers.deadline().is_none(), "nothing of it is left");
}

#[test]
fn an_address_is_of_who_proved_it_last() {
    let (mut peers, start) = (peers(), monotonic());
    let (mut first, address, vanished, _feed) = join(&mut peers, start, 5000);
    let now = carry(&mut peers, &mut first, address, start, start + Duration::from_secs(10));
    assert!(first.is_connected());
    // It is gone, and its port is given to another one, as a NAT or a system may do at once.
    let (mut second, same, there, _feed2) = join_as(&mut peers, now, 5000, "another");
    assert_eq!(address, same);
    let later = carry(&mut peers, &mut second, address, now, now + Duration::from_millis(11_900));
    assert!(second.is_connected(), "it joins although the first one is not yet known to be gone");
    assert_eq!(peers.session_of(&vanished.resource), Some("session-5000"));
    let later = carry(&mut peers, &mut second, address, later, now + Duration::from_secs(15));
    assert_eq!(
        peers.session_of(&vanished.resource),
        None,
        "what the second one sends does not hold the first one's place"
    );
    carry(&mut peers, &mut second, address, later, later + Duration::from_secs(30));
    assert!(second.is_connected());
    assert_eq!(peers.session_of(&there.resource), Some("another"), "nor did the end of the first one end it");
    assert_eq!(peers.from.len(), 1);
}

#[test]
fn nothing_is_sent_for_one_browser_to_where_another_one_is() {
    let (mut peers, start) = (peers(), monotonic());
    let (mut first, address, vanished, _feed) = join(&mut peers, start, 5000);
    let now = carry(&mut peers, &mut first, address, start, start + Duration::from_secs(2));
    let (mut second, _, _, _feed2) = join_as(&mut peers, now, 5000, "another");
    carry(&mut peers, &mut second, address, now, now + Duration::from_secs(2));
    assert!(second.is_connected());
    let _ = peers.outgoing().count();
    assert!(peers.close(&vanished.resource, "test"));
    assert_eq!(peers.outgoing().count(), 0, "its farewell would come to the second one");
}

#[test]
fn one_address_may_be_two_browsers_before_two_sockets() {
    let own: SocketAddr = "192.0.2.2:4000".parse().unwrap();
    let (mut peers, start) = (Peers::new(vec![(OWN.parse().unwrap(), 0), (own, 1)]), monotonic());
    let (mut first, address, _, _feed) = join(&mut peers, start, 5000);
    let (mut second, _, _, _feed2) = join_as(&mut peers, start, 5000, "another");
    for (socket, rtc) in [(0, &mut first), (1, &mut second)] {
        rtc.handle_input(Input::Timeout(start)).unwrap();
        let proof = outgoing(rtc).into_iter().next().unwrap();
        peers.receive(start, socket, address, &proof);
    }
    assert_eq!(peers.from.len(), 2);
}

#[test]
fn an_offer_that_nobody_follows_up_is_freed() {
    let (mut peers, start) = (peers(), monotonic());
    let (_rtc, _, answer, _feed) = join(&mut peers, start, 5000);
    peers.advance(start + Duration::from_secs(14));
    assert!(peers.session_of(&answer.resource).is_some());
    peers.advance(start + Duration::from_secs(15));
    assert!(peers.session_of(&answer.resource).is_none());
}

#[test]
fn datagrams_of_nobody_are_counted_and_answered_with_nothing() {
    let (mut peers, start) = (peers(), monotonic());
    let (mut rtc, address, _answer, _feed) = join(&mut peers, start, 5000);
    let now = carry(&mut peers, &mut rtc, address, start, start + Duration::from_secs(2));
    let stranger = "203.0.113.9:9".parse().unwrap();
    let (_, sdp, _) = browser(start, stranger);
    let _ = peers.outgoing().count();
    assert_eq!(peers.counters().read().strays, 0);
    let strays: [&[u8]; 5] = [b"", b"hello", &[0; 20], &[128; 1200], sdp.as_bytes()];
    for bytes in strays {
        peers.receive(now, 0, stranger, bytes);
    }
    assert_eq!(peers.counters().read().strays, 5);
    assert_eq!(peers.outgoing().count(), 0);
    // Nor does garbage from a browser's own address end its connection.
    for bytes in strays {
        peers.receive(now, 0, address, bytes);
    }
    carry(&mut peers, &mut rtc, address, now, now + Duration::from_secs(5));
    assert_eq!(peers.counters().read().peers, 1);
}

#[test]
fn a_browser_sends_from_few_addresses_whatever_it_can_prove() {
    let (mut peers, start) = (peers(), monotonic());
    let (mut rtc, address, answer, _feed) = join(&mut peers, start, 5000);
    // What proves that an address is its own proves the same of each other one.
    rtc.handle_input(Input::Timeout(start)).unwrap();
    let proof = outgoing(&mut rtc).into_iter().next().unwrap();
    for port in 1..=1000 {
        peers.receive(start, 0, SocketAddr::new(address.ip(), 10_000 + port), &proof);
    }
    assert_eq!(peers.from.len(), MOST_ADDRESSES);
    assert_eq!(peers.counters().read().strays, 1000 - MOST_ADDRESSES as u64);
    // Another one's addresses are not its.
    let (mut other, address, _, _feed2) = join(&mut peers, start, 5001);
    let _ = peers.outgoing().count();
    carry(&mut peers, &mut other, address, start, start + Duration::from_secs(2));
    assert!(other.is_connected());
    assert!(peers.close(&answer.resource, "test"));
    assert_eq!(peers.from.len(), 1, "nothing of it is left");
}

#[test]
fn each_browser_has_a_resource_of_its_own_that_is_closed_once() {
    let (mut peers, start) = (peers(), monotonic());
    let (_one, _, first, _feed) = join(&mut peers, start, 5000);
    let (_two, _, second, _feed2) = join(&mut peers, start, 5001);
    assert!(first.resource != second.resource && first.etag != second.etag && first.resource.len() == 32);
    assert!(peers.close(&first.resource, "test") && !peers.close(&first.resource, "test"));
    assert_eq!(peers.session_of(&second.resource), Some("session-5001"));
}
