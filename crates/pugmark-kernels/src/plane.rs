//! The geometry of activations.

/// Geometry of one image of a padded NHWC tensor: `(height + 2 * border) * (width + 2 * border) * channels`
/// values.
///
/// The border is zero; every kernel that writes a tensor writes its border too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plane {
    /// Rows of the image itself.
    pub height: usize,
    /// Pixels in a row of the image itself.
    pub width: usize,
    /// Values in a pixel.
    pub channels: usize,
    /// Zero pixels on each of the four sides.
    pub border: usize,
}

impl Plane {
    /// Values from one row to the next.
    pub fn row_pitch(&self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// Rows of an image with its border.
    pub(crate) fn padded_height(&self) -> usize {
        self.height + 2 * self.border
    }

    /// Values of one image with its border.
    #[expect(clippy::len_without_is_empty, reason = "a size, not a container")]
    pub fn len(&self) -> usize {
        self.padded_height() * self.row_pitch()
    }

    /// Offset of the first channel of pixel (`y`, `x`) of the image itself.
    pub fn offset(&self, y: usize, x: usize) -> usize {
        (y + self.border) * self.row_pitch() + (x + self.border) * self.channels
    }

    /// Pixels of the image itself.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values in a row of the image itself.
    pub(crate) fn row_len(&self) -> usize {
        self.width * self.channels
    }

    /// Whether both have the same pixels and channels; their borders may differ.
    pub(crate) fn same_interior(&self, other: &Plane) -> bool {
        (self.height, self.width, self.channels) == (other.height, other.width, other.channels)
    }
}

/// Where a gradient goes.
#[derive(Debug)]
pub struct GradientTarget<'a, E = f32> {
    /// The gradient.
    pub gradient: &'a mut [E],
    /// Its plane.
    pub plane: Plane,
    /// Add to what is there (whose border stays) instead of overwriting it and zeroing the border.
    pub accumulate: bool,
}

/// Panics unless `len` values hold `images` images of `plane`.
#[track_caller]
pub(crate) fn check(name: &str, len: usize, images: usize, plane: &Plane) {
    assert!(
        len == images * plane.len(),
        "{name}: {len} values, but {images} images of {plane:?} have {}",
        images * plane.len()
    );
}

/// Panics unless `plane` has the pixels and channels of `like`.
#[track_caller]
pub(crate) fn check_interior(name: &str, plane: &Plane, like: &Plane) {
    assert!(plane.same_interior(like), "{name}: {plane:?} does not fit {like:?}");
}

/// Panics unless the slice of that name has `expected` values.
#[track_caller]
pub(crate) fn check_len(name: &str, len: usize, expected: usize) {
    assert!(len == expected, "{name}: {len} values instead of {expected}");
}
