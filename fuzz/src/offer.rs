//! What a participant's browser sends: an offer (SDP) of which only what is known is taken, fragments of candidates, datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ahwatch::server::whip::fragment::Fragment;
use ahwatch::server::whip::offer::Offer;
use ahwatch::server::whip::{LARGEST, Peers, WhipError};
use ahwatch::source::pushed;
use ahwatch::time::monotonic;

/// A first byte chooses: an offer, a fragment, or an offer of a browser and then datagrams from it.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    match first % 3 {
        0 => offer(&String::from_utf8_lossy(rest)),
        1 => fragment(&String::from_utf8_lossy(rest)),
        _ => datagrams(rest),
    }
}

fn sections(sdp: &str) -> usize {
    sdp.lines().filter(|line| line.starts_with("m=")).count()
}

fn offer(sdp: &str) {
    let offer = match Offer::read(sdp) {
        Ok(offer) => offer,
        Err(error) => return refused(&error),
    };
    assert!(sdp.len() <= LARGEST && !(offer.audio.is_empty() && offer.video.is_empty()));
    for payloads in [&offer.audio, &offer.video] {
        assert!(payloads.windows(2).all(|pair| pair[0].codec == pair[1].codec), "one codec: {payloads:?}");
        assert!(payloads.iter().all(|payload| payload.number < 128));
    }
    for name in offer.reduced.lines().filter_map(|line| line.strip_prefix("a=")?.split(':').next()) {
        let left_out = ["candidate", "end-of-candidates", "simulcast", "sendrecv", "recvonly", "rid"];
        assert!(!left_out.contains(&name), "{name} in {}", offer.reduced);
    }
    assert!(offer.declined.iter().all(|words| words.chars().count() < 500 && !words.chars().any(char::is_control)));
    // What is taken is taken again.
    let again = Offer::read(&offer.reduced).unwrap_or_else(|error| panic!("{error}: {}", offer.reduced));
    assert_eq!((&offer.audio, &offer.video, &offer.ice), (&again.audio, &again.video, &again.ice));
    // Each section of the offer has one in the answer, at its place.
    assert_eq!(sections(&offer.answer(&again.reduced)), sections(sdp), "{sdp}");
    let mut peers = peers();
    let (sender, _feed) = pushed("fuzz");
    match peers.offer(monotonic(), &Arc::from("s"), sdp, sender) {
        Ok(answer) => {
            assert_eq!(sections(&answer.sdp), sections(sdp), "{}", answer.sdp);
            assert_eq!(peers.session_of(&answer.resource), Some("s"));
            assert_eq!(answer.streams.audio, !offer.audio.is_empty());
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &WhipError) {
    let text = error.to_string();
    assert!(text.chars().count() < 2500, "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

fn fragment(text: &str) {
    match Fragment::read(text) {
        Ok(fragment) => {
            let lines = text.lines().filter(|line| line.starts_with("a=candidate:")).count();
            assert_eq!(fragment.candidates, lines);
            let has = |name: &str| text.lines().any(|line| line.starts_with(name));
            assert!(fragment.ice.is_none() || (has("a=ice-ufrag") && has("a=ice-pwd")));
        }
        Err(error) => refused(&error),
    }
}

fn peers() -> Peers {
    Peers::new(vec![(SocketAddr::from(([127, 0, 0, 1], 9)), 0)])
}

/// Each datagram begins with its length; a length of 0 lets half a second go by.
fn datagrams(mut data: &[u8]) {
    let mut peers = peers();
    let (sender, _feed) = pushed("fuzz");
    let mut now = monotonic();
    let answer = peers.offer(now, &Arc::from("s"), include_str!("../corpus/offer/whole.sdp"), sender);
    let answer = answer.expect("a browser's own offer is taken");
    let from = SocketAddr::from(([127, 0, 0, 1], 40_000));
    while let Some((&length, rest)) = data.split_first() {
        let (datagram, rest) = rest.split_at(usize::from(length).min(rest.len()));
        data = rest;
        if length == 0 {
            now += Duration::from_millis(500);
            peers.advance(now);
        } else {
            peers.receive(now, 0, from, datagram);
        }
        // Nothing is sent to who has not shown the password of the session: an answer goes back, and no more than it.
        let sent: usize = peers.outgoing().map(|out| out.bytes.len()).sum();
        assert!(sent <= 4096, "{sent} bytes for {length}");
    }
    if peers.session_of(&answer.resource).is_some() {
        assert_eq!(peers.patch(&answer.resource, "", None), Err(WhipError::Unconditional));
    }
}
