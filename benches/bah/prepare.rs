//! 40 videos prepared by the program and by the published procedure, side by side.
//!
//! Published: intervals are cropped by one ffmpeg command each, then two commands a clip (re-encode, sound). They do as many
//! videos at once as there are cores; the program does as many as it does by itself, one more.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use super::recordings::VGA;
use super::table::print;

const CRF: [&str; 8] = ["-c:v", "libx264", "-crf", "18", "-preset", "veryfast", "-c:a", "aac"];
const FPS: f64 = 25.0;

/// A video: seconds, and where A/H is. Intervals begin between two pictures, so that both sides take the same.
fn plan() -> Vec<(f64, Vec<(f64, f64)>)> {
    let lengths = [12.0, 26.4, 8.8, 18.0, 34.0];
    let video = |n: usize| {
        let secs = lengths[n % 5];
        let at = |share: f64| (secs * share * FPS).floor() / FPS + 0.5 / FPS;
        let intervals = match n % 4 {
            0 => vec![(at(0.1), at(0.55))],
            1 => vec![(at(0.05), at(0.25)), (at(0.4), at(0.95))],
            _ => Vec::new(),
        };
        (secs, intervals)
    };
    (0..40).map(video).collect()
}

/// A video's stem, its file, and where A/H is.
type Video = (String, PathBuf, Vec<(f64, f64)>);

struct Data {
    root: PathBuf,
    videos: Vec<Video>,
}

fn data() -> Data {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench/bah");
    let source = VGA.path();
    let (mut yaml, mut lines, mut videos) = (String::new(), String::new(), Vec::new());
    for (n, (secs, intervals)) in plan().into_iter().enumerate() {
        let who = 91_000 + n / 4;
        let stem = format!("{who}_Question_{}_2024-11-05_14-{n:02}-50_Video", n % 7 + 1);
        let key = format!("Videos/{who}/Visite_1/{stem}.mp4");
        let path = root.join(&key);
        if !path.exists() {
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("target/tmp is writable");
            let (from, long) = (format!("{}", n % 20), format!("{secs}"));
            let to = path.to_str().expect("UTF-8");
            let source = source.to_str().expect("UTF-8");
            let settings = "-c:v libx264 -preset fast -b:v 1M -maxrate 1200k -bufsize 1200k -c:a aac -b:a 64k";
            let mut args = vec!["-ss", &from, "-i", source, "-t", &long];
            args.extend(settings.split(' '));
            args.push(to);
            ffmpeg(&args);
        }
        let label = u8::from(!intervals.is_empty());
        let _ = writeln!(lines, "{key},{label},words, more words");
        let _ = writeln!(yaml, "{key}:\n  global_ah: {label}\n  time_detailed_ah:");
        for (from, to) in &intervals {
            let _ = writeln!(yaml, "  - ['00:00:{from:06.3}', '00:00:{to:06.3}']");
        }
        videos.push((stem, path, intervals));
    }
    std::fs::create_dir_all(root.join("split")).expect("target/tmp is writable");
    for (file, text) in [("split/train.txt", &lines), ("video_annotation_transcript.yaml", &yaml)] {
        std::fs::write(root.join(file), text).expect("target/tmp is writable");
    }
    for file in ["split/val.txt", "split/test.txt"] {
        std::fs::write(root.join(file), "").expect("target/tmp is writable");
    }
    Data { root, videos }
}

fn ffmpeg(args: &[&str]) -> String {
    let out = Command::new("ffmpeg").args(["-hide_banner", "-nostdin", "-y"]).args(args).output().expect("ffmpeg");
    let log = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "ffmpeg {args:?}: {log}");
    log
}

/// CPU seconds of the children that ended.
fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).expect("stat");
    (field(13) + field(14)) / 100.0
}

fn measured(work: impl FnOnce()) -> [f64; 2] {
    let (began, before) = (Instant::now(), children());
    work();
    [began.elapsed().as_secs_f64(), children() - before]
}

/// The published procedure for one video.
fn published(stem: &str, path: &Path, intervals: &[(f64, f64)], out: &Path) {
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let mut samples = vec![(stem.to_owned(), path.to_owned())];
    if !intervals.is_empty() {
        samples.clear();
        for (n, (from, to)) in (1..).zip(intervals) {
            let crop = out.join(format!("crop_{stem}_{n}.mp4"));
            let (from, to) = (format!("{from:.3}"), format!("{to:.3}"));
            let mut args = vec!["-ss", &from, "-to", &to, "-i", path.to_str().expect("UTF-8")];
            args.extend(CRF);
            let crop_text = text(&crop);
            args.push(&crop_text);
            ffmpeg(&args);
            samples.push((format!("{stem}_{n}"), crop));
        }
    }
    for (name, sample) in samples {
        let length = Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
            .arg(&sample)
            .output()
            .expect("ffprobe");
        let length: f64 = String::from_utf8_lossy(&length.stdout).trim().parse().expect("a duration");
        let (mut from, mut part) = (0.0, 1);
        while length - from >= 3.0 || (part == 1 && length <= 5.0) {
            let long = f64::min(5.0, length - from);
            let name = if length <= 5.0 { name.clone() } else { format!("{name}_{part}") };
            let (clip, wav) = (text(&out.join(format!("{name}.mp4"))), text(&out.join(format!("{name}.wav"))));
            let (start, duration) = (format!("{from}"), format!("{long}"));
            let sample = text(&sample);
            let mut args = vec!["-ss", &start, "-i", &sample, "-t", &duration];
            args.extend(CRF);
            args.push(&clip);
            ffmpeg(&args);
            ffmpeg(&["-i", &clip, "-vn", "-ac", "1", "-ar", "16000", "-af", "aresample=async=1", &wav]);
            from += 5.0;
            part += 1;
            if length <= 5.0 {
                break;
            }
        }
    }
}

/// Mean over clips of the PSNR of luma against the source's same pictures; how many clips, and how many pictures.
fn psnr(data: &Data, clips: &Path) -> (f64, usize, usize) {
    let (mut sum, mut count, mut pictures) = (0.0, 0usize, 0usize);
    for (stem, path, intervals) in &data.videos {
        let mut samples: Vec<(String, f64)> = vec![(stem.clone(), 0.0)];
        if !intervals.is_empty() {
            samples = (1..).zip(intervals).map(|(n, (from, _))| (format!("{stem}_{n}"), *from)).collect();
        }
        for (name, from) in samples {
            let named = |part: usize| if part == 0 { name.clone() } else { format!("{name}_{part}") };
            for part in 0..10 {
                let clip = clips.join(format!("{}.mp4", named(part)));
                if !clip.exists() {
                    continue;
                }
                let first = ((from + 5.0 * (part.max(1) - 1) as f64) * FPS - 1e-6).ceil();
                let graph = format!(
                    "[0:v]setpts=N/25/TB[a];[1:v]trim=start_frame={first},setpts=N/25/TB[b];[a][b]psnr=shortest=1:stats_file=-"
                );
                let (clip, path) = (clip.to_str().expect("UTF-8"), path.to_str().expect("UTF-8"));
                let log = ffmpeg(&["-i", clip, "-i", path, "-lavfi", &graph, "-f", "null", "-"]);
                let luma = log.split("PSNR y:").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
                let frames =
                    log.rsplit("frame=").next().and_then(|r| r.split_whitespace().next()?.parse::<usize>().ok());
                sum += luma.expect("PSNR");
                pictures += frames.unwrap_or(0);
                count += 1;
            }
        }
    }
    (sum / count as f64, count, pictures)
}

/// The two sides, as they are called on the command line and in the table.
const SIDES: [(&str, &str); 2] = [("ours", "ahwatch bah prepare"), ("published", "published procedure")];

/// What a side leaves: its clips, and what they cost.
fn folder(side: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench/prepared").join(side)
}

fn costs(side: &str) -> PathBuf {
    folder(side).with_extension("txt")
}

/// One side alone; what it costs stays for the table.
fn side(data: &Data, side: &str) {
    let out = folder(side);
    if out.exists() {
        std::fs::remove_dir_all(&out).expect("target/tmp is writable");
    }
    std::fs::create_dir_all(&out).expect("target/tmp is writable");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let [wall, cpu] = measured(|| if side == SIDES[0].0 { ours(data, &out) } else { theirs(data, &out) });
    let load = load.split(' ').next().unwrap_or_default();
    println!("{side}: {wall:.1} s wall, {cpu:.1} s CPU, load at start {load}");
    std::fs::write(costs(side), format!("{wall} {cpu}")).expect("target/tmp is writable");
}

fn ours(data: &Data, out: &Path) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_ahwatch"));
    run.args(["bah", "prepare"]).arg(&data.root).arg(out);
    let run = run.args(["--split", "train"]).output().expect("ahwatch");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

fn theirs(data: &Data, out: &Path) {
    let todo = Mutex::new(data.videos.iter());
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().expect("no panic").next();
                    let Some((stem, path, intervals)) = next else { return };
                    published(stem, path, intervals, out);
                }
            });
        }
    });
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What both sides left, compared.
fn compare(data: &Data) {
    let numbers = SIDES.map(|(side, _)| {
        let text = std::fs::read_to_string(costs(side)).expect("the side was run");
        let mut numbers = text.split(' ').map(|n| n.parse::<f64>().expect("a number"));
        [numbers.next().expect("wall"), numbers.next().expect("CPU")]
    });
    let mut rows = Vec::new();
    for ((side, what), [wall, cpu]) in SIDES.into_iter().zip(numbers) {
        let clips = if side == SIDES[0].0 { folder(side).join("train/clips") } else { folder(side) };
        let (psnr, count, pictures) = psnr(data, &clips);
        rows.push(vec![
            what.to_owned(),
            format!("{count} ({pictures})"),
            format!("{wall:.1} ({:.2})", wall / numbers[1][0]),
            format!("{cpu:.1} ({:.2})", cpu / numbers[1][1]),
            format!("{psnr:.2}"),
        ]);
    }
    let secs: f64 = plan().iter().map(|v| v.0).sum();
    let title = format!(
        "Preparing 40 videos, {secs:.0} s of 640x480@25, {} at once, published {}; one run each; PSNR of luma against the source",
        cores() + 1,
        cores()
    );
    print(&title, &["", "clips (pictures)", "wall s (of published)", "CPU s (of published)", "PSNR dB"], &rows);
}

/// These parts; without any both sides and the table.
pub fn run(parts: &[&str]) {
    let data = data();
    for (name, _) in SIDES {
        if parts.is_empty() || parts.contains(&name) {
            side(&data, name);
        }
    }
    if parts.is_empty() || parts.contains(&"compare") {
        compare(&data);
    }
}
