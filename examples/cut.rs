//! Cuts a recording into windows and writes each as the clip a judge would get.
//!
//! `cargo run --example cut -- examples/media/interview.mp4 /tmp/clips`

use std::collections::BTreeSet;
use std::path::PathBuf;

use ahwatch::config::ClipCodec;
use ahwatch::encode::{StillEncoder, clips};
use ahwatch::run::{FromSource, cut};
use ahwatch::source::{Description, Location, Retry, Spec};
use ahwatch::window::{Cut, Cutting};
use anyhow::Context as _;

const MAX_PIXELS: u32 = 786_432;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let path = args.next().context("name a recording")?;
    let folder = args.next();
    let spec = Spec::once("example", Location::File(path), Description::shipped("file.gst", None)?);
    let stills = StillEncoder::new(MAX_PIXELS, 90)?;
    let (_running, stop) = crossbeam_channel::bounded(0);
    let mut result = Ok(());
    cut(&spec, &Retry::default(), Cutting::RECORDING, stills, &stop, |message| {
        match message {
            FromSource::Cut(Cut::Window(window), _) => {
                println!(
                    "{:?}: {} pictures, {} values of sound",
                    window.span,
                    window.pictures.len(),
                    window.sound.as_ref().map_or(0, Vec::len)
                );
                if let Some(folder) = &folder {
                    result = write(&window, folder);
                }
            }
            FromSource::Cut(other, _) => println!("{other:?}"),
            FromSource::Finished(finish) => {
                if let Some(error) = finish.error {
                    result = Err(error.into());
                }
            }
            _ => {}
        }
        result.is_ok()
    });
    result
}

fn write(window: &ahwatch::window::Window, folder: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let set = clips(window, ClipCodec::Jpeg, &BTreeSet::from([MAX_PIXELS]))?;
    let clip = set.get(MAX_PIXELS).context("no clip was made")?;
    for (bytes, kind) in [(clip.video(), "mp4"), (clip.audio(), "wav")] {
        if let Some(bytes) = bytes {
            std::fs::write(folder.join(format!("{}.{kind}", window.id.index)), bytes)?;
        }
    }
    Ok(())
}
