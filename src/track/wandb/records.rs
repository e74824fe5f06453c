//! The records of a W&B run that we write, tag by tag. Reference: `wandb_internal.proto` of the
//! wandb client.

use std::time::Duration;

use prost::{Message, Oneof};
use serde_json::Value;

#[derive(Message)]
pub struct Record {
    #[prost(int64, tag = "1")]
    num: i64,
    #[prost(oneof = "What", tags = "2, 3, 6, 7, 13, 17, 18, 21")]
    what: Option<What>,
}

impl Record {
    /// `num` counts from 1.
    pub fn new(num: i64, what: What) -> Self {
        Self { num, what: Some(what) }
    }
}

#[derive(Oneof)]
pub enum What {
    #[prost(message, tag = "2")]
    History(History),
    #[prost(message, tag = "3")]
    Summary(Update),
    #[prost(message, tag = "6")]
    Files(Files),
    #[prost(message, tag = "7")]
    Stats(Stats),
    #[prost(message, tag = "13")]
    OutputRaw(OutputRaw),
    #[prost(message, tag = "17")]
    Run(Run),
    #[prost(message, tag = "18")]
    Exit(Exit),
    #[prost(message, tag = "21")]
    Header(Header),
}

#[derive(Message)]
pub struct Header {}

#[derive(Message)]
pub struct Run {
    #[prost(string, tag = "1")]
    pub run_id: String,
    #[prost(string, tag = "3")]
    pub project: String,
    #[prost(message, optional, tag = "4")]
    pub config: Option<Update>,
    #[prost(string, tag = "8")]
    pub display_name: String,
    #[prost(int64, tag = "14")]
    pub starting_step: i64,
    #[prost(message, optional, tag = "17")]
    pub start_time: Option<Timestamp>,
    #[prost(bool, tag = "18")]
    pub resumed: bool,
}

/// Config or summary.
#[derive(Message)]
pub struct Update {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<Item>,
}

#[derive(Message)]
pub struct History {
    #[prost(message, repeated, tag = "1")]
    pub item: Vec<Item>,
    #[prost(message, optional, tag = "2")]
    pub step: Option<Step>,
}

#[derive(Message)]
pub struct Step {
    #[prost(int64, tag = "1")]
    pub num: i64,
}

#[derive(Message)]
pub struct Item {
    #[prost(string, repeated, tag = "2")]
    nested_key: Vec<String>,
    #[prost(string, tag = "16")]
    value_json: String,
}

impl Item {
    pub fn new(key: &str, value: &Value) -> Self {
        Self { nested_key: vec![key.to_owned()], value_json: value.to_string() }
    }
}

/// What of `files/` is to be uploaded.
#[derive(Message)]
pub struct Files {
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<FilesItem>,
}

pub const MEDIA: i32 = 2;

#[derive(Message)]
pub struct FilesItem {
    #[prost(string, tag = "1")]
    pub path: String,
    #[prost(int32, tag = "3")]
    pub kind: i32,
}

#[derive(Message)]
pub struct Stats {
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "3")]
    pub item: Vec<StatsItem>,
}

#[derive(Message)]
pub struct StatsItem {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "16")]
    pub value_json: String,
}

pub const STDOUT: i32 = 1;

#[derive(Message)]
pub struct OutputRaw {
    #[prost(int32, tag = "1")]
    pub output_type: i32,
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    #[prost(string, tag = "3")]
    pub line: String,
}

#[derive(Message)]
pub struct Exit {
    #[prost(int32, tag = "1")]
    pub exit_code: i32,
    #[prost(int32, tag = "2")]
    pub runtime: i32,
}

/// `google.protobuf.Timestamp`
#[derive(Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Timestamp {
    /// Time since 1970.
    pub fn of(since: Duration) -> Self {
        Self { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
    }
}
