//! How far the demo has come.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pugmark_train::{Event, Observer};

use crate::printer::{Printer, Progress, duration};

/// Runs `work` on another thread and shows how many of `total` it reports done; ends it when `stop` is set.
pub(super) fn watch<T: Send>(
    printer: &Printer,
    what: &str,
    total: usize,
    stop: &AtomicBool,
    work: impl FnOnce(&(dyn Fn() -> io::Result<()> + Sync)) -> io::Result<T> + Send,
) -> io::Result<T> {
    let done = AtomicUsize::new(0);
    let on = || {
        done.fetch_add(1, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    };
    let mut progress = printer.progress(what, total as u64);
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(&on));
        while !worker.is_finished() {
            progress.set_with_rate(done.load(Ordering::Relaxed) as u64, "photos");
            thread::sleep(Duration::from_millis(50));
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// One bar for all epochs of a training, and a line for each.
pub(super) struct Epochs<'a> {
    printer: &'a Printer,
    name: &'static str,
    epochs: u32,
    bar: Option<Progress<'a>>,
}

impl<'a> Epochs<'a> {
    pub(super) fn new(printer: &'a Printer, name: &'static str, epochs: u32) -> Self {
        Self { printer, name, epochs, bar: None }
    }
}

impl Observer for Epochs<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start { train, val, .. } => self.printer.note(&format!(
                "{}: {train} photos to train on, {val} to validate, {} epochs",
                self.name, self.epochs
            )),
            Event::Step { epoch, step, steps, images_per_sec, left, .. } => {
                let total = self.epochs as usize * steps;
                let bar = self.bar.get_or_insert_with(|| self.printer.progress(self.name, total as u64));
                let left = left.map_or_else(String::new, |left| format!(", {} left", duration(left)));
                bar.set(
                    ((epoch as usize - 1) * steps + step) as u64,
                    &format!("{images_per_sec:.0} photos/s{left}"),
                );
            }
            Event::Epoch(metrics) => self.printer.note(&format!(
                "  epoch {}: training accuracy {:.3}, validation accuracy {:.3}, log loss {:.3}",
                metrics.epoch, metrics.train_acc, metrics.val_acc, metrics.val_loss
            )),
            // The demo says itself what a random split means, and its README lists the broken photos.
            _ => {}
        }
    }
}
