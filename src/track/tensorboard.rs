//! TensorBoard event files: scalars and pictures by step, in the format that TensorBoard's own
//! reader takes.
//!
//! A file is a sequence of TFRecords (length, masked CRC-32C of it, protobuf `Event`, masked
//! CRC-32C of it). A resumed run writes a file of its own, whose first event says from which step
//! on earlier files no longer hold. Reference: `tensorboard/compat/proto/{event,summary}.proto`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::Picture;
use crate::{Error, Result};

const FILE_VERSION: &str = "brain.Event:2";
const SESSION_START: i32 = 1;
const RGB: i32 = 3;
/// `events.out.tfevents.SECONDS.hrm.000`: TensorBoard reads a folder's files in the order of names.
const PREFIX: &str = "events.out.tfevents.";
const SUFFIX: &str = ".hrm.000";

#[derive(Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
}

#[derive(Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes, tag = "4")]
    encoded_image_string: Vec<u8>,
}

/// One event file, appended to as the run goes.
pub struct Events {
    path: PathBuf,
    file: File,
    /// No event is older, whatever the clock says: that of the file's name.
    since: Duration,
}

impl Events {
    /// A new file in `dir`. Scalars of earlier files from `step` + 1 on are void.
    pub fn create(dir: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir, "create the folder of events"))?;
        let since = start(dir)?;
        let path = dir.join(format!("{PREFIX}{:010}{SUFFIX}", since.as_secs()));
        let file = File::create_new(&path).map_err(Error::io(&path, "create"))?;
        let mut events = Self { path, file, since };
        events.write(0, What::FileVersion(FILE_VERSION.into()))?;
        events.write(step + 1, What::SessionLog(SessionLog { status: SESSION_START }))?;
        Ok(events)
    }

    /// Scalars of one step, handed to the system before this returns.
    pub fn scalars<'a>(
        &mut self,
        step: u64,
        scalars: impl Iterator<Item = (&'a str, f64)>,
    ) -> Result<()> {
        let value = scalars
            .map(|(tag, x)| Value {
                tag: tag.to_owned(),
                simple_value: Some(x as f32),
                image: None,
            })
            .collect();
        self.write(step, What::Summary(Summary { value }))
    }

    /// A picture of one step.
    pub fn image(&mut self, step: u64, tag: &str, picture: &Picture) -> Result<()> {
        let image = Image {
            height: picture.height as i32,
            width: picture.width as i32,
            colorspace: RGB,
            encoded_image_string: picture.png.clone(),
        };
        let value = Value { tag: tag.to_owned(), simple_value: None, image: Some(image) };
        self.write(step, What::Summary(Summary { value: vec![value] }))
    }

    fn write(&mut self, step: u64, what: What) -> Result<()> {
        let wall_time = since_epoch().max(self.since).as_secs_f64();
        let event = Event { wall_time, step: step as i64, what: Some(what) }.encode_to_vec();
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length));
        record.extend(&event);
        record.extend(masked_crc(&event));
        let written = self.file.write_all(&record);
        written.map_err(Error::io(&self.path, "write (earlier events are intact)"))
    }
}

/// Now, but after all files of earlier parts: a clock may have been set back since.
fn start(dir: &Path) -> Result<Duration> {
    let io = |e| Error::io(dir, "list the events")(e);
    let mut start = since_epoch();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let seconds = rest.and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        if let Some(seconds) = seconds {
            start = start.max(Duration::from_secs(seconds as u64 + 1));
        }
    }
    Ok(start)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// TFRecord's rotated CRC-32C.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stands_after_earlier_ones_though_the_clock_was_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let ahead = since_epoch().as_secs() + 2 * 86_400;
        let first = dir.path().join(format!("{PREFIX}{ahead:010}{SUFFIX}"));
        std::fs::write(&first, "").unwrap();
        let [second, third] = [7, 9].map(|step| Events::create(dir.path(), step).unwrap());
        assert_eq!((second.since.as_secs(), third.since.as_secs()), (ahead + 1, ahead + 2));
        assert!(first < second.path && second.path < third.path, "{:?}", third.path);
        // Length, its CRC, then the event: field 1, a double, is the wall time.
        let bytes = std::fs::read(&second.path).unwrap();
        let wall_time = f64::from_le_bytes(bytes[13..21].try_into().unwrap());
        assert_eq!((bytes[12], wall_time), (9, (ahead + 1) as f64));
    }
}
