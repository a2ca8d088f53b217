//! POSIX tar (ustar) as WebDataset reads it, without anything that differs between two runs: owner, group and time are 0.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

const BLOCK: usize = 512;

/// A tar on its way into `W`, with its length and SHA-256.
pub(super) struct Tar<W: Write> {
    out: W,
    hash: Sha256,
    length: u64,
}

impl<W: Write> Tar<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), length: 0 }
    }

    /// Adds a file, whose name has at most 100 ASCII characters; the offset of its first byte.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<u64> {
        self.write(&header(name, bytes.len() as u64))?;
        let offset = self.length;
        self.write(bytes)?;
        self.write(&[0; BLOCK][..bytes.len().next_multiple_of(BLOCK) - bytes.len()])?;
        Ok(offset)
    }

    /// Ends the tar: where it went, its length and SHA-256 (hex).
    pub(super) fn end(mut self) -> io::Result<(W, u64, String)> {
        self.write(&[0; 2 * BLOCK])?;
        Ok((self.out, self.length, super::listing::hex(&self.hash.finalize())))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

/// POSIX.1-1988's header block.
fn header(name: &str, bytes: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    // Eleven octal digits: 8 GiB, far more than a photo may have.
    put(124, &format!("{bytes:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    block[148..156].copy_from_slice(sum.as_bytes());
    block
}
