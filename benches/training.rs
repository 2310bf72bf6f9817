//! How like the source the published preparation leaves pictures, beside what the program sends.

use std::path::Path;
use std::process::Command;

use super::recordings::{HD, VGA};
use super::table::print;

/// The published preparation: libx264 crf 18 veryfast, once or twice in a row.
const PREPARE: [&str; 8] = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-an", "-y"];

/// The table of both sizes.
pub fn run() {
    let mut rows = Vec::new();
    for recording in [VGA, HD] {
        let source = recording.path();
        let folder = tempfile::tempdir().expect("a folder");
        let (once, twice) = (folder.path().join("1.mp4"), folder.path().join("2.mp4"));
        ffmpeg(&[&["-i", text(&source)], &PREPARE[..], &[text(&once)]].concat());
        ffmpeg(&[&["-i", text(&once)], &PREPARE[..], &[text(&twice)]].concat());
        for (what, file) in [("once", &once), ("twice, as released", &twice)] {
            let log = ffmpeg(&["-i", text(file), "-i", text(&source), "-lavfi", "psnr", "-f", "null", "-"]);
            let luma = log.split("PSNR y:").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("?");
            let bytes = std::fs::metadata(file).map_or(0, |m| m.len());
            rows.push(vec![recording.name.into(), what.into(), luma.to_owned(), format!("{}", bytes / 12_000)]);
        }
    }
    let title = "Pictures of training: libx264 crf 18 veryfast of the same recordings, every picture; PSNR of luma (limited range)";
    print(title, &["recording", "encoded", "PSNR dB", "kB of video in 5 s"], &rows);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn ffmpeg(args: &[&str]) -> String {
    let out = Command::new("ffmpeg").arg("-hide_banner").args(args).output().expect("ffmpeg");
    let log = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "ffmpeg {args:?}: {log}");
    log
}
