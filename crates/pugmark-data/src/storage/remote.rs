//! Files in a bucket or, to read, on a web server, through `object_store`.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    RetryConfig,
};
use tokio::runtime::{Builder, Runtime};

use super::profile::Profile;
use super::{Entry, StorageError, StorageOptions};

/// Bytes of a part of a large file; AWS takes parts from 5 MiB on, and at most 10,000 of them.
const PART: u64 = 8 << 20;
const MOST_PARTS: u64 = 10_000;

/// Parts of one file that are on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// A multipart upload whose answer was lost is begun again.
const UPLOADS: usize = 3;

/// Unlike one request, an upload of many parts may take long on a slow line: this is for each of its requests.
const REQUEST: Duration = Duration::from_secs(300);

/// `object_store` tries requests again, but not all of those whose answer is cut off. What fails sooner than its own
/// attempts would take is tried again here.
const ATTEMPTS: u32 = 6;
const SOON: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A prefix in a bucket or on a web server.
#[derive(Debug)]
pub(super) struct Remote {
    url: String,
    prefix: Path,
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
    read_only: bool,
}

impl Remote {
    pub(super) fn open(url: &str, options: &StorageOptions) -> Result<Self, StorageError> {
        let wrong = |why: String| StorageError::Url { url: url.to_owned(), why };
        // Fails where another provider was installed before, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientOptions::new().with_timeout(REQUEST).with_read_timeout(REQUEST);
        let s3 = url.strip_prefix("s3://");
        let (store, prefix): (Arc<dyn ObjectStore>, &str) = match s3 {
            Some(rest) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(wrong("it names no bucket".to_owned()));
                }
                let store = s3_builder(url, options)?
                    .with_bucket_name(bucket)
                    .with_retry(RetryConfig::default())
                    // A request that deletes one file can be tried again; one that deletes many is not.
                    .with_disable_bulk_delete(true)
                    .with_client_options(client.with_allow_http(true))
                    .build()
                    .map_err(|error| wrong(error.to_string()))?;
                (Arc::new(store), prefix)
            }
            None => {
                let plain = url.starts_with("http://");
                let (_, rest) = url.split_once("://").unwrap_or_default();
                let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let scheme = if plain { "http" } else { "https" };
                let store = HttpBuilder::new()
                    .with_url(format!("{scheme}://{host}"))
                    .with_client_options(client.with_allow_http(plain))
                    .build()
                    .map_err(|error| wrong(error.to_string()))?;
                (Arc::new(store), prefix)
            }
        };
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|error| wrong(error.to_string()))?;
        // Requests are few and large: two threads drive them all.
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|source| StorageError::Io { path: "(threads for the network)".into(), source })?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, prefix, store, runtime, read_only: s3.is_none() })
    }

    pub(super) fn place(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    fn path(&self, key: &str) -> Result<Path, StorageError> {
        let whole = format!("{}/{key}", self.prefix);
        Path::parse(&whole)
            .map_err(|error| StorageError::Url { url: self.place(key), why: error.to_string() })
    }

    pub(super) fn list(&self) -> Result<Vec<Entry>, StorageError> {
        if self.read_only {
            let what = "a web server does not list its files";
            return Err(StorageError::Unsupported { place: self.url.clone(), what });
        }
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let listed: Result<Vec<ObjectMeta>, Error> =
            self.tried(async || self.store.list(prefix).try_collect().await);
        let listed = match listed {
            Err(Error::NotFound { .. }) => return Err(StorageError::Missing { place: self.url.clone() }),
            listed => listed.map_err(|error| self.failed("", error))?,
        };
        let below = |meta: &ObjectMeta| {
            let parts = meta.location.prefix_match(&self.prefix)?;
            let names: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
            Some(names.join("/")).filter(|key| !key.is_empty())
        };
        let entry = |meta: ObjectMeta| Some(Entry { key: below(&meta)?, size: meta.size, etag: meta.e_tag });
        Ok(listed.into_iter().filter_map(entry).collect())
    }

    pub(super) fn head(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        let path = self.path(key)?;
        let meta = self.if_there(key, self.tried(async || self.store.head(&path).await))?;
        Ok(meta.map(|meta| Entry { key: key.to_owned(), size: meta.size, etag: meta.e_tag }))
    }

    /// Cut answers are taken up where they ended, as long as the file is still the same.
    pub(super) fn read(
        &self,
        key: &str,
        etag: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path(key)?;
        let options = GetOptions {
            if_match: etag.map(str::to_owned),
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let read = self.tried(async || self.store.get_opts(&path, options.clone()).await?.bytes().await);
        Ok(self.if_there(key, read)?.map(Vec::from))
    }

    pub(super) fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        self.writable(key)?;
        let path = self.path(key)?;
        let payload = PutPayload::from(bytes.to_vec());
        let put = async || self.store.put_opts(&path, payload.clone(), PutMode::Create.into()).await;
        match self.tried(put) {
            // The attempt whose answer was lost may have been this one.
            Err(Error::AlreadyExists { .. }) => Ok(self.read(key, None, None)?.as_deref() == Some(bytes)),
            put => put.map(|_| true).map_err(|error| self.failed(key, error)),
        }
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.writable(key)?;
        let path = self.path(key)?;
        self.if_there(key, self.tried(async || self.store.delete(&path).await)).map(drop)
    }

    pub(super) fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), StorageError> {
        self.writable(key)?;
        let path = self.path(key)?;
        let payload = PutPayload::from(bytes);
        let put = self.tried(async || self.store.put(&path, payload.clone()).await);
        put.map(drop).map_err(|error| self.failed(key, error))
    }

    /// Sends a file of `size` bytes that `source` gives by offset.
    pub(super) fn upload(
        &self,
        key: &str,
        size: u64,
        source: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<(), StorageError> {
        let mut piece = |range: Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            source(range.start, &mut bytes)
                .map_err(|source| StorageError::Io { path: std::env::temp_dir(), source })?;
            Ok(bytes)
        };
        if size <= 2 * PART {
            return self.put(key, piece(0..size)?);
        }
        self.writable(key)?;
        let path = self.path(key)?;
        let part = PART.max(size.div_ceil(MOST_PARTS));
        let mut last = None;
        for _ in 0..UPLOADS {
            match self.runtime.block_on(self.parts(&path, size, part, &mut piece)) {
                Ok(()) => return Ok(()),
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::There(error)) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| StorageError::Missing { place: self.place(key) }, |e| self.failed(key, e)))
    }

    async fn parts(
        &self,
        path: &Path,
        size: u64,
        part: u64,
        piece: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, StorageError>,
    ) -> Result<(), Failed> {
        let mut upload = self.store.put_multipart(path).await?;
        let mut send = async || -> Result<(), Failed> {
            let mut on_their_way = FuturesUnordered::new();
            let mut start = 0;
            while start < size {
                let end = size.min(start + part);
                on_their_way.push(upload.put_part(piece(start..end)?.into()));
                if on_their_way.len() == PARTS_AT_ONCE {
                    on_their_way.try_next().await?;
                }
                start = end;
            }
            while on_their_way.try_next().await?.is_some() {}
            upload.complete().await?;
            Ok(())
        };
        let sent = send().await;
        if sent.is_err() {
            // What stays is not visible; buckets are told to clean up such parts after some days.
            let _ = upload.abort().await;
        }
        sent
    }

    fn tried<T>(&self, request: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let mut attempt = 1;
        loop {
            let started = Instant::now();
            match self.runtime.block_on(request()) {
                Err(error @ Error::Generic { .. })
                    if attempt < ATTEMPTS && started.elapsed() < SOON && !is_denied(&error) =>
                {
                    thread::sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1));
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn writable(&self, key: &str) -> Result<(), StorageError> {
        if self.read_only {
            let what = "a web server takes no files";
            return Err(StorageError::Unsupported { place: self.place(key), what });
        }
        Ok(())
    }

    fn if_there<T>(&self, key: &str, result: Result<T, Error>) -> Result<Option<T>, StorageError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(key, error)),
        }
    }

    fn failed(&self, key: &str, source: Error) -> StorageError {
        let place = if key.is_empty() { self.url.clone() } else { self.place(key) };
        match source {
            Error::Precondition { .. } => StorageError::Changed { place },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                StorageError::Denied { place, source }
            }
            source if is_denied(&source) => StorageError::Denied { place, source },
            source => StorageError::Server { place, source },
        }
    }
}

/// Listings that are refused come without a kind of their own.
fn is_denied(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("status code: 403") || text.contains("status code: 401")
}

/// What ended an upload: this machine, or the other.
enum Failed {
    Here(StorageError),
    There(Error),
}

impl From<StorageError> for Failed {
    fn from(error: StorageError) -> Self {
        Self::Here(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::There(error)
    }
}

/// A builder that knows who asks and where: flags, then `AWS_*` variables, then the profile, then what the machine is given.
fn s3_builder(url: &str, options: &StorageOptions) -> Result<AmazonS3Builder, StorageError> {
    let mut builder = AmazonS3Builder::from_env();
    let set = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some_and(|v| !v.is_empty());
    let given = [
        Key::AccessKeyId,
        Key::WebIdentityTokenFile,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
    ];
    let given = given.into_iter().any(|key| set(&builder, key));
    let profile = if given || options.s3_anonymous {
        Profile::default()
    } else {
        Profile::of_environment(|name| std::env::var_os(name))?
    };
    let anonymous = builder.get_config_value(&Key::SkipSignature).is_some_and(|value| value == "true");
    let no_keys = !given && profile.key_id.is_none() && !options.s3_anonymous;
    if no_keys && !anonymous && !set(&builder, Key::MetadataEndpoint) && !on_ec2() {
        return Err(StorageError::NoCredentials { url: url.to_owned() });
    }
    if let (Some(key_id), Some(secret)) = (profile.key_id, profile.secret) {
        builder = builder.with_access_key_id(key_id).with_secret_access_key(secret);
        if let Some(token) = profile.token {
            builder = builder.with_token(token);
        }
    }
    let region = set(&builder, Key::Region) || set(&builder, Key::DefaultRegion);
    if let Some(region) = options.s3_region.clone().or(profile.region.filter(|_| !region)) {
        builder = builder.with_region(region);
    }
    let endpoint = set(&builder, Key::Endpoint) || set(&builder, Key::S3Endpoint);
    if let Some(endpoint) = options.s3_endpoint.clone() {
        builder = builder.with_config(Key::S3Endpoint, endpoint);
    } else if let Some(endpoint) = profile.endpoint.filter(|_| !endpoint) {
        builder = builder.with_endpoint(endpoint);
    }
    if options.s3_virtual_host {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if options.s3_anonymous {
        builder = builder.with_skip_signature(true);
    }
    Ok(builder)
}

/// Whether the machine is one of AWS's, whose metadata service can be asked. Elsewhere nobody answers, slowly.
fn on_ec2() -> bool {
    if std::env::var_os("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return false;
    }
    let says = |file: &str, start: &str| {
        std::fs::read_to_string(file).is_ok_and(|text| text.to_ascii_lowercase().starts_with(start))
    };
    says("/sys/class/dmi/id/sys_vendor", "amazon")
        || says("/sys/hypervisor/uuid", "ec2")
        || says("/sys/class/dmi/id/product_uuid", "ec2")
}
