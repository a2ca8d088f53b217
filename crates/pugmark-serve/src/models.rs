//! Models that are loaded and unloaded by request, as SageMaker's multi-model endpoints do it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::sleep;

use crate::app::{App, Variant};
use crate::error::{RequestError, ServeError};
use crate::settings::ModelsSettings;

/// Longest name of a model: it may become that of a folder.
const LONGEST: usize = 200;
/// How often it is looked whether the last answer of a model is made.
const LISTEN: Duration = Duration::from_millis(5);

/// The models that were loaded by request.
pub(crate) struct Models {
    settings: ModelsSettings,
    loaded: RwLock<BTreeMap<String, Loaded>>,
    held: Arc<Mutex<Held>>,
    /// One is loaded at a time.
    loading: Arc<tokio::sync::Mutex<()>>,
}

struct Loaded {
    url: String,
    variant: Variant,
    share: Share,
}

/// Models whose memory is taken: those that are loaded, and those that still give their last answers.
#[derive(Default)]
struct Held {
    models: usize,
    bytes: u64,
}

/// What a model takes, until it is dropped.
struct Share {
    bytes: u64,
    held: Arc<Mutex<Held>>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.models -= 1;
        held.bytes -= self.bytes;
    }
}

impl Models {
    pub(crate) fn new(settings: ModelsSettings) -> Self {
        Self { settings, loaded: RwLock::default(), held: Arc::default(), loading: Arc::default() }
    }

    /// The model of that name, where it is loaded.
    pub(crate) fn get(&self, name: &str) -> Option<Variant> {
        Some(self.read().get(name)?.variant.clone())
    }

    /// Where the model of that name was loaded from.
    pub(crate) fn url(&self, name: &str) -> Option<String> {
        Some(self.read().get(name)?.url.clone())
    }

    /// Names and urls of at most `most` models behind the name `after`, in order; and whether there are more.
    pub(crate) fn page(&self, after: &str, most: usize) -> (Vec<(String, String)>, bool) {
        let loaded = self.read();
        let mut behind = loaded.iter().filter(|(name, _)| name.as_str() > after);
        let page =
            behind.by_ref().take(most).map(|(name, model)| (name.clone(), model.url.clone())).collect();
        (page, behind.next().is_some())
    }

    /// All that are loaded, in the order of their names.
    pub(crate) fn variants(&self) -> Vec<Variant> {
        self.read().values().map(|model| model.variant.clone()).collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Loaded>> {
        self.loaded.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more model of that size.
    fn share(&self, more: u64) -> Result<Share, RequestError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let ModelsSettings { most, bytes, .. } = self.settings;
        if held.models >= most {
            return Err(RequestError::NoMemory(format!("{most} models are loaded, the limit")));
        }
        let all = held.bytes.saturating_add(more);
        if all > bytes {
            return Err(RequestError::NoMemory(format!(
                "the models would have {} MiB, more than the limit of {}",
                all >> 20,
                bytes >> 20
            )));
        }
        *held = Held { models: held.models + 1, bytes: all };
        Ok(Share { bytes: more, held: Arc::clone(&self.held) })
    }
}

/// Removes a model and waits until its last answer is made and its memory is free. That goes on where the client does not wait for it.
pub(crate) async fn unload(app: &Arc<App>, name: &str) -> Result<String, RequestError> {
    // A guard shall not be held while others are waited for.
    let removed = app.models()?.write().remove(name);
    let Loaded { url, variant, share } = removed.ok_or_else(|| not_loaded(name))?;
    let (app, name) = (Arc::clone(app), name.to_owned());
    let unload = async move {
        let mut worker = variant.worker;
        let worker = loop {
            match Arc::try_unwrap(worker) {
                Ok(worker) => break worker,
                Err(used) => worker = used,
            }
            sleep(LISTEN).await;
        };
        let ended = tokio::task::spawn_blocking(move || worker.end()).await;
        drop(share);
        // Another of that name may have come.
        if app.variant(Some(&name)).is_err() {
            app.metrics.forget(&name);
        }
        ended
    };
    let ended = tokio::spawn(unload).await.flatten();
    ended.map(|()| url).map_err(|error| RequestError::Internal(error.to_string()))
}

/// Loads a model. It goes on where the client does not wait for it.
pub(crate) async fn load(app: &Arc<App>, name: String, url: String) -> Result<(), RequestError> {
    check_name(&name)?;
    let models = app.models()?;
    let turn = Arc::clone(&models.loading).lock_owned().await;
    let app = Arc::clone(app);
    let load = move || {
        let _turn = turn;
        let models = app.models()?;
        if app.variant(Some(&name)).is_ok() {
            return Err(RequestError::Conflict(format!("the model `{name}` is loaded")));
        }
        let path = find(&models.settings.root, &url)?;
        let bytes = fs::metadata(&path).map_err(|_| not_there(&url))?.len();
        let share = models.share(bytes)?;
        let variant = app.start(&name, 0.0, &[path]).map_err(|error| match error {
            ServeError::Model(error) => RequestError::Model(format!("the model cannot be loaded: {error}")),
            error => RequestError::Internal(error.to_string()),
        })?;
        models.write().insert(name, Loaded { url, variant, share });
        Ok(())
    };
    tokio::task::spawn_blocking(load)
        .await
        .map_err(|_| RequestError::Internal("a model can't be loaded".into()))?
}

pub(crate) fn not_loaded(name: &str) -> RequestError {
    RequestError::NotFound(format!("model `{name}` that is loaded"))
}

fn not_there(url: &str) -> RequestError {
    RequestError::NotFound(format!("model at `{url}`"))
}

/// A name that is also a good name of a folder, a label and a part of a path.
fn check_name(name: &str) -> Result<(), RequestError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=LONGEST).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.') {
        return Ok(());
    }
    Err(RequestError::Model(format!(
        "a model's name has up to {LONGEST} letters, digits, `-`, `_` and `.`, the last not in front"
    )))
}

/// The model file at `url`, a file or a folder below `root`. Nothing outside is touched or told of, whatever links there.
fn find(root: &Path, url: &str) -> Result<PathBuf, RequestError> {
    let outside = || RequestError::Model("a model's `url` is a path below the folder of the models".into());
    let path = root.join(url);
    // Before anything is looked up, so that an answer does not tell what there is elsewhere.
    let below = path.strip_prefix(root).map_err(|_| outside())?;
    if below.components().any(|part| !matches!(part, Component::Normal(_))) || url.contains('\0') {
        return Err(outside());
    }
    let canonical = |path: &Path| fs::canonicalize(path).map_err(|_| not_there(url));
    let root = canonical(root)?;
    let inside = |path: PathBuf| if path.starts_with(&root) { Ok(path) } else { Err(outside()) };
    let path = inside(canonical(&path)?)?;
    if !path.is_dir() {
        return Ok(path);
    }
    let file = model_in(&path).map_err(|error| match error {
        ServeError::NoModel { files, .. } => {
            RequestError::Model(format!("the folder holds {files} model files and no best.safetensors"))
        }
        _ => not_there(url),
    })?;
    inside(canonical(&file)?)
}

/// The model file in a folder that a model's archive was unpacked to: its best or last model, or the only one in it.
///
/// # Errors
/// [`ServeError::NoModel`], or [`ServeError::Folder`] where it can't be read.
pub fn model_in(folder: &Path) -> Result<PathBuf, ServeError> {
    let known = ["best.safetensors", "last.safetensors"].map(|name| folder.join(name));
    if let Some(known) = known.into_iter().find(|path| path.is_file()) {
        return Ok(known);
    }
    let entries =
        fs::read_dir(folder).map_err(|source| ServeError::Folder { path: folder.into(), source })?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    match files.as_slice() {
        [only] => Ok(only.clone()),
        files => Err(ServeError::NoModel { path: folder.into(), files: files.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["a", "A-1_b.tar.gz", &"x".repeat(LONGEST)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", ".a", "a/b", "a b", "ä", "a\0", "..%2f", &"x".repeat(LONGEST + 1)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_outside_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("models");
        fs::create_dir_all(root.join("a/model")).unwrap();
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::create_dir_all(folder.path().join("secret")).unwrap();
        for file in ["models/a/model/x.safetensors", "secret/best.safetensors"] {
            fs::write(folder.path().join(file), "x").unwrap();
        }
        let real = fs::canonicalize(&root).unwrap();
        let wanted = real.join("a/model/x.safetensors");
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        for url in ["a/model", "a/model/x.safetensors", "a//model/", &text(root.join("a/model"))] {
            assert_eq!(find(&root, url).ok(), Some(wanted.clone()), "{url}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink(folder.path().join("secret"), root.join("folder")).unwrap();
            fs::create_dir_all(root.join("file")).unwrap();
            symlink(folder.path().join("secret/best.safetensors"), root.join("file/best.safetensors"))
                .unwrap();
            // A link that stays inside is one as any other.
            symlink(root.join("a"), root.join("inside")).unwrap();
            assert_eq!(find(&root, "inside/model").ok(), Some(wanted));
            for url in ["folder", "folder/best.safetensors", "file", "file/best.safetensors"] {
                assert!(matches!(find(&root, url), Err(RequestError::Model(_))), "{url}");
            }
        }
        let there = text(folder.path().join("secret"));
        let not_there = text(folder.path().join("nothing"));
        for url in ["../secret", "a/../../secret", "/", "/etc/passwd", "a\0", "./../x", &there, &not_there] {
            let error = find(&root, url).unwrap_err();
            assert!(error.to_string().contains("below the folder"), "{url}: {error}");
        }
        for (url, status) in [("b", 404), ("a/model/y", 404), ("empty", 400), ("a", 400), ("", 400)] {
            assert_eq!(find(&root, url).unwrap_err().status().as_u16(), status, "{url}");
        }
    }
}
