//! Encoded media that is pushed in gives what the same media gives from a file.

use std::time::{Duration, Instant};

use ahwatch::source::{Codec, FeedSender, Pushed, Taken};
use ahwatch::time::MediaTime;
use ahwatch::window::Stream;

use crate::kit::encoded::{Coding, Unit, units};
use crate::kit::media::Recipe;
use crate::kit::station::{Station, code, frames, lag, windows_of};

const LIMIT: Duration = Duration::from_secs(30);

fn began(coding: Coding) -> Pushed {
    let video = match coding {
        Coding::H264 => Codec::H264,
        Coding::Vp8 => Codec::Vp8,
    };
    Pushed::Began { video: Some(video), audio: Some(Codec::Opus) }
}

fn media(unit: &Unit, follows: bool) -> Pushed {
    let stream = if unit.video { Stream::Video } else { Stream::Audio };
    let time = MediaTime::from_millis(60_000) + MediaTime::from_duration(unit.time);
    Pushed::Media { stream, time, data: unit.data.clone(), follows }
}

/// Pushes at the media's own pace.
fn pace(sender: &FeedSender, units: &[Unit]) {
    let (start, first) = (Instant::now(), units[0].time);
    for unit in units {
        std::thread::sleep(unit.time.saturating_sub(first + start.elapsed()));
        assert_eq!(sender.send(media(unit, true)), Taken::Yes);
    }
}

#[test]
fn access_units_of_a_recording_give_the_same_windows_and_pictures_as_the_file() {
    for coding in [Coding::H264, Coding::Vp8] {
        let path = coding.make(Recipe::new(13.4).plant(&[1]));
        let from_file = windows_of(&path);
        let station = Station::start();
        let sender = station.sender.clone().unwrap();
        assert_eq!(sender.send(began(coding)), Taken::Yes);
        pace(&sender, &units(&path, coding));
        drop(sender);
        let told = station.finish();
        assert!(told.lost.is_empty() && told.finish.is_some_and(|finish| finish.complete), "{:?}", told.lost);
        assert_eq!((from_file.len(), told.windows.len()), (3, 3), "{coding:?}");
        for (file, pushed) in from_file.iter().zip(&told.windows) {
            assert_eq!((file.full, file.pictures_seen), (pushed.full, pushed.pictures_seen));
            assert_eq!(file.span.start(), pushed.span.start());
            // A file says where within its last packet the sound ends; packets alone do not.
            assert!((file.span.end() - pushed.span.end()).abs() <= MediaTime::from_millis(20), "{pushed:?}");
            assert_eq!(file.pictures, pushed.pictures, "{coding:?}: the same JPEGs, byte for byte");
            let (least, most) = lag(pushed, 25.0);
            assert!(least > -0.02 && most < 0.02, "{coding:?}: sound within 20 ms of its pictures: {least} to {most}");
        }
    }
}

#[test]
fn no_picture_that_follows_a_loss_is_decoded_into_a_wrong_one() {
    for coding in [Coding::H264, Coding::Vp8] {
        let recording = units(&coding.make(Recipe::new(10.4)), coding);
        let station = Station::start();
        let sender = station.sender.clone().unwrap();
        assert_eq!(sender.send(began(coding)), Taken::Yes);
        // Of each second, whose first picture is a key frame, the twentieth is lost, which is said with the next.
        let (start, mut picture, mut lost, mut asked) = (Instant::now(), 0, false, 0);
        for unit in &recording {
            std::thread::sleep(unit.time.saturating_sub(start.elapsed()));
            picture += u32::from(unit.video);
            if unit.video && picture % 25 == 20 {
                lost = true;
                continue;
            }
            match sender.send(media(unit, !(unit.video && std::mem::take(&mut lost)))) {
                Taken::NeedsKey => asked += 1,
                taken => assert_eq!(taken, Taken::Yes),
            }
        }
        drop(sender);
        let told = station.finish();
        assert!(asked >= 10, "{coding:?}: a key frame was asked for {asked} times");
        assert_eq!((told.windows.len(), told.continuities, told.lost.len()), (2, 1, 0), "{coding:?}");
        for window in &told.windows {
            assert_eq!(window.pictures_seen, 5 * 19, "{coding:?}");
            assert!(frames(window).iter().all(|frame| frame % 25 < 19), "{coding:?}: {:?}", frames(window));
        }
    }
}

#[test]
fn a_page_that_is_left_and_loaded_again_is_lost_and_restored() {
    let recording = units(&Coding::H264.make(Recipe::new(13.4)), Coding::H264);
    let station = Station::start();
    let sender = station.sender.clone().unwrap();
    assert_eq!(sender.send(Pushed::Gone("nobody".into())), Taken::Yes);
    for _ in 0..2 {
        assert_eq!(sender.send(began(Coding::H264)), Taken::Yes);
        pace(&sender, &recording.iter().filter(|u| u.time < Duration::from_millis(5600)).cloned().collect::<Vec<_>>());
        assert_eq!(sender.send(Pushed::Gone("the page was closed".into())), Taken::Yes);
    }
    station.wait(LIMIT, "the second end", |told| (told.lost.len() == 2).then_some(()));
    // Media of nobody is dropped, and the source can be stopped while nobody is there.
    assert_eq!(sender.send(media(&recording[0], true)), Taken::Yes);
    let told = station.stop();
    assert_eq!(sender.send(media(&recording[0], true)), Taken::Ended);
    assert_eq!((told.lost, told.restored, told.continuities), (vec!["the page was closed".to_owned(); 2], 1, 2));
    assert_eq!(told.windows.iter().map(|w| w.id.continuity).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn pictures_may_change_their_size_within_a_window() {
    for coding in [Coding::H264, Coding::Vp8] {
        let sizes = [(320, 240), (240, 320), (160, 120)];
        let recordings = sizes.map(|(w, h)| units(&coding.make(Recipe::new(7.0).size(w, h)), coding));
        let station = Station::start();
        let sender = station.sender.clone().unwrap();
        assert_eq!(sender.send(began(coding)), Taken::Yes);
        let at = |unit: &Unit| unit.time.as_millis() as usize / 2000;
        let mut merged: Vec<Unit> = recordings[0].iter().filter(|unit| !unit.video).cloned().collect();
        for (number, recording) in recordings.iter().enumerate() {
            merged.extend(recording.iter().filter(|unit| unit.video && at(unit).min(2) == number).cloned());
        }
        merged.sort_by_key(|unit| unit.time);
        pace(&sender, &merged);
        drop(sender);
        let told = station.finish();
        assert!(told.lost.is_empty() && told.continuities == 1, "{coding:?}: {:?}", told.lost);
        let window = &told.windows[0];
        assert!(!frames(window).contains(&u32::MAX), "{coding:?}: {:?}", frames(window));
        let seen: Vec<_> = window.pictures.iter().map(|still| (still.width, still.height)).collect();
        assert_eq!((seen[0], seen[5], seen[9]), (sizes[0], sizes[1], sizes[2]), "{coding:?}");
        assert!(code(&window.pictures[9]).is_some());
    }
}

#[test]
fn a_source_that_is_behind_refuses_the_newest_and_counts() {
    let (sender, _feed) = ahwatch::source::pushed("nobody plays it");
    let unit = Unit { video: true, time: Duration::ZERO, data: bytes::Bytes::from_static(b"x") };
    let taken = (0..1000).take_while(|_| sender.send(media(&unit, true)) == Taken::Yes).count();
    assert!((100..200).contains(&taken), "{taken}");
    assert_eq!(sender.send(media(&unit, true)), Taken::Refused);
    assert_eq!(sender.send(Pushed::Gone("a beginning or an end finds a place".into())), Taken::Yes);
}
