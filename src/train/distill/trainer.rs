//! Teacher and student with all that their steps change. A step is one pass over a batch, its
//! losses, and the update; on CUDA it is recorded once for each of the two and replayed. Reads no
//! data set.

use super::input::Input;
use super::options::Options;
use super::vgg_file;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::models::tiny_vae::{
    Autoencoder, CHANNELS, Features, IMAGE_ELEMS, Norms, PROJECTOR, SIDE, TERMS, Teacher, Terms,
    Vgg, Weights, student_terms, teacher_terms,
};
use crate::nn::init::Init;
use crate::nn::params::Spec;
use crate::ops::{draw::Draw, gauss_sample, global_norm};
use crate::run::checkpoint::{Named, Side};
use crate::tape::{Mode, Tape, Var};
use crate::tensor::{Readback, Tensor};
use crate::train::optimizer::{Optimizer, Rates};
use crate::train::recorder::{Next, Recorder};
use crate::{Error, Result};

/// One step: each term that it has and their weighted sum, and the norm of the gradient before
/// clipping.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    pub losses: Vec<(&'static str, f64)>,
    pub grad_norm: f64,
}

/// Name of the weighted sum among the losses.
pub const TOTAL: &str = "loss";

/// A model that is trained, or was.
struct Trainee {
    model: Box<dyn Autoencoder>,
    optimizer: Optimizer,
    recorder: Recorder,
    weights: Weights,
    /// Noise: of the latent that is decoded, and of the latent term's.
    eps: Vec<Tensor>, // (B, Z)
    /// Updates by this process; 0: none yet.
    updates: u64,
}

pub struct Trainer {
    options: Options,
    device: Device,
    teacher: Option<Trainee>,
    student: Trainee,
    /// Random and not trained.
    projector: Option<Tensor>,
    vgg: Option<Vgg>,
    input: Input,
    losses: Tensor,  // (5)
    results: Tensor, // losses, then the guard
    readback: Readback,
}

/// Streams of the initialiser, far from each other and from any parameter's number.
const TEACHER_SEED: u64 = 1 << 40;
const PROJECTOR_STREAM: u64 = 1 << 33;

/// Sites of the noise.
const TEACHER_SITE: u32 = 0;
const STUDENT_SITE: u32 = 1;

impl Trainer {
    pub fn new(device: &Device, options: Options) -> Result<Self> {
        let workspace =
            |shape: &[usize]| Tensor::zeros(device, DType::F32, shape, Purpose::Workspace);
        let results = workspace(&[TERMS.len() + global_norm::GUARD])?;
        let guard = results.view(TERMS.len(), [global_norm::GUARD])?;
        let trainee = |model: Box<dyn Autoencoder>, draws: usize, weights| -> Result<Trainee> {
            let shape = [options.batch_size, model.latent()];
            let eps = (0..draws).map(|_| workspace(&shape)).collect::<Result<_>>()?;
            let settings = options.optimizer;
            let optimizer = Optimizer::new(device, model.params(), settings, guard.clone())?;
            let recorder = Recorder::default();
            Ok(Trainee { model, optimizer, recorder, weights, eps, updates: 0 })
        };
        let mut extra = vec![];
        let (mut teacher, mut projector) = (None, None);
        if let Some(kind) = options.teacher {
            let seed = options.seed ^ TEACHER_SEED;
            let model = kind.build(device, &[], seed)?;
            teacher = Some(trainee(model, 1, options.teacher_weights)?);
            let (z, z_teacher) = (options.student.latent(), kind.latent());
            let init = Init::xavier(z, z_teacher);
            match options.projector_is_trained {
                true => extra.push(Spec::new(PROJECTOR, [z, z_teacher], init)),
                false => {
                    let values = init.values(z * z_teacher, options.seed, PROJECTOR_STREAM);
                    let fixed =
                        Tensor::from_slice(device, &values, [z, z_teacher], Purpose::Weights);
                    projector = Some(fixed?);
                }
            }
        }
        let model = options.student.build(device, &extra, options.seed)?;
        let vgg = options.vgg.as_deref().map(|path| vgg_file::load(device, path)).transpose()?;
        Ok(Self {
            student: trainee(model, 2, options.student_weights)?,
            teacher,
            projector,
            vgg,
            input: Input::new(device, options.batch_size)?,
            losses: results.view(0, [TERMS.len()])?,
            readback: Readback::new(results.clone())?,
            results,
            device: device.clone(),
            options,
        })
    }

    /// A step on a device without memory.
    pub(super) fn dry_run(&self, side: Side) -> Result<()> {
        self.run(side, Tape::new)
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The teacher is an error where there is none.
    pub fn model(&self, side: Side) -> Result<&dyn Autoencoder> {
        Ok(&*self.trainee(side)?.model)
    }

    /// Means and logarithms of variances of the latents of any number of images in [0, 1], as in
    /// evaluation.
    pub fn encode(&self, side: Side, x: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let model = self.model(side)?;
        let shape = [x.len() / IMAGE_ELEMS, CHANNELS, SIDE, SIDE];
        let x = Tensor::from_slice(&self.device, x, shape, Purpose::Activations)?;
        let (mut tape, p) = (Tape::no_grad(&self.device), model.params().constants()?);
        let x = Var::constant(x);
        let [mu, log_var] = model.encode(&mut tape, &p, Norms::Evaluation, &x)?;
        Ok((mu.tensor.download()?, log_var.tensor.download()?))
    }

    /// Images of latents, as in evaluation.
    pub fn decode(&self, side: Side, z: &[f32]) -> Result<Vec<f32>> {
        let model = self.model(side)?;
        let shape = [z.len() / model.latent(), model.latent()];
        model.images(&Tensor::from_slice(&self.device, z, shape, Purpose::Activations)?)?.download()
    }

    /// Everything that a bit-exact continuation needs besides the number of steps, by name:
    /// `student.` and `teacher.` before the official names, then the moments. Write to these
    /// tensors to load a checkpoint.
    pub fn state(&self) -> Result<Vec<Named>> {
        let mut all = vec![];
        for side in [Side::Student, Side::Teacher] {
            let Ok(trainee) = self.trainee(side) else { continue };
            if trainee.updates > 0 {
                trainee.model.running().set_batches(trainee.updates)?;
            }
            let mut tensors = trainee.model.tensors()?;
            tensors.extend(trainee.optimizer.state(trainee.model.params())?);
            all.extend(tensors.into_iter().map(|(name, t)| (format!("{}.{name}", side.name()), t)));
        }
        let student = Side::Student.name();
        all.extend(self.projector.iter().map(|t| (format!("{student}.{PROJECTOR}"), t.clone())));
        Ok(all)
    }

    fn trainee(&self, side: Side) -> Result<&Trainee> {
        match side {
            Side::Student => Ok(&self.student),
            Side::Teacher => self.teacher.as_ref().ok_or_else(no_teacher),
        }
    }

    fn trainee_mut(&mut self, side: Side) -> Result<&mut Trainee> {
        match side {
            Side::Student => Ok(&mut self.student),
            Side::Teacher => self.teacher.as_mut().ok_or_else(no_teacher),
        }
    }

    /// One step: the teacher's has reconstruction and KL, the student's all terms that the
    /// configuration has. `x` (B, 3, 32, 32); `step` counts the updates of this side from 1. A loss
    /// or gradient that is not finite is an error and leaves weights, moments and running
    /// statistics as they were.
    pub fn step(&mut self, side: Side, x: &[u8], step: u64, lr: f64) -> Result<StepReport> {
        let b = self.options.batch_size;
        if x.len() != b * IMAGE_ELEMS {
            return Err(Error::invalid(format!(
                "a step takes {b} images of {IMAGE_ELEMS} bytes, not {} bytes",
                x.len()
            )));
        }
        let trainee = self.trainee(side)?;
        let factors = trainee.optimizer.factors(Rates { lr, ..Rates::default() }, step);
        let weights = trainee.weights;
        let draw = Draw { seed: self.options.seed, number: step };
        self.input.send(x, draw, factors, weights)?;
        let mut recorder = std::mem::take(&mut self.trainee_mut(side)?.recorder);
        match recorder.next(&self.device) {
            Next::Run => self.run(side, Tape::new)?,
            Next::Record => {
                let graph = self.device.capture(|| self.run(side, Tape::new))?;
                recorder.replay(graph)?;
            }
            Next::Replayed(result) => result?,
        }
        recorder.ran(&self.device);
        self.trainee_mut(side)?.recorder = recorder;
        self.readback.start()?;
        let results = self.readback.collect::<f32>()?.expect("a copy was started");
        let (losses, guard) = results.split_at(TERMS.len());
        if guard[2] == 0.0 {
            return Err(self.non_finite(side, step));
        }
        self.trainee_mut(side)?.updates = step;
        let has = self.terms_of(side);
        let mut report = StepReport { losses: vec![], grad_norm: guard[0] as f64 };
        let mut total = 0.0;
        for i in (0..TERMS.len()).filter(|&i| has[i]) {
            report.losses.push((TERMS[i], losses[i] as f64));
            total += weights[i] * losses[i] as f64;
        }
        report.losses.insert(0, (TOTAL, total));
        Ok(report)
    }

    /// Which of [`TERMS`] a step has.
    fn terms_of(&self, side: Side) -> [bool; TERMS.len()] {
        let (of_student, taught) = (side == Side::Student, self.teacher.is_some());
        let perceptual = of_student && self.features().is_some();
        [true, true, of_student && taught, of_student && taught, perceptual]
    }

    fn features(&self) -> Option<Features<'_>> {
        if self.options.student_weights[TERMS.len() - 1] == 0.0 {
            return None;
        }
        match (&self.vgg, &self.teacher) {
            (Some(vgg), _) => Some(Features::Vgg(vgg)),
            (None, Some(teacher)) => Some(Features::Of(&*teacher.model)),
            (None, None) => None,
        }
    }

    /// A step on the input that is there. Nothing in it depends on values of the host, so that it
    /// can be recorded.
    fn run(&self, side: Side, tape: impl Fn(&Device) -> Tape) -> Result<()> {
        self.run_backward(side, tape)?;
        let trainee = self.trainee(side)?;
        let params = trainee.model.params();
        trainee.optimizer.step(params, None, &self.losses, &self.input.factors)?;
        let guard = self.results.view(TERMS.len(), [global_norm::GUARD])?;
        trainee.model.running().follow(&guard)
    }

    fn run_backward(&self, side: Side, tape: impl Fn(&Device) -> Tape) -> Result<()> {
        let trainee = self.trainee(side)?;
        let site = if side == Side::Teacher { TEACHER_SITE } else { STUDENT_SITE };
        for (eps, site) in trainee.eps.iter().zip(site..) {
            gauss_sample::draw(eps, site, &self.input.draw)?;
        }
        let mut tape = tape(&self.device);
        let p = trainee.model.params().bind(&mut tape, Mode::Set)?;
        let (model, x) = (&*trainee.model, &self.input.x);
        let terms: Terms = match side {
            Side::Teacher => teacher_terms(&mut tape, model, &p, x, &trainee.eps[0])?,
            Side::Student => {
                let projector = self.projector.as_ref();
                let teacher = self.teacher.as_ref();
                let teacher = teacher.map(|t| Teacher { model: &*t.model, projector });
                let eps = [&trainee.eps[0], &trainee.eps[1]];
                let features = self.features();
                student_terms(&mut tape, model, &p, teacher.as_ref(), features, x, eps)?
            }
        };
        self.losses.zero()?;
        terms.store(&self.losses)?;
        terms.backward(tape, &self.input.weights)?;
        Ok(())
    }

    /// Replay the failed step with every op's output checked, to name the first bad one.
    fn non_finite(&self, side: Side, step: u64) -> Error {
        let what = match self.run_backward(side, |device| Tape::new(device).checking_finite()) {
            Err(e) => e.to_string(),
            Ok(()) => "loss or gradient is not finite".into(),
        };
        Error::NonFinite { step, what }
    }
}

fn no_teacher() -> Error {
    Error::invalid("this run has no teacher (model.teacher=none)")
}
