//! The cameras and microphones of this machine, by the names that open them.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::SourceError;

/// What a device gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// Pictures.
    Camera,
    /// Sound.
    Microphone,
}

/// A device of this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// What it gives.
    pub kind: DeviceKind,
    /// What opens it: `webcam:/dev/video0`, `mic:alsa_input.usb-…`.
    pub source: String,
    /// For people.
    pub name: String,
    /// It hears what this machine plays, rather than the room.
    pub monitor: bool,
}

/// Asks GStreamer's device monitor (`Video4Linux`, `PulseAudio`, `PipeWire`, ALSA).
///
/// # Errors
/// GStreamer itself is not there.
pub fn devices() -> Result<Vec<Device>, SourceError> {
    super::pipeline::init()?;
    let monitor = gst::DeviceMonitor::new();
    for class in ["Video/Source", "Audio/Source"] {
        monitor.add_filter(Some(class), None);
    }
    // It fails when not one provider could be started: then there are no devices.
    if monitor.start().is_err() {
        return Ok(Vec::new());
    }
    let mut devices: Vec<Device> = monitor.devices().iter().filter_map(device).collect();
    monitor.stop();
    devices.sort();
    devices.dedup();
    Ok(devices)
}

/// None: it is opened by an element that no pipeline of ours uses.
fn device(found: &gst::Device) -> Option<Device> {
    let kind = if found.has_classes("Video") { DeviceKind::Camera } else { DeviceKind::Microphone };
    let properties = found.properties();
    let property = |name: &str| properties.as_ref().and_then(|p| p.get::<String>(name).ok());
    // The element that opens it knows its name.
    let element = found.create_element(None).ok()?;
    let set = |name: &str| {
        let is_text = element.has_property_with_type(name, String::static_type());
        is_text.then(|| element.property::<Option<String>>(name)).flatten()
    };
    let name = match (element.factory()?.name().as_str(), kind) {
        ("v4l2src", DeviceKind::Camera) | ("pulsesrc", DeviceKind::Microphone) => set("device")?,
        ("alsasrc", DeviceKind::Microphone) => format!("alsa:{}", set("device")?),
        // The number it is given changes from start to start, the name does not.
        ("pipewiresrc", _) => {
            let name = property("node.name").or_else(|| set("target-object")).or_else(|| set("path"))?;
            format!("pipewire:{name}")
        }
        _ => return None,
    };
    let scheme = if kind == DeviceKind::Camera { "webcam" } else { "mic" };
    let monitor = property("device.class").as_deref() == Some("monitor") || name.ends_with(".monitor");
    Some(Device { kind, source: format!("{scheme}:{name}"), name: found.display_name().into(), monitor })
}
