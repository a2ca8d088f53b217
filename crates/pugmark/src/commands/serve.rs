//! The endpoint.

mod container;
mod tracing;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use pugmark_data::Limits;
use pugmark_engine::Cpu;
use pugmark_serve::{
    LogForm, ModelsSettings, Reload, RequestLimits, ServeError, Server, Settings, ShadowSettings, Shape,
    TlsSettings, Token, VariantSettings,
};

use super::data;
use crate::arguments::{AnswerShape, LogChoice, ServeArguments, ShadowFlag};
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::memory;
use crate::printer::Printer;
use crate::settings::{InferenceSettings, Sources};
use container::Container;

/// The variant of the runs that are named without one.
const MAIN: &str = "main";
/// Photos in one step where nothing says how many: more give hardly more photos a second, and each waits longer.
const BATCH: usize = 16;
/// Bytes of a machine's memory where the system does not say.
const MEMORY: u64 = 4 << 30;

pub(crate) fn run(arguments: &ServeArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    pugmark_kernels::keep_little_memory();
    let sources = Sources::new(arguments.config.config.as_deref())?;
    let resolved = sources.resolve::<_, InferenceSettings>(&arguments.inference)?;
    let inference = resolved.settings;
    let batch = if resolved.origins.contains_key("batch_size") { inference.batch_size } else { BATCH };
    let container = match (arguments.runs.as_slice(), &arguments.models) {
        ([], None) => Some(Container::find()?),
        _ => None,
    };
    if let Some(models) = &arguments.models {
        data::exists(models, "folder of models")?;
    }
    let token = token(arguments.access.token_file.as_deref())?;
    let mut settings = settings(arguments, container.as_ref(), batch, inference.loader_threads());
    let standard = if container.is_some() { LogChoice::Json } else { LogChoice::Off };
    let log = match arguments.log.unwrap_or(standard) {
        LogChoice::Text => Some(LogForm::Text),
        LogChoice::Json => Some(LogForm::Json),
        LogChoice::Off => None,
    };
    let runs =
        container.map_or_else(|| arguments.runs.clone(), |container| container.model.into_iter().collect());
    let variants = variants(arguments, runs)?;
    settings.token = token;
    settings.shadow = shadow(arguments, &variants, &inference)?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let stop = interrupt::stop_flag()?;
    let server = Server::open(&variants, settings, inference.cpu()?).map_err(|error| match error {
        ServeError::Model(error) => anyhow::Error::from(error),
        error => error.into(),
    })?;
    if let Some(form) = log {
        server.log(form, std::io::stderr())?;
    }
    tracing::start(arguments.otlp_endpoint.as_deref(), &server, printer)?;
    let address = server.address();
    listen_for_reloads(server.reload())?;
    printer.result(&format!("{scheme}://{address}"))?;
    printer.note(&format!("answering at {scheme}://{address}, Ctrl-C ends"));
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
    let root = arguments.models.clone().or(container.and_then(|container| container.models.clone()));
    let models_size =
        limits.max_models_size.map_or(memory::total().unwrap_or(MEMORY) / 4, |mib| u64::from(mib) << 20);
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
        tls: arguments
            .access
            .tls_cert
            .clone()
            .zip(arguments.access.tls_key.clone())
            .map(|(certificate, key)| TlsSettings { certificate, key }),
        models: root.map(|root| ModelsSettings { root, most: limits.max_models.into(), bytes: models_size }),
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

/// The model that sees copies of requests: on one thread, which leaves the others to the answers.
fn shadow(
    arguments: &ServeArguments,
    variants: &[VariantSettings],
    inference: &InferenceSettings,
) -> anyhow::Result<Option<ShadowSettings>> {
    let Some(ShadowFlag { name, run, percent }) = arguments.shadow.clone() else { return Ok(None) };
    data::exists(&run, "run or model")?;
    if variants.iter().any(|variant| variant.name == name) {
        return Err(WrongCall::new(format!("the shadow is called `{name}`, as a variant is"))
            .with_hint("give it a name of its own")
            .into());
    }
    let engine = Cpu::new(1)?.with_precision(inference.precision().precision());
    Ok(Some(ShadowSettings { name, model: run, share: percent / 100.0, engine }))
}

/// The token that requests must name: that of the file, then that of the variable, then none.
fn token(file: Option<&Path>) -> anyhow::Result<Option<Token>> {
    let text = match file {
        Some(path) => Some(fs::read_to_string(path).map_err(|error| {
            WrongCall::new(format!("can't read the token in {}: {error}", path.display()))
                .with_hint("`openssl rand -hex 32 > FILE` makes one")
        })?),
        // An empty one is refused as a short one: it was meant to lock the door.
        None => std::env::var_os("PUGMARK_TOKEN").map(|text| text.to_string_lossy().into_owned()),
    };
    let token = text.map(|text| Token::new(&text)).transpose();
    token.map_err(|error| wrong_call(&error).into())
}

/// What the server makes of the call, as a wrong call.
fn wrong_call(error: &ServeError) -> WrongCall {
    let wrong = WrongCall::new(error.to_string());
    match error.hint() {
        Some(hint) => wrong.with_hint(hint),
        None => wrong,
    }
}

fn variants(arguments: &ServeArguments, runs: Vec<PathBuf>) -> anyhow::Result<Vec<VariantSettings>> {
    let named = arguments.variant.iter().map(|variant| VariantSettings {
        name: variant.name.clone(),
        weight: variant.weight,
        models: vec![variant.run.clone()],
    });
    let main = (!runs.is_empty()).then(|| VariantSettings { name: MAIN.into(), weight: 1.0, models: runs });
    let variants: Vec<VariantSettings> = main.into_iter().chain(named).collect();
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
