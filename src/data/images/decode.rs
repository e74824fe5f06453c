//! One PNG or JPEG file as an image of 32 x 32 pixels with three channels: transparent pixels over
//! white, scaled by area (each result is the mean of what it covers), the aspect ratio given up.

use std::io::Cursor;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{CHANNELS, IMAGE_ELEMS, SIDE};

/// Larger pictures are refused before they are decoded.
const MAX_SIDE: usize = 16_384;
const MAX_PIXELS: usize = 64 << 20;

/// Rows of red, green, blue.
struct Picture {
    h: usize,
    w: usize,
    rgb: Vec<u8>, // (h, w, 3)
}

/// (3, 32, 32)
pub fn decode(bytes: &[u8]) -> Result<[u8; IMAGE_ELEMS], String> {
    let picture = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        png(bytes)?
    } else if bytes.starts_with(&[0xff, 0xd8]) {
        jpeg(bytes)?
    } else {
        return Err("is neither a PNG nor a JPEG file".into());
    };
    Ok(shrink(&picture))
}

fn bounded(h: usize, w: usize) -> Result<(usize, usize), String> {
    let fits = (1..=MAX_SIDE).contains(&h) && (1..=MAX_SIDE).contains(&w) && h * w <= MAX_PIXELS;
    if fits { Ok((h, w)) } else { Err(format!("{w} x {h} pixels are more than we take")) }
}

fn png(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |e: png::DecodingError| format!("damaged PNG: {e}");
    let limits = png::Limits { bytes: 8 * MAX_PIXELS };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (h, w) = bounded(reader.info().height as usize, reader.info().width as usize)?;
    let size = reader.output_buffer_size().ok_or("damaged PNG: too large")?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(damaged)?;
    pixels.truncate(frame.buffer_size());
    let over_white = |v: u8, alpha: u8| {
        let (v, alpha) = (u32::from(v), u32::from(alpha));
        ((v * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let rgb: Vec<u8> = match frame.color_type {
        png::ColorType::Rgb => pixels,
        png::ColorType::Grayscale => pixels.iter().flat_map(|v| [*v; 3]).collect(),
        png::ColorType::GrayscaleAlpha => {
            pixels.chunks_exact(2).flat_map(|p| [over_white(p[0], p[1]); 3]).collect()
        }
        png::ColorType::Rgba => {
            let opaque = |p: &[u8]| [0, 1, 2].map(|c| over_white(p[c], p[3]));
            pixels.chunks_exact(4).flat_map(opaque).collect()
        }
        png::ColorType::Indexed => return Err("damaged PNG: no palette".into()),
    };
    whole(Picture { h, w, rgb })
}

fn jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let options = DecoderOptions::default()
        .set_max_width(MAX_SIDE)
        .set_max_height(MAX_SIDE)
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    let damaged = |e| format!("damaged JPEG: {e}");
    decoder.decode_headers().map_err(damaged)?;
    let (w, h) = decoder.dimensions().ok_or("damaged JPEG: no size")?;
    let (h, w) = bounded(h, w)?;
    let rgb = decoder.decode().map_err(damaged)?;
    whole(Picture { h, w, rgb })
}

fn whole(picture: Picture) -> Result<Picture, String> {
    let Picture { h, w, rgb } = &picture;
    match rgb.len() == h * w * CHANNELS {
        true => Ok(picture),
        false => Err(format!("decodes to {} bytes, not {h} x {w} x {CHANNELS}", rgb.len())),
    }
}

/// What target pixel `i` of [`SIDE`] covers of `n` source pixels, in units of 1/SIDE of a source
/// pixel: (source index, weight); the weights add up to n.
fn cover(i: usize, n: usize) -> impl Iterator<Item = (usize, u64)> {
    let (from, to) = (i * n, (i + 1) * n);
    (from / SIDE..to.div_ceil(SIDE)).map(move |s| {
        let overlap = to.min((s + 1) * SIDE) - from.max(s * SIDE);
        (s, overlap as u64)
    })
}

fn shrink(picture: &Picture) -> [u8; IMAGE_ELEMS] {
    let &Picture { h, w, ref rgb } = picture;
    let area = (h * w) as u64;
    let mut image = [0; IMAGE_ELEMS];
    for y in 0..SIDE {
        for x in 0..SIDE {
            let mut sum = [0; CHANNELS];
            for (sy, weight_y) in cover(y, h) {
                for (sx, weight_x) in cover(x, w) {
                    let pixel = &rgb[CHANNELS * (sy * w + sx)..][..CHANNELS];
                    for (sum, v) in sum.iter_mut().zip(pixel) {
                        *sum += weight_y * weight_x * u64::from(*v);
                    }
                }
            }
            for (c, sum) in sum.into_iter().enumerate() {
                image[(c * SIDE + y) * SIDE + x] = ((sum + area / 2) / area) as u8;
            }
        }
    }
    image
}
