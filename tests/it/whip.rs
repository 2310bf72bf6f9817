//! Browsers that join by WHIP: a scripted peer over real UDP on loopback, its media cut as the program does it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ahwatch::run::whip;
use ahwatch::server::whip::{Answer, Whip, WhipError};
use tokio::runtime::Runtime;

use crate::kit::encoded::{Coding, units};
use crate::kit::media::Recipe;
use crate::kit::peer::{Browser, Offering, Script};
use crate::kit::station::{Station, Told, frames, lag, planted};
use crate::kit::wait_until;
use crate::watch_file::linspace;

const LIMIT: Duration = Duration::from_secs(40);

/// A WHIP port on loopback.
struct Server {
    whip: Whip,
    runtime: Runtime,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let whip = runtime.block_on(whip("127.0.0.1:0".parse().unwrap(), &[])).unwrap();
        Self { whip, runtime }
    }

    fn offer(&self, session: &str, sdp: &str, station: &Station) -> Result<Answer, WhipError> {
        self.runtime.block_on(self.whip.offer(session.into(), sdp, station.sender.clone().unwrap()))
    }

    fn join(&self, session: &str, station: &Station, offering: Offering, script: Script) -> (Browser, Answer) {
        let answer = self.offer(session, &offering.sdp, station).unwrap();
        (offering.play(&answer.sdp, script), answer)
    }
}

fn done(browser: &Browser) {
    wait_until(LIMIT, "all media to be sent", || browser.seen.done.load(Ordering::SeqCst).then_some(()));
}

#[test]
fn what_a_browser_sends_comes_out_as_windows() {
    for coding in [Coding::H264, Coding::Vp8] {
        let recording = units(&coding.make(Recipe::new(16.4).plant(&[1])), coding);
        let (server, station) = (Server::start(), Station::start());
        let (browser, answer) = server.join("a", &station, Offering::new(coding), Script::new(recording));
        assert!(answer.streams.audio && answer.streams.video, "{answer:?}");
        done(&browser);
        browser.close();
        station.wait(LIMIT, "the goodbye", |told| (!told.lost.is_empty()).then_some(()));
        let told = station.stop();
        assert_eq!(told.lost, ["the participant's page was closed"]);
        assert_eq!((told.windows.len(), told.unjudgeable, told.continuities), (3, 0, 1), "{coding:?}: {told:?}");
        for (number, window) in (0u32..).zip(&told.windows) {
            let expected = linspace(number * 125, 125, 10);
            // Bringing pictures to the sound moves them by some milliseconds, and the nearest to a moment may be its neighbour.
            assert!(
                frames(window).iter().zip(&expected).all(|(seen, due)| seen.abs_diff(*due) <= 1),
                "{:?}",
                frames(window)
            );
            assert_eq!(planted(window), (number == 1, number == 1), "{coding:?} {number}");
            assert!(window.refused == 0 && window.pictures_seen.abs_diff(125) <= 1, "{window:?}");
            let (least, most) = lag(window, 25.0);
            assert!(least > -0.04 && most < 0.04, "{coding:?}: {least} to {most}");
        }
        assert_eq!(server.whip.stats().peers, 0);
    }
}

#[test]
fn pictures_that_come_late_are_brought_to_their_sound() {
    let recording = units(&Coding::H264.make(Recipe::new(21.0)), Coding::H264);
    let (server, station) = (Server::start(), Station::start());
    let script = Script { pictures_late: Duration::from_millis(300), ..Script::new(recording) };
    let (browser, _) = server.join("a", &station, Offering::new(Coding::H264), script);
    done(&browser);
    let told = station.stop();
    let lags: Vec<_> = told.windows.iter().map(|window| lag(window, 25.0)).collect();
    // By arrival the pictures are late, so that the sound of the same moment seems early; the reports come within a second or so.
    assert!(lags[0].0 < -0.15, "by arrival at first: {lags:?}");
    assert!(lags.len() >= 3 && lags[2..].iter().all(|(least, most)| *least > -0.04 && *most < 0.04), "{lags:?}");
    assert_eq!((told.continuities, told.unjudgeable, told.lost.len()), (1, 0, 0));
}

#[test]
fn what_the_network_loses_is_sent_again() {
    for coding in [Coding::H264, Coding::Vp8] {
        let recording = units(&coding.make(Recipe::new(11.0)), coding);
        let (server, station) = (Server::start(), Station::start());
        let script = Script { lose_every: 20, ..Script::new(recording) };
        let (browser, _) = server.join("a", &station, Offering::new(coding), script);
        done(&browser);
        assert!(browser.seen.lost.load(Ordering::SeqCst) > 30);
        browser.close();
        station.wait(LIMIT, "the goodbye", |told| (!told.lost.is_empty()).then_some(()));
        let told = station.stop();
        assert_eq!((told.windows.len(), told.unjudgeable, told.continuities), (2, 0, 1), "{coding:?}: {told:?}");
        for window in &told.windows {
            assert!(!frames(window).contains(&u32::MAX), "{coding:?}: {:?}", frames(window));
            assert!(window.pictures_seen >= 120, "{coding:?}: {window:?}");
        }
    }
}

#[test]
fn where_nothing_is_sent_again_wrong_pictures_are_left_out_and_a_new_beginning_is_asked_for() {
    for coding in [Coding::H264, Coding::Vp8] {
        let recording = units(&coding.make(Recipe::new(11.0)), coding);
        let (server, station) = (Server::start(), Station::start());
        let script = Script { lose_every: 61, lose_repairs: true, ..Script::new(recording) };
        let (browser, _) = server.join("a", &station, Offering::new(coding), script);
        done(&browser);
        let (stats, asked) = (server.whip.stats(), browser.seen.key_requests.load(Ordering::SeqCst));
        let told = station.stop();
        // One is asked for at the start; how many of the lost packets were of pictures is chance.
        assert!(stats.losses > 3 && stats.key_requests > 1 && asked > 1, "{coding:?}: {stats:?}, {asked}");
        assert_eq!(told.continuities, 1);
        for window in &told.windows {
            let (seen, due) = (frames(window), f64::from(frames(window)[0]));
            assert!(!seen.contains(&u32::MAX) && due >= 0.0, "{coding:?}: {seen:?}");
            assert!(seen.windows(2).all(|pair| pair[0] <= pair[1]), "{coding:?}: {seen:?}");
        }
    }
}

#[test]
fn a_picture_to_begin_with_is_asked_for_at_the_start() {
    let recording = units(&Coding::Vp8.make(Recipe::new(7.0)), Coding::Vp8);
    let (server, station) = (Server::start(), Station::start());
    // The first second, with the first key frame, is before the browser is there.
    let withhold = |video: bool, time: Duration| video && time < Duration::from_millis(80);
    let script = Script { withhold, ..Script::new(recording) };
    let (browser, _) = server.join("a", &station, Offering::new(Coding::Vp8), script);
    done(&browser);
    assert!(browser.seen.key_requests.load(Ordering::SeqCst) >= 1);
    let told = station.stop();
    assert_eq!(frames(&told.windows[0])[0], 25, "the next key frame is the first picture");
}

#[test]
fn a_browser_that_joins_anew_takes_its_own_place() {
    let recording = units(&Coding::H264.make(Recipe::new(7.0)), Coding::H264);
    let (server, station) = (Server::start(), Station::start());
    let (first, answer) = server.join("a", &station, Offering::new(Coding::H264), Script::new(recording.clone()));
    done(&first);
    // An offer that is refused leaves the browser that is there alone.
    assert!(matches!(server.offer("a", "v=0", &station), Err(WhipError::Sdp(_))));
    assert!(server.runtime.block_on(server.whip.belongs(&answer.resource, "a")));
    let (second, again) = server.join("a", &station, Offering::new(Coding::H264), Script::new(recording));
    wait_until(LIMIT, "the goodbye", || first.seen.closed.load(Ordering::SeqCst).then_some(()));
    assert_ne!(answer.resource, again.resource);
    done(&second);
    assert!(!server.runtime.block_on(server.whip.close(&answer.resource)), "it is closed already");
    assert!(server.runtime.block_on(server.whip.close(&again.resource)));
    station.wait(LIMIT, "both ends", |told| (told.lost.len() == 2).then_some(()));
    let told = station.stop();
    assert_eq!(told.lost, ["the participant joined anew", "the participant left"]);
    assert_eq!((told.windows.len(), told.restored, server.whip.stats().joined), (2, 1, 2));
}

#[test]
fn no_packet_of_a_closed_session_is_taken() {
    let recording = units(&Coding::H264.make(Recipe::new(13.0)), Coding::H264);
    let (server, station, other) = (Server::start(), Station::start(), Station::start());
    let (browser, _) = server.join("a", &station, Offering::new(Coding::H264), Script::new(recording.clone()));
    let (beside, _) = server.join("b", &other, Offering::new(Coding::H264), Script::new(recording));
    station.wait(LIMIT, "a window", |told| (!told.windows.is_empty()).then_some(()));
    beside.vanish();
    let before = server.runtime.block_on(async {
        server.whip.close_session("a").await;
        server.whip.stats()
    });
    assert_eq!(before.peers, 1, "the other session's browser is not concerned");
    // What the browser sent before it read the goodbye is of nobody.
    wait_until(LIMIT, "the goodbye", || browser.seen.closed.load(Ordering::SeqCst).then_some(()));
    let told = station.stop();
    let after = server.whip.stats();
    assert_eq!((told.windows.len(), told.lost.as_slice()), (1, &["the session is over".to_owned()][..]));
    assert_eq!(after.units, before.units);
}

#[test]
fn sound_alone_and_pictures_alone_are_taken() {
    let recording = units(&Coding::Vp8.make(Recipe::new(6.0)), Coding::Vp8);
    for (audio, video) in [(true, false), (false, true)] {
        let (server, station) = (Server::start(), Station::start());
        let offering = Offering::of(Coding::Vp8, audio, video);
        let (browser, answer) = server.join("a", &station, offering, Script::new(recording.clone()));
        assert_eq!((answer.streams.audio, answer.streams.video), (audio, video));
        assert_eq!(answer.declined, [format!("{}: not offered", if audio { "pictures" } else { "sound" })]);
        done(&browser);
        let told = station.stop();
        let window = &told.windows[0];
        assert_eq!((window.sound.is_some(), !window.pictures.is_empty()), (audio, video));
    }
}

#[test]
fn what_is_no_offer_is_refused_in_words_and_reaches_nobody() {
    let (server, station) = (Server::start(), Station::start());
    let refused = |sdp: &str| server.offer("a", sdp, &station).unwrap_err();
    for garbage in ["", "hello", "v=0", "v=0\r\nm=audio", "v=0\r\n\u{7f}", "{\"type\":\"offer\"}"] {
        assert_eq!(refused(garbage).status(), 400, "{garbage:?}");
    }
    assert_eq!(refused(&format!("v=0\r\n{}", "a=x\r\n".repeat(20_000))).status(), 413);
    let offer = Offering::new(Coding::Vp8).sdp;
    let unknown =
        offer.replace("VP8/90000", "AV2/90000").replace("VP9/90000", "AV3/90000").replace("opus/48000/2", "G719/48000");
    let error = refused(&unknown);
    assert!(error.status() == 422 && error.to_string().contains("G719"), "{error}");
    assert_eq!(refused(&offer.replace("a=fingerprint:", "a=fingerprlnt:")).status(), 400);
    assert_eq!(server.whip.stats().joined, 0);
    let sender = station.sender.clone().unwrap();
    drop(station);
    let ended = server.runtime.block_on(server.whip.offer("a".into(), &offer, sender)).unwrap_err();
    assert_eq!((ended.status(), ended), (409, WhipError::Ended));
}

#[test]
fn candidates_that_come_later_are_taken_by_their_rules() {
    let (server, station) = (Server::start(), Station::start());
    let offering = Offering::new(Coding::Vp8);
    let value = |name: &str| offering.sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let answer = server.offer("a", &offering.sdp, &station).unwrap();
    let patch = |resource: &str, fragment: &str, tag: Option<&str>| {
        server.runtime.block_on(server.whip.patch(resource, fragment, tag)).map_err(|error| error.status())
    };
    let candidate = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";
    let own = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n{candidate}", value("a=ice-ufrag:"), value("a=ice-pwd:"));
    let tag = Some(answer.etag.as_str());
    assert_eq!(patch(&answer.resource, &own, tag), Ok(()));
    assert_eq!(patch(&answer.resource, candidate, tag), Ok(()));
    assert_eq!(patch(&answer.resource, &own, None), Err(428));
    assert_eq!(patch(&answer.resource, &own, Some("\"another\"")), Err(412));
    assert_eq!(patch(&answer.resource, &own, Some("*")), Err(422));
    assert_eq!(patch(&answer.resource, &format!("a=ice-ufrag:x\r\na=ice-pwd:y\r\n{candidate}"), tag), Err(422));
    assert_eq!(patch(&answer.resource, &candidate.repeat(33), tag), Err(400));
    assert_eq!(patch(&answer.resource, "hello", tag), Err(400));
    assert_eq!(patch("unknown", &own, tag), Err(404));
}

/// A browser that offered both streams, and sends one of them late or never. It is asked after `windows` while it sends.
fn half(withhold: fn(bool, Duration) -> bool, secs: f64, windows: usize) -> Told {
    let recording = units(&Coding::Vp8.make(Recipe::new(secs)), Coding::Vp8);
    let (server, station) = (Server::start(), Station::start());
    let script = Script { withhold, ..Script::new(recording) };
    let (browser, answer) = server.join("a", &station, Offering::new(Coding::Vp8), script);
    assert!(answer.streams.audio && answer.streams.video, "{answer:?}");
    station.wait(LIMIT, "windows", |told| (told.unjudgeable + told.windows.len() >= windows).then_some(()));
    assert!(!browser.seen.done.load(Ordering::SeqCst), "they are cut while it sends, not at its end");
    done(&browser);
    let told = station.stop();
    assert!(told.continuities == 1 && told.lost.is_empty(), "{told:?}");
    told
}

#[test]
fn one_stream_whose_other_never_comes_is_cut_and_lost_for_missing_media() {
    let ways: [fn(bool, Duration) -> bool; 2] = [|video, _| video, |video, _| !video];
    for withhold in ways {
        let told = half(withhold, 17.0, 2);
        assert_eq!((told.windows.len(), told.unjudgeable), (0, 3), "{told:?}");
    }
}

#[test]
fn sound_that_comes_late_makes_whole_windows_from_then_on() {
    let told = half(|video, time| !video && time < Duration::from_secs(8), 21.5, 2);
    assert_eq!((told.windows.len(), told.unjudgeable), (2, 2), "{told:?}");
    for (number, window) in (2..).zip(&told.windows) {
        assert!(window.id.index == number && window.sound_missing.as_secs_f64() < 0.1, "{window:?}");
    }
    let (least, most) = lag(&told.windows[1], 25.0);
    assert!(least > -0.04 && most < 0.04, "{least} to {most}");
}

#[test]
fn pictures_that_come_late_make_whole_windows_from_then_on() {
    let told = half(|video, time| video && time < Duration::from_secs(8), 21.5, 2);
    assert_eq!((told.windows.len(), told.unjudgeable), (2, 2), "{told:?}");
    let (least, most) = lag(&told.windows[1], 25.0);
    assert!(least > -0.04 && most < 0.04, "{least} to {most}");
}

#[test]
fn a_pause_of_the_sound_in_which_its_clock_stood_still_does_not_part_it_from_its_pictures() {
    let recording = units(&Coding::Vp8.make(Recipe::new(26.0)), Coding::Vp8);
    let (server, station) = (Server::start(), Station::start());
    let paused = |video: bool, time: Duration| !video && (7..12).contains(&time.as_secs());
    let stood = |time: Duration| if time.as_secs() < 12 { Duration::ZERO } else { Duration::from_secs(5) };
    let script = Script { withhold: paused, sound_stood: stood, ..Script::new(recording) };
    let (browser, _) = server.join("a", &station, Offering::new(Coding::Vp8), script);
    done(&browser);
    let told = station.stop();
    // Of the second window three seconds of sound are missing, of the third two.
    assert_eq!((told.continuities, told.unjudgeable), (1, 1), "{told:?}");
    assert_eq!(told.windows.iter().map(|window| window.id.index).collect::<Vec<_>>(), [0, 2, 3, 4]);
    for window in &told.windows {
        let (least, most) = lag(window, 25.0);
        assert!(least > -0.04 && most < 0.04, "{window:?}: {least} to {most}");
        let missing = if window.id.index == 2 { 2.0 } else { 0.0 };
        assert!((window.sound_missing.as_secs_f64() - missing).abs() < 0.1, "{:?}", window.sound_missing);
    }
}
