use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{StatusCode, Uri, header};
use ureq::{Agent, Body};

use super::{HubError, Published, check, checksum};

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on disk, those of earlier attempts included.
    pub bytes: u64,
    /// Bytes of the file.
    pub total: u64,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that is silent for this long is given up.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Puts a published file into `cache` and returns its path. One that is there already is checked, not fetched. A download
/// goes to `FILE.part`, goes on from what an earlier attempt left there, and gets its name once its checksum is right.
/// `progress` is called at the start and after every piece.
///
/// The address is [`Published::url`]; proxies are taken from the usual variables (`https_proxy`, `no_proxy`), but not for
/// this machine itself.
///
/// # Errors
/// [`HubError::Unreachable`], [`HubError::Answer`], [`HubError::Cut`], [`HubError::Checksum`], [`HubError::Corrupt`],
/// [`HubError::Busy`] or [`HubError::Io`].
pub fn fetch(
    published: &Published,
    base_url: Option<&str>,
    cache: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, HubError> {
    let path = cache.join(published.file);
    if path.exists() {
        return check(published, &path).map(|()| path);
    }
    fs::create_dir_all(cache).map_err(|source| HubError::Io { path: cache.into(), source })?;
    let part = cache.join(format!("{}.part", published.file));
    let mut download = Download { url: published.url(base_url), path, file: open(&part)?, part, published };
    download.run(progress)?;
    download.finish()
}

/// Opens the unfinished file for this process alone.
fn open(part: &Path) -> Result<File, HubError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part);
    let file = opened.map_err(|source| HubError::Io { path: part.into(), source })?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(HubError::Busy { path: part.into() }),
        // Some network file systems have no locks; a file that two processes wrote fails its checksum.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

struct Download<'a> {
    published: &'a Published,
    url: String,
    /// Where the whole file goes.
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl Download<'_> {
    /// Fills the part to the file's size.
    fn run(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), HubError> {
        let total = self.published.bytes;
        let mut bytes = self.file.seek(SeekFrom::End(0)).map_err(|e| self.io(e))?;
        if bytes > total {
            bytes = self.restart()?;
        }
        progress(Progress { bytes, total });
        if bytes == total {
            return Ok(());
        }
        let mut body = self.request(&mut bytes)?.into_reader().take(total - bytes);
        let mut piece = vec![0; 1 << 16];
        loop {
            let (read, reason) = match body.read(&mut piece) {
                Ok(read) => (read, "the server closed it".to_string()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => (0, error.to_string()),
            };
            if read == 0 {
                let cut = HubError::Cut { url: self.url.clone(), bytes, total, reason };
                return if bytes == total { Ok(()) } else { Err(cut) };
            }
            self.file.write_all(&piece[..read]).map_err(|e| self.io(e))?;
            bytes += read as u64;
            progress(Progress { bytes, total });
        }
    }

    /// Asks for what comes after `bytes`, which becomes 0 where the server sends the whole file instead.
    fn request(&mut self, bytes: &mut u64) -> Result<Body, HubError> {
        let mut request = agent(&self.url).get(&self.url);
        if *bytes > 0 {
            request = request.header(header::RANGE, format!("bytes={bytes}-"));
        }
        let (answer, body) = request.call().map_err(|error| self.unreachable(&error))?.into_parts();
        let field = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let whole = match answer.status {
            StatusCode::OK => {
                let whole = field(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
                self.expect_size(whole)?;
                *bytes = self.restart()?;
                return Ok(body);
            }
            StatusCode::PARTIAL_CONTENT => {
                // `bytes 100-999/1000`
                let range = field(header::CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes "));
                let (start, rest) = range.and_then(|range| range.split_once('-')).unwrap_or_default();
                if start.parse() != Ok(*bytes) {
                    return Err(self.answer(format!("with another part than what follows byte {bytes}")));
                }
                rest.split_once('/').and_then(|(_, whole)| whole.parse().ok())
            }
            status => return Err(self.answer(status.to_string())),
        };
        self.expect_size(whole)?;
        Ok(body)
    }

    /// Finds out before the download when the server has another file, such as a login page.
    fn expect_size(&self, announced: Option<u64>) -> Result<(), HubError> {
        let expected = self.published.bytes;
        match announced.filter(|&announced| announced != expected) {
            Some(announced) => {
                Err(self.answer(format!("with {announced} bytes where the file has {expected}")))
            }
            None => Ok(()),
        }
    }

    fn restart(&mut self) -> Result<u64, HubError> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|e| self.io(e))?;
        Ok(0)
    }

    /// Checks the part and gives it its name.
    fn finish(mut self) -> Result<PathBuf, HubError> {
        let (found, _) =
            self.file.rewind().and_then(|()| checksum(&mut self.file)).map_err(|e| self.io(e))?;
        if found != self.published.sha256 {
            fs::remove_file(&self.part).map_err(|e| self.io(e))?;
            return Err(HubError::Checksum { url: self.url, expected: self.published.sha256.into(), found });
        }
        self.file.sync_all().and_then(|()| fs::rename(&self.part, &self.path)).map_err(|e| self.io(e))?;
        Ok(self.path)
    }

    fn io(&self, source: io::Error) -> HubError {
        HubError::Io { path: self.part.clone(), source }
    }

    fn answer(&self, answer: String) -> HubError {
        HubError::Answer { url: self.url.clone(), path: self.path.clone(), answer }
    }

    fn unreachable(&self, error: &ureq::Error) -> HubError {
        HubError::Unreachable { url: self.url.clone(), path: self.path.clone(), reason: error.to_string() }
    }
}

fn agent(url: &str) -> Agent {
    let mut config = Agent::config_builder()
        .user_agent(concat!("pugmark/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(SILENCE_TIMEOUT))
        .timeout_per_read(Some(SILENCE_TIMEOUT));
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_string));
    if matches!(host.as_deref(), Some("localhost" | "127.0.0.1" | "[::1]")) {
        config = config.proxy(None);
    }
    config.build().new_agent()
}
