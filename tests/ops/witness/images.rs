use hrm::dtype::DType;
use hrm::ops::batch_norm::{self, Affine, How, Statistics};
use hrm::ops::conv_transpose2d::{self, ConvTranspose2d};
use hrm::ops::conv2d::{self, Conv2d};
use hrm::ops::layout::Layout;
use hrm::ops::{depthwise_conv2d, gauss_sample, kl_gauss, max_pool2d, state_noise};

use super::{Case, Witness};

fn how(case: &Case) -> Conv2d {
    Conv2d { stride: case.int("stride"), padding: case.int("padding") }
}

pub const ALL: &[Witness] = &[
    Witness::gradient("batch_norm", |case, tape, x| {
        let (affine, relu) = (Affine { gain: &x[1], bias: &x[2] }, case.flag("relu"));
        if !case.flag("training") {
            let running = Statistics { mean: case.f32s("mean"), var: case.f32s("var") };
            let how = How::Evaluation { running: &running };
            return batch_norm::forward(tape, &x[0], affine, how, relu);
        }
        let room = |what| case.room(what, DType::F32);
        let seen = Statistics { mean: room("seen_mean"), var: room("seen_var") };
        let y = batch_norm::forward(tape, &x[0], affine, How::Training { seen: &seen }, relu)?;
        case.check("seen_mean", &seen.mean);
        case.check("seen_var", &seen.var);
        Ok(y)
    }),
    Witness::gradient("conv2d", |case, tape, x| {
        conv2d::forward(tape, &x[0], &x[1], x.get(2), how(case))
    }),
    Witness::gradient("conv_transpose2d", |case, tape, x| {
        let Conv2d { stride, padding } = how(case);
        let how = ConvTranspose2d { stride, padding, output_padding: case.int("output_padding") };
        conv_transpose2d::forward(tape, &x[0], &x[1], x.get(2), how)
    }),
    Witness::gradient("depthwise_conv2d", |case, tape, x| {
        depthwise_conv2d::forward(tape, &x[0], &x[1], &x[2], how(case))
    }),
    Witness::gradient("max_pool2d", |_, tape, x| max_pool2d::forward(tape, &x[0])).exact(),
    Witness::gradient("gauss_sample", |case, tape, x| {
        gauss_sample::forward(tape, &x[0], &x[1], &case.f32s("eps"))
    }),
    Witness::direct("gauss_sample::draw", |case| {
        let eps = case.room("y", DType::F32);
        gauss_sample::draw(&eps, case.int("site") as u32, &case.ints("draw"))?;
        case.check("y", &eps);
        Ok(())
    }),
    Witness::direct("state_noise::add", |case| {
        let z = case.f32s("z");
        let layout = Layout::of(&z, 0)?;
        state_noise::add(&z, &case.ints("draws"), &case.f32s("sigma"), &layout)?;
        case.check("y", &z);
        Ok(())
    }),
    Witness::gradient("kl_gauss", |_, tape, x| kl_gauss::forward(tape, &x[0], &x[1])),
];
