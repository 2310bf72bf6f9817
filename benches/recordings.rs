//! The media: the sample interview, looped, with sensor noise, as a camera would encode it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A recording to be measured on.
pub struct Recording {
    /// For tables.
    pub name: &'static str,
    file: &'static str,
    filter: &'static str,
    rate: &'static str,
    bits: &'static str,
    peak: &'static str,
    secs: f64,
}

/// Media seconds of what is decoded to its end.
pub const SECS: f64 = 60.0;
/// Media seconds of what cameras show.
const SHOWN: f64 = 180.0;

/// 640x480, 25 pictures a second, 1 Mb/s.
pub const VGA: Recording = Recording {
    name: "640x480@25 1 Mb/s",
    file: "vga.mp4",
    filter: "scale=640:480",
    rate: "25",
    bits: "1M",
    peak: "1200k",
    secs: SECS,
};

/// 1280x720, 30 pictures a second, 2.5 Mb/s.
pub const HD: Recording = Recording {
    name: "1280x720@30 2.5 Mb/s",
    file: "hd.mp4",
    filter: "scale=1280:960,crop=1280:720",
    rate: "30",
    bits: "2500k",
    peak: "3M",
    secs: SECS,
};

const fn shown(
    name: &'static str,
    file: &'static str,
    filter: &'static str,
    rate: &'static str,
    bits: &'static str,
) -> Recording {
    Recording { name, file, filter, rate, bits, peak: bits, secs: SHOWN }
}

/// A usual camera.
pub const VGA15: Recording = shown("640x480@15 700 kb/s", "vga15.mp4", "scale=640:480", "15", "700k");
/// A small one.
pub const QVGA15: Recording = shown("320x240@15 300 kb/s", "qvga15.mp4", "scale=320:240", "15", "300k");
/// A tiny one.
pub const TINY: Recording = shown("160x120@5 60 kb/s", "tiny.mp4", "scale=160:120", "5", "60k");
/// One that sends far more than anybody needs.
pub const FLOOD: Recording = shown("320x240@240 4 Mb/s", "flood.mp4", "scale=320:240", "240", "4M");

impl Recording {
    /// The file; made by ffmpeg when first asked for, which takes a minute or two.
    pub fn path(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
        let path = folder.join(self.file);
        if !path.exists() {
            eprintln!("making {}", path.display());
            std::fs::create_dir_all(&folder).expect("target/tmp is writable");
            let part = folder.join(format!("part.{}", self.file));
            let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/media/interview.mp4");
            let filter = format!("{},noise=alls=7:allf=t,format=yuv420p", self.filter);
            let sample = sample.to_str().expect("UTF-8");
            let text = format!(
                "-v error -y -stream_loop -1 -i {sample} -t {secs} -vf {filter} -r {rate} \
                 -c:v libx264 -preset fast -bf 0 -g 50 -b:v {bits} -maxrate {peak} -bufsize {peak} \
                 -c:a aac -b:a 64k -ar 48000 -movflags +faststart",
                secs = self.secs,
                rate = self.rate,
                bits = self.bits,
                peak = self.peak,
            );
            let made = Command::new("ffmpeg").args(text.split_whitespace()).arg(&part).status();
            assert!(made.is_ok_and(|status| status.success()), "ffmpeg could not make {}", path.display());
            std::fs::rename(&part, &path).expect("target/tmp is writable");
        }
        path
    }
}
