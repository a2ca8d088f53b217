//! A model as data: operators, shapes, architectures, weight files.
