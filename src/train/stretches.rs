//! How flat storage is cut for an update: into stretches that one rule steps at once.
//!
//! Adam's rules take all of it in one. NorMuon takes each hidden matrix alone, and Adam what lies
//! between two of them. First moments lie as the parameters do; second moments are closed up, since
//! a matrix has one for each row.

use crate::Result;
use crate::nn::params::{Entry, Params, Role};
use crate::tensor::Tensor;

/// Second moments start on multiples of this, as parameters do.
const ALIGN_ELEMS: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    pub start: usize,
    pub elems: usize,
    pub v_start: usize,
    pub v_elems: usize,
    pub by: By,
}

#[derive(Clone, Debug, PartialEq)]
pub enum By {
    Adam {
        decays: bool,
    },
    NorMuon {
        shape: [usize; 2],
        blocks: usize,
        decay_share: f64,
    },
    /// Frozen: not stepped.
    Nothing,
}

/// All of flat storage; `matrices_apart`: hidden matrices are NorMuon's.
pub fn cut(params: &Params, matrices_apart: bool) -> Vec<Stretch> {
    let (all, end) = (params.entries(), params.master.elems());
    let ends = all.iter().skip(1).map(|e| e.start).chain([end]);
    let (mut stretches, mut v_start) = (Vec::<Stretch>::new(), 0);
    for (entry, end) in all.iter().zip(ends) {
        let by = by(entry, matrices_apart);
        let (elems, v_elems) = match by {
            By::Adam { .. } | By::Nothing => (end - entry.start, end - entry.start),
            By::NorMuon { shape, .. } => (entry.shape.elems(), shape[0]),
        };
        match stretches.last_mut() {
            Some(last) if last.by == by && !matches!(by, By::NorMuon { .. }) => {
                (last.elems, last.v_elems) = (last.elems + elems, last.v_elems + v_elems);
            }
            _ => stretches.push(Stretch { start: entry.start, elems, v_start, v_elems, by }),
        }
        v_start += v_elems.next_multiple_of(ALIGN_ELEMS);
    }
    stretches
}

fn by(entry: &Entry, matrices_apart: bool) -> By {
    if entry.is_frozen {
        return By::Nothing;
    }
    match (entry.role, entry.shape.dims()) {
        _ if !matrices_apart => By::Adam { decays: true },
        (Role::Hidden { blocks, decay_share }, &[rows, cols]) => {
            By::NorMuon { shape: [rows, cols], blocks, decay_share }
        }
        (role, _) => By::Adam { decays: !matches!(role, Role::Undecayed | Role::Tasks) },
    }
}

/// Elements that the second moments of all stretches take.
pub fn v_elems(stretches: &[Stretch]) -> usize {
    let end = |s: &Stretch| s.v_start + s.v_elems.next_multiple_of(ALIGN_ELEMS);
    stretches.last().map_or(0, end)
}

/// The second moments of a parameter: of its shape, or of its rows.
pub fn v_of(stretches: &[Stretch], v: &Tensor, entry: &Entry) -> Result<Tensor> {
    let holds = |s: &&Stretch| (s.start..s.start + s.elems).contains(&entry.start);
    let stretch = stretches
        .iter()
        .find(holds)
        .ok_or_else(|| crate::Error::invalid(format!("{} has no second moments", entry.name)))?;
    match stretch.by {
        By::Adam { .. } | By::Nothing => {
            v.view(stretch.v_start + entry.start - stretch.start, entry.shape)
        }
        By::NorMuon { shape: [rows, _], .. } => v.view(stretch.v_start, [rows]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Device;
    use crate::dtype::DType;
    use crate::nn::init::Init;
    use crate::nn::params::Spec;

    #[test]
    fn matrices_are_taken_out_and_their_neighbours_joined() {
        let spec = |name: &str, shape: &[usize]| Spec::new(name, shape, Init::Constant(0.0));
        let specs = [
            spec("embed", &[3, 50]).embedding(),
            spec("bias", &[7]),
            spec("qkv", &[9, 3]).hidden(3, 0.1),
            spec("down", &[3, 8]).hidden(1, 1.0),
            spec("gain", &[3]),
            spec("head", &[5, 3]),
        ];
        let params = Params::new(&Device::cpu(), &specs, DType::F32, 1).unwrap();
        let of = |stretches: &[Stretch]| -> Vec<[usize; 4]> {
            stretches.iter().map(|s| [s.start, s.elems, s.v_start, s.v_elems]).collect()
        };
        let all = cut(&params, false);
        assert_eq!(of(&all), [[0, 512, 0, 512]]);
        assert_eq!(v_elems(&all), 512);
        let apart = cut(&params, true);
        let expected = [
            [0, 256, 0, 256],
            [256, 27, 256, 9],
            [320, 24, 320, 3],
            [384, 64, 384, 64],
            [448, 64, 448, 64],
        ];
        assert_eq!(of(&apart), expected);
        assert_eq!(v_elems(&apart), 512);
        let v = params.master.clone();
        for (entry, elems) in params.entries().iter().zip([150, 7, 9, 3, 3, 15]) {
            assert_eq!(v_of(&apart, &v, entry).unwrap().elems(), elems, "{}", entry.name);
            assert_eq!(v_of(&all, &v, entry).unwrap().shape(), &entry.shape);
        }
    }
}
