//! Contexts. There is one card and one address space, so a context is little more than a handle
//! that must be current.

use std::cell::RefCell;
use std::ffi::{c_int, c_uint};

use super::device;
use super::error::{CuError, Result, Status};
use super::state::{Driver, enter, out, out_if_wanted};

/// `CU_CTX_SCHED_MASK`, `MAP_HOST`, `LMEM_RESIZE_TO_MAX`, `COREDUMP_ENABLE`...
const FLAGS: c_uint = 0xff;
const LEAST_PRIORITY: c_int = 0;
const GREATEST_PRIORITY: c_int = -5;

thread_local! {
    static CURRENT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub struct Contexts {
    primary: Option<usize>,
    retained: u32,
    flags: c_uint,
    created: Vec<usize>,
}

impl Contexts {
    /// How often the primary context is still retained.
    pub fn retained(&self) -> usize {
        self.retained as usize
    }

    fn live(&self, context: usize) -> bool {
        self.primary == Some(context) || self.created.contains(&context)
    }
}

impl Driver {
    /// The calling thread's context.
    pub fn context(&self) -> Result<usize> {
        let current = CURRENT.with_borrow(|stack| stack.last().copied());
        current.filter(|&context| self.contexts.live(context)).ok_or(CuError::INVALID_CONTEXT)
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, dev: c_int) -> Status {
    enter("cuDevicePrimaryCtxRetain", |driver| {
        device::check(dev)?;
        let fresh = driver.handle();
        let primary = *driver.contexts.primary.get_or_insert(fresh);
        driver.contexts.retained += 1;
        out(context, primary)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(dev: c_int) -> Status {
    enter("cuDevicePrimaryCtxRelease", |driver| {
        device::check(dev)?;
        if driver.contexts.retained == 0 {
            return Err(CuError::INVALID_CONTEXT);
        }
        driver.contexts.retained -= 1;
        if driver.contexts.retained == 0 {
            driver.synchronize_all()?;
            driver.contexts.primary = None;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxGetState(
    dev: c_int,
    flags: *mut c_uint,
    active: *mut c_int,
) -> Status {
    enter("cuDevicePrimaryCtxGetState", |driver| {
        device::check(dev)?;
        out_if_wanted(flags, driver.contexts.flags);
        out(active, (driver.contexts.retained > 0).into())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxSetFlags_v2(dev: c_int, flags: c_uint) -> Status {
    enter("cuDevicePrimaryCtxSetFlags", |driver| {
        device::check(dev).and_then(|()| driver.set_context_flags(flags))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxCreate_v2(context: *mut usize, flags: c_uint, dev: c_int) -> Status {
    enter("cuCtxCreate", |driver| {
        device::check(dev)?;
        if flags & !FLAGS != 0 {
            return Err(CuError::INVALID_VALUE);
        }
        let fresh = driver.handle();
        driver.contexts.created.push(fresh);
        CURRENT.with_borrow_mut(|stack| stack.push(fresh));
        out(context, fresh)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxDestroy_v2(context: usize) -> Status {
    enter("cuCtxDestroy", |driver| {
        let at = driver
            .contexts
            .created
            .iter()
            .position(|&c| c == context)
            .ok_or(CuError::INVALID_CONTEXT)?;
        driver.synchronize_all()?;
        driver.contexts.created.swap_remove(at);
        CURRENT.with_borrow_mut(|stack| stack.retain(|&c| c != context));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxGetCurrent(context: *mut usize) -> Status {
    enter("cuCtxGetCurrent", |_| {
        out(context, CURRENT.with_borrow(|stack| stack.last().copied().unwrap_or(0)))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: usize) -> Status {
    enter("cuCtxSetCurrent", |driver| {
        if context != 0 && !driver.contexts.live(context) {
            return Err(CuError::INVALID_CONTEXT);
        }
        CURRENT.with_borrow_mut(|stack| {
            stack.pop();
            stack.extend((context != 0).then_some(context));
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxPushCurrent_v2(context: usize) -> Status {
    enter("cuCtxPushCurrent", |driver| {
        if !driver.contexts.live(context) {
            return Err(CuError::INVALID_CONTEXT);
        }
        CURRENT.with_borrow_mut(|stack| stack.push(context));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxPopCurrent_v2(context: *mut usize) -> Status {
    enter("cuCtxPopCurrent", |_| {
        let popped = CURRENT.with_borrow_mut(Vec::pop).ok_or(CuError::INVALID_CONTEXT)?;
        out_if_wanted(context, popped);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxGetDevice(dev: *mut c_int) -> Status {
    enter("cuCtxGetDevice", |driver| driver.context().and_then(|_| out(dev, 0)))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> Status {
    enter("cuCtxSynchronize", |driver| {
        driver.context()?;
        driver.refuse_for_any_capture()?;
        driver.synchronize_all()
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> Status {
    enter("cuCtxGetStreamPriorityRange", |driver| {
        driver.context()?;
        out_if_wanted(least, LEAST_PRIORITY);
        out_if_wanted(greatest, GREATEST_PRIORITY);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetFlags(flags: c_uint) -> Status {
    enter("cuCtxSetFlags", |driver| driver.context().and_then(|_| driver.set_context_flags(flags)))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxGetFlags(flags: *mut c_uint) -> Status {
    enter("cuCtxGetFlags", |driver| {
        driver.context().and_then(|_| out(flags, driver.contexts.flags))
    })
}

impl Driver {
    fn set_context_flags(&mut self, flags: c_uint) -> Result {
        if flags & !FLAGS != 0 {
            return Err(CuError::INVALID_VALUE);
        }
        self.contexts.flags = flags;
        Ok(())
    }
}
