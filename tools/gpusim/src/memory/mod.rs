//! Device memory: one range of addresses with a shadow that knows, for each byte, whether it belongs to
//! a buffer and whether anything was ever written there.
//!
//! Buffers are separated by red zones, and a freed range is reused as late as possible, so that a stray
//! access hits no other buffer. Every access of the host and of a kernel is checked against the shadow.
//! Device addresses are not host addresses: a host dereference of one faults, as on a real machine.

mod buffers;
mod mapping;
mod touched;
mod trace;

pub use buffers::{Location, State};
pub use mapping::Mapping;
pub use trace::Trace;

use buffers::Buffers;
use std::io;
use std::ops::Range;

/// First device address.
pub const BASE: u64 = 0x7000_0000_0000;
/// Alignment of every allocation, and the least distance between two.
pub const ALIGN: u64 = 256;

/// Shadow of a byte: no buffer (as untouched pages say), a buffer without data, data.
pub const UNADDRESSABLE: u8 = 0;
pub const UNINITIALISED: u8 = 1;
pub const INITIALISED: u8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("{0:#x} belongs to no live buffer")]
    Unaddressable(u64),
    #[error("{0:#x} was never written")]
    Uninitialised(u64),
}

pub struct DeviceMemory {
    data: Mapping<u8>,
    shadow: Mapping<u8>,
    /// Who accessed what, for the executor.
    pub(crate) trace: Trace,
    buffers: Buffers,
    capacity: u64,
    in_use: u64,
}

impl DeviceMemory {
    /// A card with `capacity` bytes. The address range is four times larger, to delay reuse.
    pub fn new(capacity: u64) -> io::Result<Self> {
        let capacity = capacity.next_multiple_of(ALIGN);
        let range = capacity.checked_mul(4).ok_or(io::ErrorKind::OutOfMemory)? + (1 << 20);
        let elems = usize::try_from(range).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            data: Mapping::new(elems)?,
            shadow: Mapping::new(elems)?,
            trace: Trace::new(elems)?,
            buffers: Buffers::new(BASE..BASE + range),
            capacity,
            in_use: 0,
        })
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    pub fn bytes_in_use(&self) -> u64 {
        self.in_use
    }

    /// A new buffer without data; `None` when the card is full.
    pub fn alloc(&mut self, bytes: u64, name: &str) -> Option<u64> {
        if bytes > self.capacity - self.in_use {
            return None;
        }
        let address = self.buffers.alloc(bytes, name)?;
        self.in_use += bytes;
        self.mark(address, bytes, UNINITIALISED);
        Some(address)
    }

    /// Ends the buffer that starts at `address`; returns its size.
    pub fn free(&mut self, address: u64) -> Result<u64, AccessError> {
        let bytes = self.buffers.free(address).ok_or(AccessError::Unaddressable(address))?;
        self.in_use -= bytes;
        self.mark(address, bytes, UNADDRESSABLE);
        let at = self.offset(address);
        self.data.discard(at..at + bytes as usize);
        self.trace.discard(at..at + bytes as usize);
        Ok(bytes)
    }

    pub fn set_name(&mut self, address: u64, name: &str) {
        self.buffers.set_name(address, name);
    }

    /// Start and size of the live allocation that holds `address` (`cuMemGetAddressRange`).
    pub fn base_and_bytes(&self, address: u64) -> Option<(u64, u64)> {
        self.buffers.live(address)
    }

    /// Start, size and name of every live allocation.
    pub fn live_buffers(&self) -> Vec<(u64, u64, String)> {
        self.buffers.all_live()
    }

    /// The buffer at, or nearest below, an address, in words for a report.
    pub fn locate(&self, address: u64) -> Location {
        self.buffers.locate(address)
    }

    /// Declares a named part of an allocation that its owner carves up itself. The first call for an
    /// allocation makes the rest of it unaddressable; the part starts without data.
    pub fn annotate(&mut self, start: u64, bytes: u64, name: &str) -> Result<(), AccessError> {
        let (base, whole) = self.buffers.live(start).ok_or(AccessError::Unaddressable(start))?;
        if start + bytes > base + whole {
            return Err(AccessError::Unaddressable(base + whole));
        }
        if self.buffers.add_part(base, start, bytes, name) {
            self.mark(base, whole, UNADDRESSABLE);
        }
        self.mark(start, bytes, UNINITIALISED);
        Ok(())
    }

    /// Ends the parts that start in the range: any later access of it is a finding.
    pub fn retire(&mut self, start: u64, bytes: u64) -> Result<(), AccessError> {
        let (base, whole) = self.buffers.live(start).ok_or(AccessError::Unaddressable(start))?;
        if start + bytes > base + whole {
            return Err(AccessError::Unaddressable(base + whole));
        }
        self.buffers.retire_parts(base, start, bytes);
        self.mark(start, bytes, UNADDRESSABLE);
        Ok(())
    }

    /// Copies to the host. The data arrives even when some of it was never written, which is the error.
    pub fn host_read(&self, address: u64, out: &mut [u8]) -> Result<(), AccessError> {
        let range = self.addressable(address, out.len() as u64)?;
        out.copy_from_slice(&self.data[range.clone()]);
        self.initialised(range)
    }

    pub fn host_write(&mut self, address: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let range = self.addressable(address, bytes.len() as u64)?;
        self.data[range.clone()].copy_from_slice(bytes);
        self.shadow[range].fill(INITIALISED);
        Ok(())
    }

    /// Writes `pattern` `count` times (`cuMemsetD8/D16/D32`).
    pub fn fill(&mut self, address: u64, pattern: &[u8], count: u64) -> Result<(), AccessError> {
        let range = self.addressable(address, pattern.len() as u64 * count)?;
        match pattern {
            [byte] => self.data[range.clone()].fill(*byte),
            _ => self.data[range.clone()]
                .chunks_exact_mut(pattern.len())
                .for_each(|at| at.copy_from_slice(pattern)),
        }
        self.shadow[range].fill(INITIALISED);
        Ok(())
    }

    /// Device to device. Bytes without data stay without data at the destination.
    pub fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), AccessError> {
        let source = self.addressable(from, bytes)?;
        let target = self.addressable(to, bytes)?;
        self.data.copy_within(source.clone(), target.start);
        self.shadow.copy_within(source, target.start);
        Ok(())
    }

    /// The bytes of a range that a library call reads; an error if any is missing or has no data.
    pub fn read(&self, address: u64, bytes: u64) -> Result<&[u8], AccessError> {
        let range = self.addressable(address, bytes)?;
        self.initialised(range.clone())?;
        Ok(&self.data[range])
    }

    /// The bytes of a range that a library call overwrites completely.
    pub fn overwrite(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], AccessError> {
        let range = self.addressable(address, bytes)?;
        self.shadow[range.clone()].fill(INITIALISED);
        Ok(&mut self.data[range])
    }

    /// Scratch memory after its use: garbage, and without data for whoever reads it.
    pub fn poison(&mut self, address: u64, bytes: u64) -> Result<(), AccessError> {
        let range = self.addressable(address, bytes)?;
        self.data[range.clone()].fill(0xff);
        self.shadow[range].fill(UNINITIALISED);
        Ok(())
    }

    /// Data, shadow and trace at once, for the executor. Offsets are addresses less [`BASE`].
    pub(crate) fn parts(&mut self) -> (&mut [u8], &mut [u8], &mut Trace) {
        (&mut self.data, &mut self.shadow, &mut self.trace)
    }

    fn offset(&self, address: u64) -> usize {
        (address - BASE) as usize
    }

    fn mark(&mut self, address: u64, bytes: u64, state: u8) {
        let at = self.offset(address);
        let range = at..at + bytes as usize;
        match state {
            UNADDRESSABLE => self.shadow.zero(range),
            _ => self.shadow[range].fill(state),
        }
    }

    /// Offsets of a range of which every byte belongs to a live buffer.
    fn addressable(&self, address: u64, bytes: u64) -> Result<Range<usize>, AccessError> {
        let outside = AccessError::Unaddressable(address);
        let start = address.checked_sub(BASE).ok_or(outside)? as usize;
        let end = start.checked_add(bytes as usize).ok_or(outside)?;
        let shadow = self.shadow.get(start..end).ok_or(outside)?;
        match shadow.iter().position(|&s| s == UNADDRESSABLE) {
            Some(i) => Err(AccessError::Unaddressable(address + i as u64)),
            None => Ok(start..end),
        }
    }

    fn initialised(&self, range: Range<usize>) -> Result<(), AccessError> {
        let start = range.start as u64;
        match self.shadow[range].iter().position(|&s| s != INITIALISED) {
            Some(i) => Err(AccessError::Uninitialised(BASE + start + i as u64)),
            None => Ok(()),
        }
    }
}
