//! A made annotations file of 100 MB and a million frames, read by us and by `PyYAML`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::process;
use super::table::print;

/// Videos of the whole file, and of the part that `PyYAML`'s own parser is given, the one without libyaml.
const WHOLE: usize = 1427;
const PART: usize = 36;
const FRAMES: usize = 705;

fn file(videos: usize) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    let path = folder.join(format!("annotations-{videos}.yaml"));
    if !path.exists() {
        std::fs::create_dir_all(&folder).expect("target/tmp is writable");
        let mut text = String::new();
        for video in 0..videos {
            let (who, question) = (90_000 + video / 5, video % 7 + 1);
            let name = format!(
                "Videos/{who}/Visite_1/{who}_Question_{question}_2024-11-05_14-{:02}-50_Video{video}.mp4",
                video % 60
            );
            let _ = write!(
                text,
                "{name}:\n  annotator_id: XX\n  fr_detailed_ah:\n  - - 51\n    - 95\n  frame_annotation:\n"
            );
            for frame in 0..FRAMES {
                let _ =
                    writeln!(text, "  - - {name}/frame-{frame}.jpg\n    - {}", u8::from((51..=95).contains(&frame)));
            }
            text += "  global_ah: 1\n  time_detailed_ah:\n  - - '00:00:01.721'\n    - '00:00:04.410'\n  transcript:\n    chunks:\n    \
                     - language: english\n      text: ' words'\n      timestamp: !!python/tuple\n      - 0.0\n      - null\n    text: ' words'\n";
        }
        std::fs::write(&path, text).expect("target/tmp is writable");
    }
    path
}

/// Reads the file; prints seconds and the most memory in MiB.
pub fn child(path: &Path) {
    let (began, mut frames) = (Instant::now(), 0);
    ahwatch::bah::read_annotations(path, |a| frames += a.frames.len()).expect("a good file");
    assert!(frames.is_multiple_of(FRAMES) && frames > 0);
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next());
    let peak: f64 = peak.and_then(|n| n.parse().ok()).expect("VmHWM");
    println!("{} {}", began.elapsed().as_secs_f64(), peak / 1024.0);
}

const PYTHON: &str = "
import resource, sys, time, yaml
began = time.time()
d = yaml.load(open(sys.argv[1], encoding='utf-8'), Loader=getattr(yaml, sys.argv[2]))
assert d
print(time.time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
";

/// The table.
pub fn run() {
    let mut rows = Vec::new();
    let mut row = |what: &str, path: &Path, numbers: [f64; 2]| {
        let size = std::fs::metadata(path).map_or(0, |m| m.len()) as f64 / 1e6;
        rows.push(vec![
            what.to_owned(),
            format!("{size:.1}"),
            format!("{:.2}", numbers[0]),
            format!("{:.0}", numbers[1]),
        ]);
    };
    for videos in [PART, WHOLE] {
        let path = file(videos);
        let ours = process::child(&["yaml", path.to_str().expect("UTF-8")]);
        row("ahwatch", &path, [ours[0], ours[1]]);
        for loader in ["CFullLoader", "FullLoader"] {
            if videos == WHOLE && loader == "FullLoader" {
                continue;
            }
            let out = Command::new("python3").args(["-c", PYTHON]).arg(&path).arg(loader).output().expect("python3");
            let text = String::from_utf8_lossy(&out.stdout);
            let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            match numbers[..] {
                [secs, mib] => row(&format!("PyYAML {loader}"), &path, [secs, mib]),
                _ => println!("PyYAML {loader} is not there: {}", String::from_utf8_lossy(&out.stderr)),
            }
        }
    }
    let title = format!(
        "Annotations: {WHOLE} videos of {FRAMES} frames, and the first {PART}; one run each, wall time and most memory"
    );
    print(&title, &["reader", "MB", "s", "MiB"], &rows);
}
