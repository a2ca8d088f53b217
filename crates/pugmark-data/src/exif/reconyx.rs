//! Maker notes of Reconyx HyperFire cameras (HC500, HC600, PC800, PC900 and their kin).
//!
//! Words of 16 bits, as ExifTool's documentation of the Reconyx tags lists them. The layout of the later UltraFire and
//! HF2 cameras differs, and there were no photos of theirs to check it on.

use super::clean;

/// The first word of a HyperFire note.
const MARK: u16 = 0xF101;

/// Places of the words.
const FAHRENHEIT: usize = 0x13;
const CELSIUS: usize = 0x14;
const SERIAL: usize = 0x15;

/// Words of the serial number, which is UCS-2.
const SERIAL_WORDS: usize = 15;

/// Whole degrees are rounded in one scale and cut in the other.
const MOST_APART: f32 = 2.0;

pub(super) struct Note {
    pub(super) temperature: Option<f32>,
    pub(super) serial: Option<String>,
}

/// Reads a note; none if it is another maker's.
pub(super) fn read(note: &[u8]) -> Option<Note> {
    let words: Vec<u16> = note.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    if words.first() != Some(&MARK) {
        return None;
    }
    let degrees = |at: usize| words.get(at).map(|&word| f32::from(word as i16));
    // The camera writes both scales: where they disagree this is not the layout it is taken for.
    let temperature = match (degrees(FAHRENHEIT), degrees(CELSIUS)) {
        (Some(fahrenheit), Some(celsius)) => {
            Some(celsius).filter(|_| (fahrenheit - (celsius * 1.8 + 32.0)).abs() <= MOST_APART)
        }
        _ => None,
    };
    let serial = words.get(SERIAL..SERIAL + SERIAL_WORDS).and_then(|words| {
        let words: Vec<u16> = words.iter().copied().take_while(|&word| word != 0).collect();
        clean(&String::from_utf16(&words).ok()?)
    });
    Some(Note { temperature, serial })
}
