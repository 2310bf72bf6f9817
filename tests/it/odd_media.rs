//! Recordings and cameras of odd shape: rates, sizes, turned and squeezed pictures, codecs, sound that is silent, late or
//! cannot be decoded. Each gives correct windows, or one clear message.

use serde_json::Value;

use crate::books::books_are_exact;
use crate::kit::behaviour::Needs;
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::{Container, Recipe};
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Finished, ahwatch};
use crate::watch_file::{LIMIT, by_first_picture, labels, linspace, lost_windows, panel, three};

/// One judge that looks at the pictures only.
fn looker() -> Endpoint {
    Endpoint::start([("v1", Judge { needs: Needs::Pictures, ..Judge::default() })])
}

fn watch(source: &str, endpoint: &Endpoint, models: &[&str], keys: &str, more: &[&str]) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), models, keys);
    let args = ["watch", source, "--panel", panel.to_str().unwrap()];
    ahwatch(args.iter().chain(more)).finish(LIMIT)
}

/// A recording of two windows, of which the second is planted, shown to one judge that needs pictures only.
fn two_windows(recipe: &Recipe) -> Endpoint {
    let endpoint = looker();
    let run = watch(recipe.make().to_str().unwrap(), &endpoint, &["v1"], "accepts = [\"video\"]", &[]).expect_code(0);
    assert_eq!(labels(&run.events()), [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
    assert!(lost_windows(&run.events()).is_empty());
    endpoint
}

fn silent_recording() -> Recipe {
    Recipe::new(10.0).plant(&[1]).without_sound()
}

/// Widths and heights of all pictures sent.
fn sizes(endpoint: &Endpoint) -> Vec<(usize, usize)> {
    let clips = endpoint.requests().into_iter().map(|seen| seen.clip.unwrap());
    let mut sizes: Vec<_> = clips.flat_map(|clip| clip.pictures).map(|p| (p.width, p.height)).collect();
    sizes.dedup();
    sizes
}

/// Pictures of a variable rate are chosen by time: each is the one nearest to where it should be.
fn nearest_in_time(frames: &[u32], there: &[bool]) {
    let first = frames[0];
    let last = (first..first + 125).filter(|n| there[*n as usize % there.len()]).max().unwrap();
    assert!(frames.is_sorted_by(|a, b| a < b) && frames.len() == 10, "{frames:?}");
    for (k, frame) in (0u32..).zip(frames) {
        let target = f64::from(first) + f64::from(k) * f64::from(last - first) / 9.0;
        // Half the widest distance, and as much again for where the last one is thought to be.
        assert!((f64::from(*frame) - target).abs() <= 4.0, "{frame} for {target:.1} in {frames:?}");
    }
}

#[test]
fn five_pictures_a_second_are_enough_from_a_recording_and_from_a_camera() {
    let recipe = Recipe::new(11.0).fps((5, 1)).plant(&[1]);
    let camera = Camera::start(Show::file(&recipe));
    for source in [recipe.make().to_str().unwrap().to_owned(), camera.url("/live")] {
        let (endpoint, models) = three();
        let run = watch(&source, &endpoint, &models, "", &["--once"]).expect_code(0);
        assert_eq!(labels(&run.events())[..2], [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
        books_are_exact(&run.events());
        for (window, (frames, _)) in (0u32..2).zip(by_first_picture(&endpoint.requests(), "v1")) {
            assert_eq!(frames, linspace(25 * window, 25, 10));
        }
    }
}

#[test]
fn a_variable_rate_is_cut_by_time_from_a_recording_and_from_a_camera() {
    const RHYTHM: &[bool] = &[true, false, true, true, false, false, true, true, true, false];
    let recipe = Recipe::new(11.0).plant(&[1]).rhythm(RHYTHM);
    let camera = Camera::start(Show::file(&recipe));
    for source in [recipe.make().to_str().unwrap().to_owned(), camera.url("/live")] {
        let (endpoint, models) = three();
        let run = watch(&source, &endpoint, &models, "", &["--once"]).expect_code(0);
        assert_eq!(labels(&run.events())[..2], [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
        for (middle, (frames, seen)) in [2.5, 7.5].iter().zip(by_first_picture(&endpoint.requests(), "v2")) {
            nearest_in_time(&frames, RHYTHM);
            let heard = seen.clip.unwrap().sound_secs_at(40_000).unwrap();
            assert!((heard - middle).abs() < 0.001, "{heard} in the middle of the window around {middle}");
        }
    }
}

#[test]
fn odd_sizes_become_even_ones() {
    let odd = "videoconvert ! videoscale ! video/x-raw,width=321,height=241 ! vp8enc deadline=1 cpu-used=8 target-bitrate=800000";
    let endpoint = two_windows(&silent_recording().container(Container::Mkv).encoded_by(odd));
    assert_eq!(sizes(&endpoint), [(320, 240)]);

    // Too small for any code; there are pictures all the same.
    let tiny = "videoconvert ! videoscale ! video/x-raw,width=17,height=13 ! jpegenc";
    let endpoint = looker();
    let recipe = silent_recording().container(Container::Mkv).encoded_by(tiny);
    let run = watch(recipe.make().to_str().unwrap(), &endpoint, &["v1"], "accepts = [\"video\"]", &[]).expect_code(0);
    assert_eq!(labels(&run.events()).len(), 2);
    assert_eq!(sizes(&endpoint), [(16, 12)]);
}

#[test]
fn a_camera_of_odd_size_is_judged() {
    let recipe = Recipe::new(0.0).without_sound();
    let odd = "appsrc name=pictures is-live=true ! clocksync ! videoconvert ! videoscale ! video/x-raw,width=321,height=241 \
               ! vp8enc deadline=1 cpu-used=8 target-bitrate=800000 keyframe-max-dist=25 ! rtpvp8pay name=pay0 pt=96";
    camera_is_judged(&Show::described(&recipe, odd));
}

/// A camera that shows pictures gives windows of ten that follow each other.
fn camera_is_judged(show: &Show) {
    let camera = Camera::start(show.clone());
    let endpoint = looker();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], "accepts = [\"video\"]");
    let mut run = ahwatch(["watch", &camera.url("/live"), "--panel", panel.to_str().unwrap()]).start();
    run.wait_until(LIMIT, "two windows", |run| (labels(&run.events()).len() >= 2).then_some(()));
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    books_are_exact(&run.events());
    for (frames, _) in by_first_picture(&endpoint.requests(), "v1").into_iter().take(2) {
        assert_eq!(frames, linspace(frames[0], 125, 10));
    }
    assert_eq!(sizes(&endpoint), [(320, 240)]);
}

#[test]
fn a_turned_recording_is_shown_upright() {
    // The codes are readable only if they stand upright.
    assert_eq!(sizes(&two_windows(&silent_recording().turned())), [(320, 240)]);
}

#[test]
fn pixels_that_are_not_square_are_shown_in_shape() {
    let squeezed = "videoconvert ! videoscale add-borders=false ! video/x-raw,width=160,height=240,pixel-aspect-ratio=2/1 ! x264enc ! h264parse";
    let size = sizes(&two_windows(&silent_recording().encoded_by(squeezed)));
    assert!(size.len() == 1 && size[0].0 * 3 == size[0].1 * 4, "{size:?}");
}

#[test]
fn interlaced_pictures_are_taken_as_they_are() {
    let woven = "video/x-raw,interlace-mode=progressive ! capssetter caps=video/x-raw,interlace-mode=interleaved,field-order=top-field-first \
                 ! x264enc interlaced=true ! h264parse";
    assert_eq!(sizes(&two_windows(&silent_recording().encoded_by(woven))), [(320, 240)]);
}

#[test]
fn h265_is_watched_from_a_recording_and_from_a_camera() {
    let encoder = "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=25 ! h265parse";
    assert_eq!(sizes(&two_windows(&silent_recording().encoded_by(encoder))), [(320, 240)]);
    let payloader = "rtph265pay name=pay0 pt=96 config-interval=-1";
    let live = format!("appsrc name=pictures is-live=true ! clocksync ! {encoder} ! {payloader}");
    camera_is_judged(&Show::described(&Recipe::new(0.0).without_sound(), &live));
}

#[test]
fn a_silent_track_is_flagged_and_judged() {
    let (endpoint, models) = three();
    let recipe = Recipe::new(10.0).plant_pictures(&[1], 1).sound_encoded_by("volume mute=true ! avenc_aac ! aacparse");
    let run = watch(recipe.make().to_str().unwrap(), &endpoint, &models, "", &[]).expect_code(0);
    let judged = run.events_of("ah.window.judged.v1");
    assert_eq!(judged.len(), 2);
    assert!(judged.iter().all(|event| event["data"]["quality"]["flags"]["silent"] == true));
    let sound = |seen: &crate::kit::endpoint::Seen| seen.clip.clone().unwrap().wav.unwrap().samples;
    assert!(endpoint.requests().iter().all(|seen| sound(seen).len() == 80_000 && sound(seen).iter().all(|v| *v == 0)));
}

#[test]
fn sound_that_begins_late_or_ends_early_leaves_silence_that_is_counted() {
    for (covers, window, missing) in [(2.0..15.0, 0, 2.0), (0.0..13.0, 2, 2.0)] {
        let (endpoint, models) = three();
        let recipe = Recipe::new(15.0).plant(&[1]).sound_covers(covers.clone());
        let run = watch(recipe.make().to_str().unwrap(), &endpoint, &models, "", &[]).expect_code(0);
        let events = run.events_of("ah.window.judged.v1");
        assert_eq!(events.len(), 3, "{covers:?}");
        let secs = |event: &Value| event["data"]["quality"]["sound_missing_secs"].as_f64().unwrap();
        for event in &events {
            let expected = if event["data"]["window"]["index"] == window { missing } else { 0.0 };
            assert!((secs(event) - expected).abs() < 0.1, "{covers:?}: {event:#}");
        }
        let planted = by_first_picture(&endpoint.requests(), "v1");
        for (frames, seen) in planted {
            let (heard, shown) = (seen.clip.unwrap().sound_secs_at(40_000).unwrap(), f64::from(frames[0]) / 25.0 + 2.5);
            assert!((heard - shown).abs() < 0.04, "heard {heard}, shown {shown}");
        }
    }
}

#[test]
fn a_camera_whose_sound_nobody_can_decode_is_watched_for_its_pictures() {
    let recipe = Recipe::new(0.0);
    let h264 = "x264enc tune=zerolatency speed-preset=ultrafast pass=quant quantizer=23 key-int-max=25 ! h264parse ! rtph264pay";
    let unknown = "audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay pt=97 \
                   ! capssetter replace=false caps=application/x-rtp,encoding-name=(string)X-NOBODY,payload=97";
    let camera = Camera::start(Show::described(
        &recipe,
        &format!(
            "appsrc name=pictures is-live=true ! clocksync ! {h264} name=pay0 pt=96 config-interval=-1 \
             appsrc name=sound is-live=true ! clocksync ! {unknown} name=pay1"
        ),
    ));
    let endpoint = looker();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], "accepts = [\"video\"]");
    let mut run = ahwatch(["watch", &camera.url("/live"), "--panel", panel.to_str().unwrap()]).start();
    let lost = run.wait_for_type(LIMIT, "ah.source.lost.v1");
    assert!(lost["data"]["detail"].as_str().unwrap().contains("without its sound"), "{lost}");
    run.wait_until(LIMIT, "two windows", |run| (labels(&run.events()).len() >= 2).then_some(()));
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    books_are_exact(&run.events());
    assert_eq!(run.events_of("ah.source.lost.v1").len(), 1);
    assert!(lost_windows(&run.events()).is_empty());
    assert!(endpoint.requests().iter().all(|seen| seen.clip.as_ref().unwrap().wav.is_none()));
}
