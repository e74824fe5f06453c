//! Copies and fills, when they run.
//!
//! A copy from pinned memory reads it at its turn; from pageable memory at the call, through a
//! staging buffer. Bytes without data that arrive at the host are a finding; between device buffers
//! they stay bytes without data.

use std::ops::Range;

use super::gpu::Gpu;
use super::host::{bytes_of, bytes_of_mut};
use super::queue::{Accesses, NodeKind, Work};

pub enum Source {
    Staged(Vec<u8>),
    Pinned(Range<u64>),
}

pub struct ToDevice {
    pub to: u64,
    pub source: Source,
}

impl Work for ToDevice {
    fn label(&self) -> String {
        format!("copy host to device, {} bytes", self.bytes().len())
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Memcpy
    }

    fn host_source(&self) -> Option<Range<u64>> {
        match &self.source {
            Source::Staged(_) => None,
            Source::Pinned(range) => Some(range.clone()),
        }
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        let bytes = self.bytes();
        if let Err(error) = gpu.memory.host_write(self.to, bytes) {
            gpu.report_access(&self.label(), error, "destination");
        }
        let to = self.to..self.to + bytes.len() as u64;
        match self.host_source() {
            Some(from) => Accesses::copy(from, to),
            None => Accesses::write(to),
        }
    }
}

impl ToDevice {
    fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Staged(bytes) => bytes,
            Source::Pinned(range) => bytes_of(range),
        }
    }
}

pub struct ToHost {
    pub to: Range<u64>,
    pub from: u64,
}

impl Work for ToHost {
    fn label(&self) -> String {
        format!("copy device to host, {} bytes", self.to.end - self.to.start)
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Memcpy
    }

    fn host_target(&self) -> Option<Range<u64>> {
        Some(self.to.clone())
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        if let Err(error) = gpu.memory.host_read(self.from, bytes_of_mut(&self.to)) {
            gpu.report_access(&self.label(), error, "source");
        }
        let bytes = self.to.end - self.to.start;
        Accesses::copy(self.from..self.from + bytes, self.to.clone())
    }
}

pub struct OnDevice {
    pub to: u64,
    pub from: u64,
    pub bytes: u64,
}

impl Work for OnDevice {
    fn label(&self) -> String {
        format!("copy device to device, {} bytes", self.bytes)
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Memcpy
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        let (from, to) = (self.from..self.from + self.bytes, self.to..self.to + self.bytes);
        if from.start < to.end && to.start < from.end {
            gpu.report_host(
                &self.label(),
                "source and destination overlap: the result is undefined",
            );
        }
        if let Err(error) = gpu.memory.copy(self.to, self.from, self.bytes) {
            gpu.report_access(&self.label(), error, "source or destination");
        }
        Accesses::copy(from, to)
    }
}

/// `count` times a pattern of 1, 2 or 4 bytes.
pub struct Fill {
    pub to: u64,
    pub pattern: Vec<u8>,
    pub count: u64,
}

impl Work for Fill {
    fn label(&self) -> String {
        format!("memset D{}, {} elements", self.pattern.len() * 8, self.count)
    }

    fn kind(&self) -> NodeKind {
        NodeKind::Memset
    }

    fn run(&self, gpu: &mut Gpu) -> Accesses {
        if let Err(error) = gpu.memory.fill(self.to, &self.pattern, self.count) {
            gpu.report_access(&self.label(), error, "destination");
        }
        Accesses::write(self.to..self.to + self.pattern.len() as u64 * self.count)
    }
}
