//! The few messages of TensorFlow's `event.proto` and `summary.proto` that are written, in protobuf's wire format.
//!
//! Fields stand in the order of their numbers and those with the default are left out, as other writers do it.

/// One record of an event file.
pub(super) struct Event<'a> {
    /// Seconds since 1970.
    pub(super) wall_time: f64,
    pub(super) step: u64,
    pub(super) what: What<'a>,
}

pub(super) enum What<'a> {
    /// The first record of a file.
    Version,
    /// A session begins: what earlier files say of this step and later ones counts no more.
    Start,
    Summary(&'a [Value<'a>]),
}

/// A value of a tag.
pub(super) struct Value<'a> {
    pub(super) tag: &'a str,
    pub(super) data: Data<'a>,
}

pub(super) enum Data<'a> {
    Scalar(f32),
    /// A JPEG in colours.
    Image {
        height: usize,
        width: usize,
        jpeg: &'a [u8],
        /// Markdown that TensorBoard shows beside it.
        description: &'a str,
    },
    Histogram(&'a Histogram),
}

/// Of TensorFlow's `DataType` and TensorBoard's `DataClass`.
const DT_STRING: u64 = 7;
const BLOB_SEQUENCE: u64 = 3;

/// How often values lie below each limit and not below the one before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) sum_of_squares: f64,
    pub(super) limits: Vec<f64>,
    pub(super) counts: Vec<f64>,
}

impl Histogram {
    /// Of the finite values in bins of equal width; none where there is no such value.
    pub(super) fn of(values: &[f32], bins: usize) -> Option<Self> {
        let finite = || values.iter().filter(|value| value.is_finite()).map(|&value| f64::from(value));
        let min = finite().reduce(f64::min)?;
        let max = finite().reduce(f64::max)?;
        // Values that are all the same need a bin of some width.
        let width = if max > min { (max - min) / bins as f64 } else { min.abs().max(1.0) * 1e-6 };
        let mut histogram = Self {
            min,
            max,
            count: 0.0,
            sum: 0.0,
            sum_of_squares: 0.0,
            limits: (1..=bins).map(|bin| min + width * bin as f64).collect(),
            counts: vec![0.0; bins],
        };
        for value in finite() {
            let bin = ((value - min) / width) as usize;
            histogram.counts[bin.min(bins - 1)] += 1.0;
            histogram.count += 1.0;
            histogram.sum += value;
            histogram.sum_of_squares += value * value;
        }
        Some(histogram)
    }
}

impl Event<'_> {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut message = Message::default();
        message.double(1, self.wall_time).varint(2, self.step);
        match self.what {
            What::Version => message.bytes(3, b"brain.Event:2"),
            What::Start => message.message(7, |log| {
                log.varint(1, 1);
            }),
            What::Summary(values) => message.message(5, |summary| {
                for value in values {
                    summary.message(1, |message| value.write(message));
                }
            }),
        };
        message.0
    }
}

impl Value<'_> {
    fn write(&self, message: &mut Message) {
        message.bytes(1, self.tag.as_bytes());
        match self.data {
            Data::Scalar(value) => message.float(2, value),
            // As TensorBoard's second version has it, a tensor of three strings: the first keeps no description.
            Data::Image { height, width, jpeg, description } => message
                .message(8, |tensor| {
                    tensor.varint(1, DT_STRING).message(2, |shape| {
                        shape.message(2, |dimension| {
                            dimension.varint(1, 3);
                        });
                    });
                    for text in [width.to_string().as_bytes(), height.to_string().as_bytes(), jpeg] {
                        tensor.bytes(8, text);
                    }
                })
                .message(9, |metadata| {
                    metadata
                        .message(1, |plugin| {
                            plugin.bytes(1, b"images");
                        })
                        .bytes(3, description.as_bytes())
                        .varint(4, BLOB_SEQUENCE);
                }),
            Data::Histogram(histogram) => message.message(5, |message| {
                let Histogram { min, max, count, sum, sum_of_squares, limits, counts } = histogram;
                for (field, value) in (1..).zip([min, max, count, sum, sum_of_squares]) {
                    message.double(field, *value);
                }
                message.doubles(6, limits).doubles(7, counts);
            }),
        };
    }
}

/// A message in protobuf's wire format; its methods add a field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u32, wire: u32) {
        self.raw(u64::from(field << 3 | wire));
    }

    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u32, value: u64) -> &mut Self {
        if value != 0 {
            self.key(field, 0);
            self.raw(value);
        }
        self
    }

    fn double(&mut self, field: u32, value: f64) -> &mut Self {
        // -0 is no default.
        if value.to_bits() != 0 {
            self.key(field, 1);
            self.0.extend(value.to_le_bytes());
        }
        self
    }

    /// Of a oneof: written also where it is 0.
    fn float(&mut self, field: u32, value: f32) -> &mut Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.key(field, 2);
        self.raw(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    /// Packed.
    fn doubles(&mut self, field: u32, values: &[f64]) -> &mut Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &bytes)
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::record;
    use super::*;

    /// What TensorBoard's own classes write for the same events: `fixtures/events.py`.
    #[test]
    fn bytes_are_tensorboards() {
        let histogram = Histogram::of(&[-1.0, 0.0, 0.5, 3.0, f32::NAN], 4).unwrap();
        let values = [
            Value { tag: "train/loss", data: Data::Scalar(0.25) },
            Value { tag: "zero", data: Data::Scalar(0.0) },
            Value { tag: "conv1.weight", data: Data::Histogram(&histogram) },
            Value {
                tag: "photos",
                data: Data::Image {
                    height: 300,
                    width: 2,
                    jpeg: &[0xff, 0xd8, 0xff],
                    description: "one *photo*",
                },
            },
        ];
        let events = [
            Event { wall_time: 1_700_000_000.25, step: 0, what: What::Version },
            Event { wall_time: 1_700_000_001.5, step: 301, what: What::Start },
            Event { wall_time: 1_700_000_002.0, step: 70_000, what: What::Summary(&values) },
        ];
        let bytes: Vec<u8> = events.iter().flat_map(|event| record(&event.to_bytes())).collect();
        let expected = include_bytes!("../../../../fixtures/events.tfevents");
        assert!(bytes == expected, "{} bytes, {} expected", bytes.len(), expected.len());
    }

    #[test]
    fn histograms_count_everything_once() {
        let histogram = Histogram::of(&[-1.0, 0.0, 0.5, 3.0, f32::NAN], 4).unwrap();
        assert_eq!(histogram.limits, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(histogram.counts, [1.0, 2.0, 0.0, 1.0]);
        assert_eq!((histogram.count, histogram.sum, histogram.sum_of_squares), (4.0, 2.5, 10.25));
        let same = Histogram::of(&[2.0; 5], 3).unwrap();
        assert_eq!(same.counts, [5.0, 0.0, 0.0]);
        assert!(same.limits.is_sorted_by(|a, b| a < b) && same.limits[0] > 2.0);
        assert_eq!(Histogram::of(&[f32::NAN], 3), None);
    }
}
