//! The endpoint.

mod container;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use pugmark_data::Limits;
use pugmark_serve::{Reload, RequestLimits, ServeError, Server, Settings, Shape, VariantSettings};

use super::data;
use crate::arguments::{AnswerShape, ServeArguments};
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::printer::Printer;
use crate::settings::{InferenceSettings, Sources};
use container::Container;

/// The variant of the runs that are named without one.
const MAIN: &str = "main";
/// Photos in one step where nothing says how many: more give hardly more photos a second, and each waits longer.
const BATCH: usize = 16;

pub(crate) fn run(arguments: &ServeArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let sources = Sources::new(arguments.config.config.as_deref())?;
    let resolved = sources.resolve::<_, InferenceSettings>(&arguments.inference)?;
    let inference = resolved.settings;
    let batch = if resolved.origins.contains_key("batch_size") { inference.batch_size } else { BATCH };
    let container = match arguments.runs.as_slice() {
        [] => Some(Container::find()?),
        _ => None,
    };
    let settings = settings(arguments, container.as_ref(), batch, inference.loader_threads());
    let runs = container.map_or_else(|| arguments.runs.clone(), |container| vec![container.model]);
    let variants = variants(arguments, runs)?;
    let stop = interrupt::stop_flag()?;
    let server = Server::open(&variants, settings, inference.engine()?).map_err(|error| match error {
        ServeError::Model(error) => anyhow::Error::from(error),
        error => error.into(),
    })?;
    let address = server.address();
    listen_for_reloads(server.reload())?;
    printer.result(&format!("http://{address}"))?;
    printer.note(&format!("answering at http://{address}, Ctrl-C ends"));
    let left = server.run(&stop);
    if left > 0 {
        printer.warning(&format!("{left} requests were cut off: their answers took too long"));
        return Ok(ExitStatus::Failed);
    }
    printer.note("stopped; every request that was accepted is answered");
    Ok(ExitStatus::Done)
}

/// Flags, then what a container says, then defaults.
fn settings(
    arguments: &ServeArguments,
    container: Option<&Container>,
    batch: usize,
    decoders: usize,
) -> Settings {
    let limits = &arguments.limits;
    let standard = Settings::default();
    let host = container.map_or(standard.address.ip(), |_| IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let port = container.and_then(|container| container.port).unwrap_or(standard.address.port());
    let standard = standard.limits;
    let mib = limits.max_body.or(container.and_then(|container| container.max_body));
    let body = mib.map_or(standard.body, |mib| usize::from(mib) << 20);
    let timeout = limits.timeout.or(container.and_then(|container| container.timeout));
    let seconds = |seconds: u16| Duration::from_secs(seconds.into());
    Settings {
        address: SocketAddr::new(arguments.host.unwrap_or(host), arguments.port.unwrap_or(port)),
        batch,
        batch_delay: Duration::from_millis(limits.batch_delay.into()),
        photos: limits.max_photos.into(),
        decoders,
        top: arguments.top.into(),
        shape: match arguments.answer {
            AnswerShape::Full => Shape::Full,
            AnswerShape::Flat => Shape::Flat,
        },
        capture: arguments.capture.clone(),
        limits: RequestLimits {
            body,
            bodies: standard.bodies.max(body),
            photo: Limits {
                max_pixels: u64::from(limits.max_megapixels) * 1_000_000,
                max_bytes: Limits::default().max_bytes.max(body as u64),
            },
            idle: seconds(limits.idle),
            total: timeout.map_or(standard.total, seconds),
            ..standard
        },
        ..Settings::default()
    }
}

fn variants(arguments: &ServeArguments, runs: Vec<PathBuf>) -> anyhow::Result<Vec<VariantSettings>> {
    let named = arguments.variant.iter().map(|variant| VariantSettings {
        name: variant.name.clone(),
        weight: variant.weight,
        models: vec![variant.run.clone()],
    });
    let main = VariantSettings { name: MAIN.into(), weight: 1.0, models: runs };
    let variants: Vec<VariantSettings> = [main].into_iter().chain(named).collect();
    for (place, VariantSettings { name, models, .. }) in variants.iter().enumerate() {
        models.iter().try_for_each(|model| data::exists(model, "run or model"))?;
        if variants[..place].iter().any(|earlier| earlier.name == *name) {
            return Err(WrongCall::new(format!("there are two variants called `{name}`"))
                .with_hint(format!("`{MAIN}` is the first RUN; give each `--variant` a name of its own"))
                .into());
        }
    }
    Ok(variants)
}

/// Opens the models again at each SIGHUP. What fails is told, and the old models go on.
#[cfg(unix)]
fn listen_for_reloads(reload: Reload) -> anyhow::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&asked))
        .context("cannot listen for SIGHUP")?;
    thread::spawn(move || {
        // The printer of the main thread keeps its bar there; here is nothing but a line.
        let printer = Printer::new(false);
        loop {
            if asked.swap(false, Ordering::Relaxed) {
                match reload.now() {
                    Ok(()) => printer.note("the models were read again"),
                    Err(error) => printer.warning(&format!("the old models go on: {error}")),
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn listen_for_reloads(_: Reload) -> anyhow::Result<()> {
    Ok(())
}
