//! A pickle of protocol 2 in the words that `torch.load(weights_only=True)` knows, and its archive.
//! The bytes are a function of the content: no time, no path.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{BEST_VAL_LOSS, EPOCH, GLOBAL_STEP, HostTensor, META_KEY, MODEL, StateDict};
use crate::dtype::DType;

type Tensors = [(String, HostTensor)];

/// Alignment of every entry's data, as in PyTorch.
const ALIGN_BYTES: u16 = 64;
/// Above this size an entry needs the larger header of zip64.
const ZIP32_BYTES: usize = u32::MAX as usize;

pub fn encode(weights: &StateDict, meta: Option<&str>) -> Result<Vec<u8>, String> {
    archive(&weights.tensors, &pickle(weights, meta)?)
}

/// The tensors alone, as `torch.save(model.state_dict(), ..)` writes them.
pub fn encode_bare(tensors: &Tensors) -> Result<Vec<u8>, String> {
    let mut out = Pickler(b"\x80\x02".to_vec());
    out.state_dict(tensors)?;
    out.0.push(b'.');
    archive(tensors, &out.0)
}

fn archive(tensors: &Tensors, pickle: &[u8]) -> Result<Vec<u8>, String> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    let mut put = |name: &str, bytes: &[u8]| -> Result<(), String> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(ALIGN_BYTES)
            .last_modified_time(zip::DateTime::default())
            .large_file(bytes.len() >= ZIP32_BYTES);
        zip.start_file(format!("archive/{name}"), options).map_err(|e| e.to_string())?;
        zip.write_all(bytes).map_err(|e| e.to_string())
    };
    put("data.pkl", pickle)?;
    put("byteorder", b"little")?;
    for (i, (_, tensor)) in tensors.iter().enumerate() {
        put(&format!("data/{i}"), &tensor.bytes)?;
    }
    put("version", b"3\n")?;
    zip.finish().map(Cursor::into_inner).map_err(|e| e.to_string())
}

/// `{epoch, best_val_loss, global_step, model_state_dict, hrm}`, without what is not known.
fn pickle(weights: &StateDict, meta: Option<&str>) -> Result<Vec<u8>, String> {
    let mut out = Pickler(b"\x80\x02}(".to_vec());
    if let Some(counters) = weights.counters {
        out.text(EPOCH)?;
        out.int(counters.epoch);
        out.text(BEST_VAL_LOSS)?;
        out.0.push(b'G');
        out.0.extend(counters.best_val_loss.to_be_bytes());
        out.text(GLOBAL_STEP)?;
        out.int(counters.global_step);
    }
    out.text(MODEL)?;
    out.state_dict(&weights.tensors)?;
    if let Some(meta) = meta {
        out.text(META_KEY)?;
        out.text(meta)?;
    }
    out.0.extend(b"u.");
    Ok(out.0)
}

struct Pickler(Vec<u8>);

impl Pickler {
    fn text(&mut self, text: &str) -> Result<(), String> {
        let length = u32::try_from(text.len()).map_err(|_| "a text of more than 4 GiB")?;
        self.0.push(b'X');
        self.0.extend(length.to_le_bytes());
        self.0.extend(text.as_bytes());
        Ok(())
    }

    /// BININT, or LONG1 of eight bytes where that is too short. No count here needs the sign's bit.
    fn int(&mut self, n: u64) {
        match i32::try_from(n) {
            Ok(n) => {
                self.0.push(b'J');
                self.0.extend(n.to_le_bytes());
            }
            Err(_) => {
                self.0.extend([0x8a, 8]);
                self.0.extend(n.to_le_bytes());
            }
        }
    }

    fn ints(&mut self, numbers: impl Iterator<Item = usize>) {
        self.0.push(b'(');
        numbers.for_each(|n| self.int(n as u64));
        self.0.push(b't');
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").as_bytes());
    }

    /// An `OrderedDict` of the tensors.
    fn state_dict(&mut self, tensors: &Tensors) -> Result<(), String> {
        self.global("collections", "OrderedDict");
        self.0.extend(b")R(");
        for (i, (name, tensor)) in tensors.iter().enumerate() {
            self.text(name)?;
            self.tensor(i, tensor)?;
        }
        self.0.push(b'u');
        Ok(())
    }

    /// `_rebuild_tensor_v2(storage, offset, size, strides, requires_grad, hooks)`
    fn tensor(&mut self, key: usize, tensor: &HostTensor) -> Result<(), String> {
        let storage = match tensor.dtype {
            DType::F32 => "FloatStorage",
            DType::Bf16 => "BFloat16Storage",
            DType::I32 => "IntStorage",
            DType::U8 => "ByteStorage",
        };
        let dims = tensor.shape.dims();
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend(b"((");
        self.text("storage")?;
        self.global("torch", storage);
        self.text(&key.to_string())?;
        self.text("cpu")?;
        self.int(tensor.shape.elems() as u64);
        self.0.extend(b"tQ");
        self.int(0);
        self.ints(dims.iter().copied());
        self.ints((0..dims.len()).map(|i| dims[i + 1..].iter().product()));
        self.0.push(0x89);
        self.global("collections", "OrderedDict");
        self.0.extend(b")RtR");
        Ok(())
    }
}
