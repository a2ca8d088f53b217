//! From photos of any size to the network's pictures, inside the graph.
//!
//! Everything up to the last step is done on bytes, which `Resize` rounds after each direction as Pillow does.

use super::super::PICTURES;
use super::super::model::{Attribute, Dimension, Element, ValueInfo};
use super::parts::Parts;
use super::{Export, Writer, info};

/// How a photo becomes a picture of the network's size and values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// How it is brought to the size.
    pub framing: Framing,
    /// Its luma (ITU-R 601) in all three channels.
    pub grayscale: bool,
    /// Subtracted from each channel after division by 255.
    pub mean: [f32; 3],
    /// Each channel is then divided by this.
    pub std: [f32; 3],
}

/// How a photo is brought to the network's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Stretched.
    Squash,
    /// The short side scaled, then cut out of the middle; what is missing is black.
    CentreCrop {
        /// Pixels of the short side.
        short_side: usize,
    },
    /// Scaled to fit inside; the rest is black.
    Letterbox,
}

/// ITU-R 601 luma in 16-bit fixed point, as Pillow computes it; the half is for rounding.
const LUMA: [i32; 3] = [19_595, 38_470, 7_471];
const LUMA_HALF: i32 = 0x8000;
const LUMA_ONE: i32 = 0x1_0000;

const P: &str = "preprocessing";

impl Writer<'_> {
    /// The file's input and the name of the pictures that the network takes.
    pub(super) fn input(&mut self, channels: usize, export: &Export<'_>) -> (ValueInfo, String) {
        let Export { height, width, .. } = *export;
        let Some(preprocessing) = &export.preprocessing else {
            let shape = [channels, height, width].map(Dimension::Fixed);
            return (info("input", Element::F32, &shape), "input".into());
        };
        let side = |name: &str| Dimension::Named(name.into());
        let shape = [side("photo_height"), side("photo_width"), Dimension::Fixed(3)];
        let pictures = self.parts.preprocess("photos", [height, width], preprocessing);
        (info("photos", Element::U8, &shape), pictures)
    }
}

impl Parts {
    fn preprocess(&mut self, photos: &str, to: [usize; 2], preprocessing: &Preprocessing) -> String {
        let framed = match preprocessing.framing {
            Framing::Squash => {
                let sizes = self.ints("preprocessing/size", &to.map(|length| length as i64));
                let size = self.photo_size(photos);
                self.resize(photos, &size, &sizes)
            }
            Framing::CentreCrop { short_side } => self.centre_crop(photos, to, short_side),
            Framing::Letterbox => self.letterbox(photos, to),
        };
        let x = if preprocessing.grayscale { self.luma(&framed) } else { framed };
        let full = self.floats("preprocessing/255", &[], &[255.0]);
        let mean = self.floats("preprocessing/mean", &[3], &preprocessing.mean);
        let std = self.floats("preprocessing/std", &[3], &preprocessing.std);
        let x = self.cast("values", &x, Element::F32);
        let x = self.step("scale", "Div", &[&x, &full]);
        let x = self.step("centre", "Sub", &[&x, &mean]);
        let x = self.step("normalise", "Div", &[&x, &std]);
        let pictures = self.transpose("preprocessing/pictures", &x, &[0, 3, 1, 2]);
        self.rename(&pictures, PICTURES);
        PICTURES.into()
    }

    fn step(&mut self, name: &str, op: &str, inputs: &[&str]) -> String {
        self.op(&format!("{P}/{name}"), op, inputs, vec![])
    }

    fn cast(&mut self, name: &str, x: &str, to: Element) -> String {
        self.op(&format!("{P}/{name}"), "Cast", &[x], vec![("to", Attribute::Int(to as i64))])
    }

    /// Height and width of the photos.
    fn photo_size(&mut self, photos: &str) -> String {
        let part = vec![("start", Attribute::Int(1)), ("end", Attribute::Int(3))];
        self.op(&format!("{P}/photo_size"), "Shape", &[photos], part)
    }

    /// Antialiased bilinear as Pillow's: pixels beyond the edge have no weight. `Resize` begins with the rows; Pillow 13 with
    /// the columns where a photo is tall and narrow, so there the height comes first, in a step of its own.
    fn resize(&mut self, photos: &str, size: &str, sizes: &str) -> String {
        let room = self.step("room", "Sub", &[size, sizes]);
        let [rows, columns] = [0, 1].map(|side| self.side(&room, "room", side));
        let zero = self.ints("preprocessing/0", &[0]);
        let twice = self.step("twice", "Add", &[&columns, &columns]);
        let twice = self.step("if_less", "Max", &[&twice, &zero]);
        let tall = self.step("tall", "Less", &[&twice, &rows]);
        let (height, to_height) = (self.side(size, "from", 0), self.side(sizes, "to", 0));
        let first = self.step("first_height", "Where", &[&tall, &to_height, &height]);
        let x = self.resize_axes("first", photos, &first, &[1]);
        self.resize_axes("resize", &x, sizes, &[1, 2])
    }

    /// Height (0) or width (1) of a size.
    fn side(&mut self, size: &str, what: &str, side: i64) -> String {
        let place = self.ints(&format!("{P}/{side}"), &[side]);
        self.op(&format!("{P}/{what}.{side}"), "Gather", &[size, &place], vec![("axis", Attribute::Int(0))])
    }

    fn resize_axes(&mut self, name: &str, x: &str, sizes: &str, axes: &[i64]) -> String {
        let attributes = vec![
            ("mode", Attribute::Text("linear".into())),
            ("coordinate_transformation_mode", Attribute::Text("half_pixel".into())),
            ("antialias", Attribute::Int(1)),
            ("exclude_outside", Attribute::Int(1)),
            ("axes", Attribute::Ints(axes.into())),
        ];
        self.op(&format!("{P}/{name}"), "Resize", &[x, "", "", sizes], attributes)
    }

    /// Half of a room of some pixels, rounded to even.
    fn half(&mut self, room: &str) -> String {
        let half = self.doubles("preprocessing/0.5", &[0.5]);
        let room = self.cast("room_to_halve", room, Element::F64);
        let room = self.step("halve", "Mul", &[&room, &half]);
        let room = self.step("round_half", "Round", &[&room]);
        self.cast("half", &room, Element::I64)
    }

    /// Adds black pixels `before` and behind, `room` in all.
    fn pad(&mut self, x: &str, room: &str, before: &str) -> String {
        let behind = self.step("behind", "Sub", &[room, before]);
        let axis = vec![("axis", Attribute::Int(0))];
        let pads = self.op("preprocessing/pads", "Concat", &[before, &behind], axis);
        let axes = self.ints("preprocessing/axes", &[1, 2]);
        self.step("pad", "Pad", &[x, &pads, "", &axes])
    }

    fn centre_crop(&mut self, photos: &str, to: [usize; 2], short_side: usize) -> String {
        let to_size = self.ints("preprocessing/size", &to.map(|length| length as i64));
        let zero = self.ints("preprocessing/0", &[0]);
        let axes = self.ints("preprocessing/axes", &[1, 2]);

        // The long side is cut to whole pixels.
        let size = self.photo_size(photos);
        let short = self.ints("preprocessing/short_side", &[short_side as i64]);
        let keep = vec![("keepdims", Attribute::Int(1))];
        let shorter = self.op("preprocessing/shorter", "ReduceMin", &[&size], keep);
        let scaled = self.step("scale_sides", "Mul", &[&size, &short]);
        let sizes = self.step("scaled_size", "Div", &[&scaled, &shorter]);
        let x = self.resize(photos, &size, &sizes);

        let room = self.step("too_much", "Sub", &[&sizes, &to_size]);
        let room = self.step("cut", "Max", &[&room, &zero]);
        let start = self.half(&room);
        let end = self.step("cut_end", "Add", &[&start, &to_size]);
        let x = self.step("crop", "Slice", &[&x, &start, &end, &axes]);
        if to.into_iter().all(|length| length <= short_side) {
            return x;
        }
        let two = self.ints("preprocessing/2", &[2]);
        let missing = self.step("too_little", "Sub", &[&to_size, &sizes]);
        let missing = self.step("missing", "Max", &[&missing, &zero]);
        let before = self.step("before", "Div", &[&missing, &two]);
        self.pad(&x, &missing, &before)
    }

    fn letterbox(&mut self, photos: &str, to: [usize; 2]) -> String {
        let [height, width] = to.map(|length| length as f64);
        let to_size = self.ints("preprocessing/size", &to.map(|length| length as i64));
        let others = self.doubles("preprocessing/other_sides", &[width, height]);
        let to_shape = self.doubles("preprocessing/shape", &[height / width, width / height]);
        let one = self.doubles("preprocessing/1.0", &[1.0]);
        let swap = self.ints("preprocessing/swap", &[1, 0]);

        let size = self.photo_size(photos);
        let sides = self.cast("sides", &size, Element::F64);
        let swapped =
            self.op("preprocessing/swapped", "Gather", &[&sides, &swap], vec![("axis", Attribute::Int(0))]);
        // Height to width and width to height; the side with the smaller ratio has room left.
        let shape = self.step("photo_shape", "Div", &[&sides, &swapped]);
        let roomy = self.step("roomy", "Less", &[&shape, &to_shape]);
        let scaled = self.step("scaled", "Mul", &[&shape, &others]);
        let scaled = self.step("rounded", "Round", &[&scaled]);
        let scaled = self.step("at_least_one", "Max", &[&scaled, &one]);
        let scaled = self.cast("whole", &scaled, Element::I64);
        let sizes = self.step("fitted_size", "Where", &[&roomy, &scaled, &to_size]);
        let x = self.resize(photos, &size, &sizes);

        let room = self.step("too_little", "Sub", &[&to_size, &sizes]);
        let before = self.half(&room);
        self.pad(&x, &room, &before)
    }

    /// One channel for three; the normalisation makes three of it again.
    fn luma(&mut self, x: &str) -> String {
        let factors = self.small_ints("preprocessing/luma", &[3], &LUMA);
        let half = self.small_ints("preprocessing/luma_half", &[], &[LUMA_HALF]);
        let one = self.small_ints("preprocessing/luma_one", &[], &[LUMA_ONE]);
        let axis = self.ints("preprocessing/3", &[3]);
        let x = self.cast("bytes", x, Element::I32);
        let x = self.step("weigh", "Mul", &[&x, &factors]);
        let keep = vec![("keepdims", Attribute::Int(1))];
        let x = self.op("preprocessing/sum", "ReduceSum", &[&x, &axis], keep);
        let x = self.step("round_luma", "Add", &[&x, &half]);
        self.step("gray", "Div", &[&x, &one])
    }
}
