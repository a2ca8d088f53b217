//! `pugmark export`.
