//! The engine that a verb computes on.

use pugmark_engine::{DeviceChoice, Engine, PrecisionChoice};

use crate::printer::Printer;

/// An engine on the device that is chosen; says why where a GPU would have been taken and none can be.
pub(crate) fn open(
    device: DeviceChoice,
    threads: usize,
    precision: PrecisionChoice,
    printer: &Printer,
) -> anyhow::Result<Box<dyn Engine>> {
    let (engine, why) = device.open(threads, precision)?;
    if let Some(why) = why {
        printer.note(&format!("the CPU does the work: {why}"));
    }
    Ok(engine)
}
