//! Runs the built program in a folder of its own and compares what it says with a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, Rgb, RgbImage};
use tempfile::TempDir;

/// A folder with photos and runs, in which the program is called.
pub(crate) struct Place(TempDir);

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("its folders");
        fs::write(path, contents).expect("the file");
    }

    /// Draws a photo whose colour tells the class: noise around `class` thirds of the way from red to blue.
    pub(crate) fn photo(&self, name: &str, class: u8, number: u32) {
        // The upper six bits of a multiplicative hash (Knuth).
        let noise =
            |x: u32, y: u32| ((x * 73 + y * 179 + number * 283).wrapping_mul(2_654_435_761) >> 26) as u8;
        let photo = RgbImage::from_fn(40, 36, |x, y| {
            let level = noise(x, y);
            Rgb([190 - class * 60 + level, 60 + level, 40 + class * 60 + level])
        });
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a photo is in a folder")).expect("its folders");
        photo.save(path).expect("the photo");
    }

    /// [`Place::photo`] as a JPEG whose camera says when it was taken.
    pub(crate) fn photo_taken(&self, name: &str, class: u8, number: u32, time: &str) {
        let field = exif::Field {
            tag: exif::Tag::DateTimeOriginal,
            ifd_num: exif::In::PRIMARY,
            value: exif::Value::Ascii(vec![time.as_bytes().to_vec()]),
        };
        let mut writer = exif::experimental::Writer::new();
        writer.push_field(&field);
        let mut bytes = std::io::Cursor::new(Vec::new());
        writer.write(&mut bytes, true).expect("EXIF");
        self.photo("drawn.png", class, number);
        let photo = image::open(self.path("drawn.png")).expect("the photo").into_rgb8();
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a photo is in a folder")).expect("its folders");
        let mut encoder = JpegEncoder::new(fs::File::create(path).expect("the photo"));
        encoder.set_exif_metadata(bytes.into_inner()).expect("EXIF");
        encoder.encode_image(&photo).expect("the photo");
    }

    /// `photos/` with `each` photos of each of the classes `day`, `dusk` and `night`.
    pub(crate) fn photos(&self, each: u32) {
        for (class, name) in (0..).zip(["day", "dusk", "night"]) {
            for number in 0..each {
                self.photo(&format!("photos/{name}/{number:02}.png"), class, number);
            }
        }
    }

    /// The program with a clean environment, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pugmark"));
        command.args(arguments).current_dir(self.0.path()).env_clear().env("HOME", self.0.path());
        // On a machine of AWS's the tests would ask it for credentials.
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(isa) = std::env::var_os("PUGMARK_ISA") {
            command.env("PUGMARK_ISA", isa);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// [`Place::run`] for a call that must succeed.
    pub(crate) fn done(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "pugmark {}: {}", arguments.join(" "), ended.stderr);
        ended
    }

    /// Runs the program and compares exit status, stdout and stderr with `snapshots/NAME.txt`.
    pub(crate) fn snapshot(&self, name: &str, arguments: &[&str]) {
        self.snapshot_with(name, arguments, &[]);
    }

    /// [`Place::snapshot`] with variables in the environment.
    pub(crate) fn snapshot_with(&self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) {
        compare(&snapshot_file(name), &self.said(arguments, variables), "UPDATE_SNAPSHOTS");
    }

    /// [`Place::snapshot`] of a call whose figures differ between machines.
    pub(crate) fn snapshot_of_figures(&self, name: &str, arguments: &[&str]) {
        compare(&snapshot_file(name), &masked(&self.said(arguments, &[])), "UPDATE_SNAPSHOTS");
    }

    fn said(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let Ended { code, stdout, stderr } = ended(self.command(arguments).envs(variables.iter().copied()));
        let variables: String = variables.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        let code = code.map_or("killed".to_owned(), |code| format!("exit {code}"));
        let mut said = format!("$ {variables}pugmark {}", arguments.join(" ")).trim_end().to_owned();
        said.push_str(&format!("\n[{code}]\n"));
        for (stream, text) in [("stdout", stdout), ("stderr", stderr)] {
            if !text.is_empty() {
                said.push_str(&format!("--- {stream}\n{text}"));
            }
        }
        said.replace(&*self.0.path().to_string_lossy(), "[FOLDER]")
    }
}

pub(crate) fn ended(command: &mut Command) -> Ended {
    let output = command.output().expect("the program starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// Fails where `text` is not what the file holds; with the variable `update` set it rewrites the file.
pub(crate) fn compare(file: &Path, text: &str, update: &str) {
    if std::env::var_os(update).is_some() {
        fs::write(file, text).expect("the file can be rewritten");
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    assert!(
        expected == text,
        "{} differs ({update}=1 rewrites it)\n=== expected\n{expected}=== found\n{text}",
        file.display()
    );
}

/// `../shared/data` or `PUGMARK_TEST_DATA`; says so where it is not there.
pub(crate) fn shared_data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PUGMARK_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("{test}: skipped, there is no test data at {}", folder.display());
    None
}

fn snapshot_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/snapshots/{name}.txt"))
}

/// Figures differ between machines: decimal numbers become `#.#`, memory and the engine's name a `#`.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches('.');
        rest = &rest[number.len()..];
        let figure = out.ends_with("peak_memory_mib=") || out.ends_with("peak memory ");
        out.push_str(match number.matches('.').count() {
            1 => "#.#",
            _ if figure => "#",
            _ => number,
        });
    }
    out.push_str(rest);
    match out.split_once("; cpu,") {
        Some((before, after)) => {
            let after = after.split_once(';').map_or("", |(_, after)| after);
            format!("{before}; ENGINE;{after}")
        }
        None => out,
    }
}
