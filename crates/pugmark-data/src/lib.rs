//! Photos and labels: readers, decoding, resizing, augmentation, splits, the batch loader.

pub mod audit;
pub mod augment;
pub mod bursts;
pub mod check;
pub mod dataset;
pub mod digest;
pub mod duplicates;
pub mod error;
pub mod exif;
pub mod formats;
pub mod groups;
pub mod loader;
pub mod photo;
pub mod prepare;
pub mod random;
mod read;
pub mod recipe;
pub mod resize;
pub mod scan;
pub mod split;
pub mod storage;
pub mod stored;
pub mod time;

pub use augment::{Augment, Augmented, AutoAugment, Mixed, Saliency};
pub use dataset::{Dataset, Note, Part, ReadOptions, Sample};
pub use digest::Digest;
pub use error::DataError;
pub use exif::ExifFacts;
pub use groups::keep_together;
pub use loader::{Batch, BatchTime, Epoch, Item, Loader, LoaderSettings, Stage};
pub use photo::{Limits, Photo, PhotoError, decode, decode_file};
pub use prepare::{Form, Input, PrepareError, PrepareSettings, Store};
pub use random::Random;
pub use read::{is_photo, photos_below, read, read_column, read_labels, read_prepared};
pub use recipe::{Colour, Recipe, Resize};
pub use resize::resize_bilinear;
pub use scan::{PhotoFacts, ScanSettings, scan};
pub use split::{
    Deviation, Evenness, PartRow, Split, SplitBy, SplitError, SplitOptions, SplitSettings, split, split_with,
};
pub use storage::{Storage, StorageError, StorageOptions};
pub use stored::{Object, Stored, decode_stored};
pub use time::{CaptureTime, TimeError};
