//! Stands in for `cuda` in builds without it: a device that cannot exist, so nothing here runs.

use super::{Card, Gemm, Launch, Products, Resources};
use crate::{Error, Result};

pub enum Cuda {}
pub enum Graph {}
pub enum Range {}
pub enum Slot {}

pub fn count() -> Result<usize> {
    Err(absent("cuda"))
}

pub fn cards() -> Result<Vec<Card>> {
    Err(absent("cuda"))
}

pub fn no_blaslt() -> String {
    absent("cuda").to_string()
}

fn absent(device: &str) -> Error {
    Error::Device {
        device: device.into(),
        what: "this build has no CUDA: build with `--features cuda`, or use --device cpu".into(),
    }
}

impl Range {
    pub fn begin(_: &str) -> Option<Self> {
        None
    }
}

/// No kernel is compiled into this build.
pub fn resources() -> impl Iterator<Item = (&'static str, &'static str, &'static [Resources])> {
    std::iter::empty()
}

impl Slot {
    pub fn bytes(&self) -> &[u8] {
        match *self {}
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match *self {}
    }
}

impl Cuda {
    pub fn open(ordinal: usize, _: Products) -> Result<Self> {
        Err(absent(&format!("cuda:{ordinal}")))
    }

    pub fn card(&self) -> &Card {
        match *self {}
    }

    pub(crate) fn library(&self) -> Option<&str> {
        match *self {}
    }

    pub(crate) fn name(&self) -> String {
        match *self {}
    }

    pub(crate) fn add_region(&self, _: usize, _: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) fn open_buffer(&self, _: usize, _: usize, _: usize, _: &str) -> Result<u64> {
        match *self {}
    }

    pub(crate) fn can_record(&self) -> bool {
        match *self {}
    }

    pub(crate) fn close_buffer(&self, _: u64, _: usize) {
        match *self {}
    }

    pub fn synchronize(&self) -> Result<()> {
        match *self {}
    }

    pub(crate) fn time_s(&self, _: impl FnOnce() -> Result<()>) -> Result<f64> {
        match *self {}
    }

    pub(crate) fn launch(&self, _: &Launch) -> Result<()> {
        match *self {}
    }

    pub(crate) fn gemm(&self, _: &Gemm) -> Result<bool> {
        match *self {}
    }

    pub(crate) fn zero(&self, _: u64, _: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) fn copy(&self, _: u64, _: u64, _: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) fn upload(&self, _: u64, _: &[u8]) -> Result<()> {
        match *self {}
    }

    pub(crate) fn download(&self, _: u64, _: &mut [u8]) -> Result<()> {
        match *self {}
    }

    pub(crate) fn begin_capture(&self) -> Result<()> {
        match *self {}
    }

    pub(crate) fn end_capture(&self) -> Result<Graph> {
        match *self {}
    }

    pub(crate) fn replay(&self, _: &Graph) -> Result<()> {
        match *self {}
    }

    pub(crate) fn forget(&self, _: &Graph) {
        match *self {}
    }

    pub(crate) fn new_slot(&self, _: usize) -> Result<Slot> {
        match *self {}
    }

    pub(crate) fn free_slot(&self, _: &mut Slot) {
        match *self {}
    }

    pub(crate) fn wait(&self, _: &Slot) -> Result<()> {
        match *self {}
    }

    pub(crate) fn send(&self, _: &Slot, _: u64, _: u64) -> Result<()> {
        match *self {}
    }

    pub(crate) fn fetch(&self, _: &mut Slot, _: u64) -> Result<()> {
        match *self {}
    }
}
