//! `ahwatch watch --list-devices`.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

use super::Exit;
use crate::source::{Device, DeviceKind, devices, missing_packages};

/// A device as it is printed with `--json`.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    source: &'a str,
    name: &'a str,
    monitor: bool,
}

pub(super) fn list(json: bool) -> Exit {
    let found = match devices() {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Refused;
        }
    };
    let text = if json { lines(&found) } else { table(&found) };
    let missing = missing_packages();
    if !missing.is_empty() {
        eprintln!("more devices may be seen with {}", missing.join(", "));
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

const fn kind(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Camera => "camera",
        DeviceKind::Microphone => "microphone",
    }
}

/// One JSON object a line.
fn lines(found: &[Device]) -> String {
    let mut text = String::new();
    for device in found {
        let line =
            Line { kind: kind(device.kind), source: &device.source, name: &device.name, monitor: device.monitor };
        // Text and a bool always serialise, and writing to text does not fail.
        let _ = writeln!(text, "{}", serde_json::to_string(&line).unwrap_or_default());
    }
    text
}

fn table(found: &[Device]) -> String {
    let width = found.iter().map(|d| d.source.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for which in [DeviceKind::Camera, DeviceKind::Microphone] {
        let of_kind: Vec<&Device> = found.iter().filter(|d| d.kind == which).collect();
        let _ = match of_kind.len() {
            0 => writeln!(text, "no {}s found", kind(which)),
            _ => writeln!(text, "{}s", kind(which)),
        };
        for device in of_kind {
            let monitor = if device.monitor { " (what this machine plays)" } else { "" };
            let _ = writeln!(text, "  {:width$}  {}{monitor}", device.source, device.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_pasted_and_what_is_not_there_is_said() {
        assert_eq!(table(&[]), "no cameras found\nno microphones found\n");
        let device = |kind, source: &str, name: &str, monitor| Device {
            kind,
            source: source.into(),
            name: name.into(),
            monitor,
        };
        let found = [
            device(DeviceKind::Camera, "webcam:/dev/video0", "Integrated Camera", false),
            device(DeviceKind::Microphone, "mic:alsa_input.usb", "Headset", false),
            device(DeviceKind::Microphone, "mic:out.monitor", "Monitor of \"out\"", true),
        ];
        insta::assert_snapshot!(table(&found) + &lines(&found), @r#"
        cameras
          webcam:/dev/video0  Integrated Camera
        microphones
          mic:alsa_input.usb  Headset
          mic:out.monitor     Monitor of "out" (what this machine plays)
        {"kind":"camera","source":"webcam:/dev/video0","name":"Integrated Camera","monitor":false}
        {"kind":"microphone","source":"mic:alsa_input.usb","name":"Headset","monitor":false}
        {"kind":"microphone","source":"mic:out.monitor","name":"Monitor of \"out\"","monitor":true}
        "#);
    }
}
