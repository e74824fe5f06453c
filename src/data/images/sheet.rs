//! Rows of images as one PNG: what stands in a column belongs together.

use std::path::Path;

use super::{CHANNELS, IMAGE_ELEMS, SIDE};
use crate::data::sheet::Image;
use crate::{Error, Result};

/// Pixels of the sheet per pixel of an image, each way.
const ZOOM: usize = 2;
/// Between images and round the sheet.
const GAP: usize = 4;

/// A file of what [`draw`] shows.
pub fn write(path: &Path, rows: &[&[u8]]) -> Result<()> {
    draw(rows)?.write(path)
}

/// Every row holds the same number of images, (n, 3, 32, 32) each.
pub fn draw(rows: &[&[u8]]) -> Result<Image> {
    let columns = rows.first().map_or(0, |row| row.len() / IMAGE_ELEMS);
    if columns == 0 || rows.iter().any(|row| row.len() != columns * IMAGE_ELEMS) {
        return Err(Error::invalid("a sheet of images needs rows of the same length, not empty"));
    }
    let pitch = SIDE * ZOOM + GAP;
    let mut sheet = Image::new(columns * pitch + GAP, rows.len() * pitch + GAP);
    for (r, row) in rows.iter().enumerate() {
        for (c, image) in row.chunks_exact(IMAGE_ELEMS).enumerate() {
            let (top, left) = (r * pitch + GAP, c * pitch + GAP);
            for i in 0..SIDE * SIDE {
                let colour =
                    std::array::from_fn::<u8, CHANNELS, _>(|ch| image[ch * SIDE * SIDE + i]);
                sheet.fill(top + i / SIDE * ZOOM, left + i % SIDE * ZOOM, ZOOM, ZOOM, colour);
            }
        }
    }
    Ok(sheet)
}
