//! The kit's own proof: what is planted is what is read, through codecs, containers and scaling.

use super::super::{decode, tones};
use super::*;

/// Distance, in seconds, of each block heard from when it should be.
fn steps(seen: &decode::Seen) -> Vec<f64> {
    let heard = tones::read(&seen.placed());
    heard.anchors.iter().map(|anchor| anchor.at as f64 / 16_000.0 - anchor.source_secs()).collect()
}

fn widest(steps: &[f64]) -> f64 {
    assert!(!steps.is_empty());
    steps.iter().map(|x| x.abs()).fold(0.0, f64::max)
}

fn transcode(from: &Path, encode: &str, extension: &str) -> PathBuf {
    kept(&(from, encode), extension, |to| {
        let text = format!("filesrc name=in ! decodebin ! videoconvert ! videoscale ! {encode} ! filesink name=out");
        let bin = gst::parse::launch(&text).expect("transcoder").downcast::<gst::Pipeline>().expect("a pipeline");
        bin.by_name("in").expect("in").set_property("location", from.to_str().expect("UTF-8"));
        bin.by_name("out").expect("out").set_property("location", to.to_str().expect("UTF-8"));
        run_to_end(&bin);
    })
}

#[test]
fn a_recording_reads_back_frame_for_frame_and_in_step() {
    for recipe in [
        Recipe::new(8.2).plant(&[1]),
        Recipe::new(8.2).plant(&[1]).b_frames(2),
        Recipe::new(8.2).plant(&[1]).container(Container::Mkv).fps((30_000, 1001)),
        Recipe::new(8.2).plant(&[1]).container(Container::Ts),
    ] {
        let seen = decode::file(&recipe.make()).expect("plays");
        let pictures = recipe.pictures().expect("pictures");
        assert_eq!(seen.frames(), (0..pictures.first_at(8.2) as u32).map(Some).collect::<Vec<_>>(), "{recipe:?}");
        let first = seen.pictures[0].secs;
        for picture in &seen.pictures {
            let code = picture.code.expect("read above");
            let secs = pictures.secs(u64::from(code.frame));
            assert!((picture.secs - first - secs).abs() < 0.002, "{code:?} at {} in {recipe:?}", picture.secs);
            assert_eq!(code.marks, u8::from(secs >= 5.0 - 1e-6), "{code:?}");
        }
        let steps = steps(&seen);
        assert!(steps.len() >= 40 && widest(&steps) < 0.000_2, "{recipe:?}: {steps:?}");
        let heard = tones::read(&seen.placed());
        assert!(heard.anchors.iter().all(|anchor| anchor.marks == u8::from(anchor.block >= 25)));
    }
}

#[test]
fn picture_codes_survive_what_a_judge_is_sent() {
    let recipe = Recipe::new(3.0).without_sound().plant(&[0]);
    let wide = recipe.clone().size(640, 480);
    for (from, encode, extension) in [
        (recipe.make(), "video/x-raw,width=80,height=60 ! jpegenc quality=60 ! qtmux", "mov"),
        (
            recipe.make(),
            "video/x-raw,width=80,height=60 ! x264enc pass=qual quantizer=30 tune=zerolatency ! mp4mux",
            "mp4",
        ),
        (wide.make(), "video/x-raw,width=160,height=120 ! jpegenc quality=60 ! qtmux", "mov"),
        (wide.make(), "x264enc pass=qual quantizer=35 ! h264parse ! mp4mux", "mp4"),
    ] {
        let seen = decode::file(&transcode(&from, encode, extension)).expect("plays");
        assert_eq!(seen.frames(), (0..75).map(Some).collect::<Vec<_>>(), "{encode}");
        assert!(seen.pictures.iter().all(|picture| picture.code.is_some_and(|code| code.marks == 1)), "{encode}");
    }
}

#[test]
fn shapes_are_as_asked() {
    let seen = |recipe: Recipe| decode::file(&recipe.make()).expect("plays");
    let soundless = seen(Recipe::new(2.4).without_sound());
    assert_eq!((soundless.pictures.len(), soundless.sound.len()), (60, 0));
    let blind = seen(Recipe::new(3.4).without_pictures());
    assert!(blind.pictures.is_empty() && (blind.joined().len() as f64 / 16_000.0 - 3.4).abs() < 0.06);

    let late = seen(Recipe::new(6.0).sound_covers(1.0..6.0));
    assert!(widest(&steps(&late)) < 0.001, "{:?}", steps(&late));
    assert!((late.sound[0].secs - 1.0).abs() < 0.03, "sound begins at {}", late.sound[0].secs);
    let late = seen(Recipe::new(6.0).pictures_cover(0.4..6.0));
    let first = &late.pictures[0];
    assert_eq!((first.code.map(|c| c.frame), (first.secs * 100.0).round() as i64), (Some(10), 40));
    assert!(widest(&steps(&late)) < 0.001);

    let lag = steps(&seen(Recipe::new(4.0).sound_lag(0.12)));
    assert!(lag[2..].iter().all(|step| (step - 0.12).abs() < 0.001), "{lag:?}");

    let holed = seen(Recipe::new(8.0).pictures_hole(2.0..2.6).sound_hole(4.0..4.5));
    assert_eq!(holed.pictures.len(), 200 - 15);
    let frame =
        |secs: f64| holed.pictures.iter().find(|p| (p.secs - secs).abs() < 0.001).and_then(|p| p.code).map(|c| c.frame);
    assert_eq!((frame(1.96), frame(2.2), frame(2.6)), (Some(49), None, Some(65)));
    assert!(widest(&steps(&holed)) < 0.001, "{:?}", steps(&holed));
}

/// Steps between neighbouring pictures that are not one frame period: frame number after it, and the step.
fn jumps(seen: &decode::Seen) -> Vec<(u32, f64)> {
    let pairs = seen.pictures.windows(2).map(|pair| (pair[1].code.map_or(0, |c| c.frame), pair[1].secs - pair[0].secs));
    pairs.filter(|(_, step)| (step - 0.04).abs() > 0.002).collect()
}

#[test]
fn timestamps_jump_as_asked() {
    for (container, by) in [(Container::Mp4, 30.0), (Container::Mkv, 30.0), (Container::Ts, 30.0)] {
        let recipe = Recipe::new(12.0).jump(6.0, by).container(container);
        let seen = decode::file(&recipe.make()).expect("plays");
        assert_eq!(seen.frames(), (0..300).map(Some).collect::<Vec<_>>(), "{recipe:?}");
        let jumps = jumps(&seen);
        assert!(jumps.len() == 1 && jumps[0].0 == 150, "{recipe:?}: {jumps:?}");
        let step = jumps[0].1 - 0.04;
        // The demuxer of transport streams hides most of it.
        assert!(if container == Container::Ts { step > 0.1 } else { (step - by).abs() < 0.01 }, "{recipe:?}: {step}");
        let mut sound = seen.sound.windows(2).map(|pair| pair[1].secs - pair[0].secs);
        assert!(container == Container::Ts || sound.any(|step| (step - by).abs() < 0.1), "{recipe:?}");
    }
}

/// GStreamer's decoders never let times run back: pictures stand still until the jump is made good.
#[test]
fn a_backward_jump_stands_still() {
    let seen = decode::file(&Recipe::new(12.0).jump(6.0, -4.0).container(Container::Mkv).make()).expect("plays");
    assert_eq!(seen.frames(), (0..300).map(Some).collect::<Vec<_>>());
    let still = jumps(&seen);
    assert_eq!((still.len(), still[0]), (100, (150, 0.0)));
}

#[test]
fn bad_files_are_bad() {
    let whole = Recipe::new(8.2).make();
    for path in [truncated(&whole, 0.5), empty_file(), not_media()] {
        assert!(decode::file(&path).is_err(), "{}", path.display());
    }
    let text = decode::file(&only_text());
    assert!(text.as_ref().is_ok_and(|seen| seen.pictures.is_empty() && seen.sound.is_empty()), "{text:?}");
    let cut =
        decode::file(&truncated(&Recipe::new(8.2).container(Container::Mkv).make(), 0.5)).expect("a cut MKV plays");
    assert!((60..160).contains(&cut.pictures.len()), "{}", cut.pictures.len());
}
