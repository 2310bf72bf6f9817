//! Devices of this machine: which pipeline opens one, and what is missing when none can.
//!
//! A name settles the way by itself where it can: `/dev/video0` is `Video4Linux`, `hw:1,0` is ALSA. `alsa:`, `pulse:` and
//! `pipewire:` before a name settle it in any case. Otherwise it is what runs on this machine, at the start.

use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::{Description, Location, Microphone, SourceError};
use crate::window::Stream;

/// What brings a device's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// `Video4Linux`: `/dev/video*`.
    V4l2,
    /// `PulseAudio`'s protocol, which `PipeWire` speaks too.
    Pulse,
    /// `PipeWire`: cameras, also those of a sandbox, and microphones.
    PipeWire,
    /// The kernel's sound cards.
    Alsa,
}

impl Api {
    /// GStreamer's element, and the Debian package that has it.
    const fn element(self) -> (&'static str, &'static str) {
        match self {
            Self::V4l2 => ("v4l2src", "gstreamer1.0-plugins-good"),
            Self::Pulse => ("pulsesrc", "gstreamer1.0-pulseaudio"),
            Self::PipeWire => ("pipewiresrc", "gstreamer1.0-pipewire"),
            Self::Alsa => ("alsasrc", "gstreamer1.0-alsa"),
        }
    }

    /// What settles it in front of a name.
    const fn prefix(self) -> &'static str {
        match self {
            Self::V4l2 => "v4l2:",
            Self::Pulse => "pulse:",
            Self::PipeWire => "pipewire:",
            Self::Alsa => "alsa:",
        }
    }

    fn installed(self) -> bool {
        gst::ElementFactory::find(self.element().0).is_some()
    }

    /// Whether its server or its devices are there now.
    fn present(self) -> bool {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let in_runtime = |path: &str| runtime.as_ref().is_some_and(|dir| dir.join(path).exists());
        match self {
            Self::V4l2 => any_video_device(),
            Self::Pulse => {
                std::env::var_os("PULSE_SERVER").is_some()
                    || std::env::var_os("PULSE_RUNTIME_PATH").is_some()
                    || in_runtime("pulse/native")
                    || Path::new("/run/pulse/native").exists()
            }
            Self::PipeWire => std::env::var_os("PIPEWIRE_REMOTE").is_some() || in_runtime("pipewire-0"),
            Self::Alsa => Path::new("/dev/snd").exists(),
        }
    }
}

fn any_video_device() -> bool {
    let Ok(entries) = std::fs::read_dir("/dev") else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("video"))
}

/// The ways to a camera of this name, the likeliest first.
fn camera_apis(device: Option<&str>) -> &'static [Api] {
    match device {
        Some(name) if name.starts_with("/dev/") || name.starts_with("v4l2:") => &[Api::V4l2],
        Some(_) => &[Api::PipeWire],
        None => &[Api::V4l2, Api::PipeWire],
    }
}

/// The ways to a microphone of this name, the likeliest first.
fn microphone_apis(device: Option<&str>) -> &'static [Api] {
    const PCM: [&str; 7] = ["alsa:", "hw:", "plughw:", "dsnoop:", "sysdefault:", "front:", "default:"];
    match device {
        Some(name) if PCM.iter().any(|pcm| name.starts_with(pcm)) => &[Api::Alsa],
        Some(name) if name.starts_with("pulse:") => &[Api::Pulse],
        Some(name) if name.starts_with("pipewire:") => &[Api::PipeWire],
        Some(_) => &[Api::Pulse, Api::PipeWire],
        None => &[Api::Pulse, Api::PipeWire, Api::Alsa],
    }
}

/// The first that is there and can be used, or else the first that can be used: it may come later.
fn choose(apis: &[Api], location: &Location) -> Result<Api, SourceError> {
    let usable = apis.iter().copied().filter(|api| api.installed());
    let found = usable.clone().find(|api| api.present()).or_else(|| usable.clone().next());
    found.ok_or_else(|| {
        let (element, package) = apis.first().map_or(("", ""), |api| api.element());
        SourceError::Plugin { location: location.to_string(), element, package }
    })
}

fn microphone(device: Option<&str>, location: &Location, assets: Option<&Path>) -> Result<Option<String>, SourceError> {
    let file = match choose(microphone_apis(device), location)? {
        Api::Alsa => "mic-alsa.gst",
        Api::PipeWire => "mic-pipewire.gst",
        Api::Pulse | Api::V4l2 => "mic-pulse.gst",
    };
    Ok(Description::shipped(file, assets)?.audio)
}

/// The shipped description for a location; that of a device fits what this machine has.
///
/// # Errors
/// A file in `assets` is wrong, or GStreamer lacks the element that opens such a device.
pub fn description(location: &Location, assets: Option<&Path>) -> Result<Description, SourceError> {
    super::pipeline::init()?;
    let mut description = match location {
        Location::File(_) => return Description::shipped("file.gst", assets),
        Location::Rtsp(_) => return Description::shipped("rtsp.gst", assets),
        Location::Pushed(_) => return Description::shipped("pushed.gst", assets),
        Location::Test { .. } => Description::shipped("test.gst", assets)?,
        Location::Webcam { device, .. } => match choose(camera_apis(device.as_deref()), location)? {
            Api::PipeWire => Description::shipped("webcam-pipewire.gst", assets)?,
            _ => Description::shipped("webcam-v4l2.gst", assets)?,
        },
        Location::Mic(device) => {
            let audio = microphone(device.as_deref(), location, assets)?;
            return Ok(Description { origin: "pipelines/mic".into(), source: None, video: None, audio });
        }
    };
    match (location, location.microphone()) {
        (_, Microphone::Named(name)) => description.audio = microphone(Some(name), location, assets)?,
        (Location::Webcam { .. }, Microphone::Usual) => description.audio = microphone(None, location, assets)?,
        _ => {}
    }
    Ok(description)
}

/// Sets the device the user named on the element that opens it: as a property, never as pipeline text.
pub(super) fn set(
    description: &Description,
    bin: &gst::Bin,
    stream: Stream,
    location: &Location,
) -> Result<(), SourceError> {
    let (element, device) = match (stream, location) {
        (Stream::Video, Location::Webcam { device, .. }) => ("videoin", device.as_deref()),
        (Stream::Audio, Location::Mic(device)) => ("audioin", device.as_deref()),
        (Stream::Audio, _) => match location.microphone() {
            Microphone::Named(name) => ("audioin", Some(name.as_str())),
            _ => return Ok(()),
        },
        (Stream::Video, _) => return Ok(()),
    };
    let Some(device) = device else { return Ok(()) };
    let element = description.element(bin, element)?;
    let apis = [Api::V4l2, Api::Pulse, Api::PipeWire, Api::Alsa];
    let plain = apis.iter().find_map(|api| device.strip_prefix(api.prefix())).unwrap_or(device);
    for property in ["device", "target-object", "path"] {
        if element.has_property_with_type(property, String::static_type()) {
            element.set_property(property, plain);
            return Ok(());
        }
    }
    let reason = format!("the element named {} takes no device", element.name());
    Err(SourceError::Description { origin: description.origin.clone(), reason })
}

/// Packages without which some devices of this machine cannot be seen.
#[must_use]
pub fn missing_packages() -> Vec<&'static str> {
    let apis = [Api::V4l2, Api::Pulse, Api::PipeWire, Api::Alsa];
    apis.iter().filter(|api| !api.installed()).map(|api| api.element().1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_settles_the_way_where_it_can() {
        assert_eq!(camera_apis(Some("/dev/video2")), [Api::V4l2]);
        assert_eq!(camera_apis(Some("v4l2_input.pci-0000_00")), [Api::PipeWire]);
        assert_eq!(camera_apis(None)[0], Api::V4l2);
        for name in ["hw:1,0", "plughw:CARD=U,DEV=0", "alsa:default"] {
            assert_eq!(microphone_apis(Some(name)), [Api::Alsa], "{name}");
        }
        assert_eq!(microphone_apis(Some("alsa_input.usb-046d")), [Api::Pulse, Api::PipeWire]);
        assert_eq!(microphone_apis(Some("pipewire:alsa_input.usb")), [Api::PipeWire]);
        assert_eq!(microphone_apis(None), [Api::Pulse, Api::PipeWire, Api::Alsa]);
    }

    #[test]
    fn a_named_device_is_set_as_a_property_whatever_it_holds() {
        let hostile = "x ! filesink location=/tmp/y name=z";
        let location = Location::Mic(Some(format!("pulse:{hostile}")));
        let description = Description::shipped("mic-pulse.gst", None).unwrap();
        super::super::pipeline::init().unwrap();
        let bin = description.branch_bin(description.audio.as_deref().unwrap()).unwrap();
        set(&description, &bin, Stream::Audio, &location).unwrap();
        assert_eq!(bin.by_name("audioin").unwrap().property::<String>("device"), hostile);
        assert!(bin.by_name("z").is_none());
    }

    #[test]
    fn a_camera_without_sound_has_no_audio_branch_and_a_test_picture_may_have_a_microphone() {
        let camera = |microphone| Location::Webcam { device: Some("/dev/video0".into()), microphone };
        let description = |location| description(&location, None).unwrap();
        assert!(description(camera(Microphone::Off)).audio.is_none());
        assert!(description(camera(Microphone::Named("a.monitor".into()))).audio.unwrap().contains("pulsesrc"));
        assert!(description(camera(Microphone::Named("hw:0".into()))).audio.unwrap().contains("alsasrc"));
        let test = description(Location::Test { microphone: Microphone::Named("hw:0".into()) });
        assert!(test.video.unwrap().contains("videotestsrc") && test.audio.unwrap().contains("alsasrc"));
    }
}
