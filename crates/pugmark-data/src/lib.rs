//! Photos and labels: readers, decoding, resizing, augmentation, splits, the batch loader.
