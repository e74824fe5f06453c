//! The simulated card as work sees it: its memory, and the one way to report.

use std::ops::Range;

use super::error::CuError;
use super::queue::Conflict;
use crate::exec::Session;
use crate::memory::{AccessError, DeviceMemory};
use crate::report::{Finding, Kind};

pub struct Gpu {
    pub memory: DeviceMemory,
    pub session: Session,
    /// Findings so far, repeats included.
    reported: u64,
    /// The status that the call in progress answers in strict mode, when it found something.
    failure: Option<CuError>,
}

impl Gpu {
    pub fn new(memory: DeviceMemory, session: Session) -> Self {
        Self { memory, session, reported: 0, failure: None }
    }

    pub fn report(&mut self, finding: Finding) {
        let status = match finding.kind {
            Kind::OutOfBounds | Kind::UseAfterFree => CuError::ILLEGAL_ADDRESS,
            _ => CuError::LAUNCH_FAILED,
        };
        self.reported += 1;
        self.failure.get_or_insert(status);
        let text = finding.to_string();
        let known = self.session.findings.list().len();
        self.session.findings.add(finding);
        // A repeat is only counted.
        if self.session.findings.list().len() > known {
            eprintln!("gpusim: {text}");
        }
    }

    /// A misuse of the API; `place` is the call or the operation.
    pub fn report_host(&mut self, place: &str, text: impl Into<String>) {
        self.report(Finding::new(Kind::Host, place, text));
    }

    /// Something that the real driver may well do, and this one does not.
    pub fn report_not_modelled(&mut self, place: &str, text: impl Into<String>) {
        self.report(Finding::new(Kind::NotModelled, place, text));
    }

    /// An operation other than a kernel touched memory that it must not.
    pub fn report_access(&mut self, place: &str, error: AccessError, what: &str) {
        let (kind, address) = match error {
            AccessError::Unaddressable(address) => (Kind::OutOfBounds, address),
            AccessError::Uninitialised(address) => (Kind::Uninitialised, address),
        };
        let mut finding = Finding::new(kind, place, format!("{what}: {error}"));
        finding.address = Some(address);
        finding.buffer = Some(self.memory.locate(address).to_string());
        self.report(finding);
    }

    pub fn report_unordered(&mut self, conflict: &Conflict, later: &str) {
        let verb = |writes| if writes { "writes" } else { "reads" };
        let (start, end) = (conflict.bytes.start, conflict.bytes.end);
        let earlier = &conflict.earlier.label;
        let text = format!(
            "unordered streams: {later} {} {start:#x}..{end:#x}, which {earlier} {}; no stream, \
             event or host wait orders the two",
            verb(conflict.later_writes),
            verb(conflict.earlier_writes),
        );
        let mut finding = Finding::new(Kind::StreamRace, later, text);
        finding.address = Some(start);
        finding.buffer = Some(self.memory.locate(start).to_string());
        self.report(finding);
    }

    pub fn report_host_reuse(&mut self, reader: &str, address: u64) {
        let text = format!(
            "pinned host memory changed at {address:#x} before the host waited for the copy from it"
        );
        let mut finding = Finding::new(Kind::HostReuse, reader, text);
        finding.address = Some(address);
        self.report(finding);
    }

    pub fn report_launch(&mut self, kernel: &str, text: &str) {
        self.report(Finding::new(Kind::Launch, kernel, text));
    }

    /// Run the executor; what it finds is in the session already: print it, and let the call in
    /// progress fail.
    pub fn watch_findings<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let (kinds, total) = (self.session.findings.list().len(), self.session.findings.total());
        let result = run(self);
        for finding in &self.session.findings.list()[kinds..] {
            eprintln!("gpusim: {finding}");
        }
        let new = self.session.findings.total() - total;
        if new > 0 {
            self.reported += new;
            self.failure.get_or_insert(CuError::LAUNCH_FAILED);
        }
        result
    }

    pub fn take_failure(&mut self) -> Option<CuError> {
        self.failure.take()
    }

    pub fn reported(&self) -> u64 {
        self.reported
    }

    /// A device range in words.
    pub fn place(&self, bytes: &Range<u64>) -> String {
        format!("{:#x}..{:#x} ({})", bytes.start, bytes.end, self.memory.locate(bytes.start))
    }
}
