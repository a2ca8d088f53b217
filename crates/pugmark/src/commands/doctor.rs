//! What pugmark finds on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use pugmark_engine::check_gpu_libraries;
use pugmark_kernels::Isa;
use pugmark_model::hub;
use serde::Serialize;

use crate::arguments::DoctorArguments;
use crate::error::ExitStatus;
use crate::memory;
use crate::printer::Printer;

/// Processor features that matter here, in the words of `/proc/cpuinfo`.
const FEATURES: [&str; 10] = [
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512dq",
    "avx512_bf16",
    "avx512_vnni",
    "amx_tile",
    "amx_bf16",
];

#[derive(Serialize)]
struct Report {
    version: &'static str,
    cpu: Option<String>,
    features: Vec<String>,
    /// The highest instruction set with kernels of its own that this processor has.
    isa_detected: String,
    /// The one in use.
    isa_active: String,
    /// `PUGMARK_ISA`, which may lower it.
    isa_variable: Option<String>,
    threads: usize,
    memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    gpus: Vec<String>,
    /// Why `--device cuda` would not take one.
    gpu_missing: Option<String>,
    /// Folder of fetched weights.
    cache: Option<PathBuf>,
    /// Files in it.
    cached: Vec<Cached>,
}

#[derive(Serialize)]
struct Cached {
    file: String,
    bytes: u64,
}

pub(crate) fn run(arguments: &DoctorArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let report = look()?;
    if arguments.json {
        printer.json(&report)?;
    } else {
        printer.result(&table(&report))?;
    }
    if let Some(name) = &report.isa_variable
        && let Err(error) = name.parse::<Isa>()
    {
        printer.warning(&format!("PUGMARK_ISA changes nothing: {error}"));
    }
    Ok(ExitStatus::Done)
}

fn look() -> anyhow::Result<Report> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |name: &str| {
        let line =
            cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let flags = line("flags").unwrap_or_default();
    let features =
        flags.split_whitespace().filter(|flag| FEATURES.contains(flag)).map(ToOwned::to_owned).collect();
    let gpus = gpus(Path::new("/proc/driver/nvidia/gpus"), Path::new("/dev"));
    let missing = || check_gpu_libraries().err().map(|error| error.to_string());
    let gpu_missing = if gpus.is_empty() { None } else { missing() };
    let cache = hub::cache_dir().ok();
    let cached = cache.as_deref().map(cached).unwrap_or_default();
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        cpu: line("model name"),
        features,
        isa_detected: Isa::detected().to_string(),
        isa_active: Isa::active().to_string(),
        isa_variable: std::env::var("PUGMARK_ISA").ok(),
        threads: std::thread::available_parallelism()?.get(),
        memory_bytes: memory::total(),
        memory_available_bytes: memory::available(),
        gpus,
        gpu_missing,
        cache,
        cached,
    })
}

/// The files of the cache; one that does not exist yet has none.
fn cached(cache: &Path) -> Vec<Cached> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        Some(Cached { file: entry.file_name().into_string().ok()?, bytes: entry.metadata().ok()?.len() })
    };
    let mut files: Vec<_> = entries.filter_map(file).collect();
    files.sort_by(|a, b| a.file.cmp(&b.file));
    files
}

/// Names of the NVIDIA GPUs that the driver lists, or their device files.
fn gpus(driver: &Path, devices: &Path) -> Vec<String> {
    let names = |folder: &Path, name: &dyn Fn(fs::DirEntry) -> Option<String>| {
        let mut found: Vec<_> =
            fs::read_dir(folder).into_iter().flatten().flatten().filter_map(name).collect();
        found.sort();
        found
    };
    let models = names(driver, &|entry| {
        let information = fs::read_to_string(entry.path().join("information")).ok()?;
        Some(information.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
    });
    if !models.is_empty() {
        return models;
    }
    names(devices, &|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix("nvidia")?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| format!("/dev/{name}"))
    })
}

fn table(report: &Report) -> String {
    let unknown = || "unknown".to_owned();
    let gib = |bytes: Option<u64>| {
        bytes.map_or_else(unknown, |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)))
    };
    let isa = match &report.isa_variable {
        Some(value) => {
            format!("{} (the processor has {}; PUGMARK_ISA={value})", report.isa_active, report.isa_detected)
        }
        None => report.isa_active.clone(),
    };
    let gpu = match (report.gpus.join(", "), &report.gpu_missing) {
        (none, _) if none.is_empty() => "none found; the CPU does the work".to_owned(),
        (gpus, None) => format!("{gpus} (`--device cuda` takes it)"),
        (gpus, Some(missing)) => format!("{gpus} (can't be used: {missing})"),
    };
    let features = if report.features.is_empty() { unknown() } else { report.features.join(" ") };
    let rows = [
        ("pugmark", report.version.to_owned()),
        ("processor", report.cpu.clone().unwrap_or_else(unknown)),
        ("features", features),
        ("instruction set", isa),
        ("threads", report.threads.to_string()),
        ("memory", format!("{}, {} available", gib(report.memory_bytes), gib(report.memory_available_bytes))),
        ("GPU", gpu),
        ("cache", report.cache.as_ref().map_or_else(unknown, |cache| cache.display().to_string())),
    ];
    let row = |(name, value): &(&str, String)| format!("{name:<17}{value}\n");
    let cached =
        |cached: &Cached| format!("{:<17}{} ({:.1} MB)\n", "", cached.file, cached.bytes as f64 / 1e6);
    rows.iter().map(row).chain(report.cached.iter().map(cached)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_named_by_the_driver_or_by_their_device_files() {
        let folder = tempfile::tempdir().unwrap();
        let (driver, devices) = (folder.path().join("gpus"), folder.path().join("dev"));
        assert!(gpus(&driver, &devices).is_empty());

        fs::create_dir_all(&devices).unwrap();
        for name in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"] {
            fs::write(devices.join(name), "").unwrap();
        }
        assert_eq!(gpus(&driver, &devices), ["/dev/nvidia0", "/dev/nvidia1"]);

        fs::create_dir_all(driver.join("0000:01:00.0")).unwrap();
        fs::write(driver.join("0000:01:00.0/information"), "Model: \t\t NVIDIA H200\nIRQ: 7\n").unwrap();
        assert_eq!(gpus(&driver, &devices), ["NVIDIA H200"]);
    }
}
