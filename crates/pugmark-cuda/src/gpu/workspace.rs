//! Scratch of the libraries.

use super::context::Context;
use crate::DeviceError;

/// One piece of memory that calls use one after the other, in the stream's order; it grows.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    address: u64,
    bytes: usize,
}

impl Workspace {
    /// The address of at least so many bytes; 0 for none.
    pub(super) fn of(&mut self, context: &Context, bytes: usize) -> Result<u64, DeviceError> {
        if bytes > self.bytes {
            // First, so that both need not fit.
            self.free(context);
            self.address = context.allocate(bytes)?;
            self.bytes = bytes;
        }
        Ok(if bytes == 0 { 0 } else { self.address })
    }

    pub(super) fn free(&mut self, context: &Context) {
        if self.bytes > 0 {
            // SAFETY: `of` allocated it; calls that use it come before in the stream's order.
            unsafe { context.free(self.address) };
        }
        *self = Self::default();
    }
}
