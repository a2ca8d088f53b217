//! What decoders give becomes 8-bit RGB.

use image::ColorType;

/// Converts the samples of a picture, in the machine's byte order, to 8-bit RGB; none for a colour type that is
/// not known.
///
/// Alpha is dropped, gray repeated; 16 bits keep their high byte, floats are scaled from [0, 1].
pub(super) fn to_rgb(colour: ColorType, mut samples: Vec<u8>) -> Option<Vec<u8>> {
    let rgb = match colour {
        ColorType::Rgb8 => samples,
        ColorType::Rgba8 => {
            // In place: at the pixel limit a copy is 192 MiB.
            let pixels = samples.len() / 4;
            for pixel in 0..pixels {
                samples.copy_within(pixel * 4..pixel * 4 + 3, pixel * 3);
            }
            samples.truncate(pixels * 3);
            samples
        }
        ColorType::L8 => samples.iter().flat_map(|&gray| [gray; 3]).collect(),
        ColorType::La8 => samples.chunks_exact(2).flat_map(|pixel| [pixel[0]; 3]).collect(),
        ColorType::L16 => samples.chunks_exact(2).flat_map(|gray| [high_byte(gray); 3]).collect(),
        ColorType::La16 => samples.chunks_exact(4).flat_map(|pixel| [high_byte(&pixel[..2]); 3]).collect(),
        ColorType::Rgb16 => samples.chunks_exact(2).map(high_byte).collect(),
        ColorType::Rgba16 => {
            samples.chunks_exact(8).flat_map(|pixel| pixel[..6].chunks(2).map(high_byte)).collect()
        }
        ColorType::Rgb32F => samples.chunks_exact(4).map(from_float).collect(),
        ColorType::Rgba32F => {
            samples.chunks_exact(16).flat_map(|pixel| pixel[..12].chunks(4).map(from_float)).collect()
        }
        _ => return None,
    };
    Some(rgb)
}

fn high_byte(sample: &[u8]) -> u8 {
    (u16::from_ne_bytes([sample[0], sample[1]]) >> 8) as u8
}

fn from_float(sample: &[u8]) -> u8 {
    // The cast saturates, and makes 0 of what is not a number.
    (f32::from_ne_bytes([sample[0], sample[1], sample[2], sample[3]]) * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::{ColorType, to_rgb};

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn floats(floats: &[f32]) -> Vec<u8> {
        floats.iter().flat_map(|float| float.to_ne_bytes()).collect()
    }

    #[test]
    fn every_colour_type_becomes_rgb() {
        struct Case {
            colour: ColorType,
            samples: Vec<u8>,
            rgb: [u8; 6],
        }
        let cases = [
            Case { colour: ColorType::L8, samples: vec![7, 9], rgb: [7, 7, 7, 9, 9, 9] },
            Case { colour: ColorType::La8, samples: vec![7, 0, 9, 255], rgb: [7, 7, 7, 9, 9, 9] },
            Case { colour: ColorType::Rgb8, samples: vec![1, 2, 3, 4, 5, 6], rgb: [1, 2, 3, 4, 5, 6] },
            Case { colour: ColorType::Rgba8, samples: vec![1, 2, 3, 0, 4, 5, 6, 9], rgb: [1, 2, 3, 4, 5, 6] },
            Case { colour: ColorType::L16, samples: words(&[0x07ff, 0x0900]), rgb: [7, 7, 7, 9, 9, 9] },
            Case {
                colour: ColorType::La16,
                samples: words(&[0x07ff, 0, 0x0900, 1]),
                rgb: [7, 7, 7, 9, 9, 9],
            },
            Case {
                colour: ColorType::Rgb16,
                samples: words(&[0x0100, 0x02ff, 0x0380, 0x0401, 0x0501, 0x0601]),
                rgb: [1, 2, 3, 4, 5, 6],
            },
            Case {
                colour: ColorType::Rgba16,
                samples: words(&[0x0100, 0x02ff, 0x0380, 0, 0x0401, 0x0501, 0x0601, 0xffff]),
                rgb: [1, 2, 3, 4, 5, 6],
            },
            Case {
                colour: ColorType::Rgb32F,
                samples: floats(&[0.0, 0.5, 1.0, -1.0, 2.0, f32::NAN]),
                rgb: [0, 128, 255, 0, 255, 0],
            },
            Case {
                colour: ColorType::Rgba32F,
                samples: floats(&[0.0, 0.5, 1.0, 0.1, -1.0, 2.0, f32::NAN, 0.1]),
                rgb: [0, 128, 255, 0, 255, 0],
            },
        ];
        for Case { colour, samples, rgb } in cases {
            assert_eq!(to_rgb(colour, samples).as_deref(), Some(rgb.as_slice()), "{colour:?}");
        }
    }
}
