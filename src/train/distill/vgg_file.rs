//! The weights of VGG16 from a safetensors file, under torchvision's names; what the perceptual
//! term does not need (later layers, the classifier) may be there or not.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::backend::Device;
use crate::models::tiny_vae::Vgg;
use crate::{Error, Result};

pub fn load(device: &Device, path: &Path) -> Result<Vgg> {
    let vgg = Vgg::new(device)?;
    if device.is_shape_only() {
        return Ok(vgg);
    }
    let bytes = std::fs::read(path)
        .map_err(Error::io(path, "read the weights of VGG16 (model.features)"))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::corrupt(path, format!("no safetensors file: {e}")))?;
    for (name, tensor) in vgg.tensors()? {
        let found = file.tensor(&name).map_err(|_| {
            Error::corrupt(path, format!("no tensor {name}: not VGG16 of torchvision"))
        })?;
        if found.dtype() != Dtype::F32 || found.shape() != tensor.shape().dims() {
            return Err(Error::corrupt(
                path,
                format!(
                    "tensor {name} is {:?} {:?}, expected f32 {}",
                    found.dtype(),
                    found.shape(),
                    tensor.shape()
                ),
            ));
        }
        tensor.upload_bytes(found.data())?;
    }
    Ok(vgg)
}
