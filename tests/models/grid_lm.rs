//! The grid model: read token by token it says what it says of a whole sequence, rows do not know
//! of each other, and what it learns it writes.

use hrm::backend::{Device, DeviceKind, Purpose};
use hrm::data::canvas::{Placement, encode};
use hrm::data::vocab::IGNORE;
use hrm::data::{Batch, BatchOptions, Grid, Pair, Sequence};
use hrm::dtype::DType;
use hrm::eval::{Answer, Evaluator, Halt, Row};
use hrm::models::decode::Next;
use hrm::models::grid_lm::{Config, Recompute};
use hrm::models::{Carry, Compute, DeviceBatch, Model, ModelShape, Sizes, Workspace};
use hrm::ops::draw::Draw;
use hrm::rng::{Rng, Stream};
use hrm::sequence::VOCABULARY;
use hrm::tape::{Mode, Tape};
use hrm::tensor::Tensor;
use hrm::train::optimizer::{OptimizerConfig, Rates, Rule};
use hrm::train::trainer::{Options, Trainer};

use crate::common::compare::{assert_close, widen};
use crate::common::devices::devices;

const SIDE: usize = 4;
const SIZES: Sizes =
    Sizes { batch_size: 3, seq_len: SIDE * SIDE, vocab_size: 12, num_puzzle_ids: 24 };

fn config(dropout: f64) -> Config {
    Config { hidden_size: 32, num_heads: 2, layers: 2, expansion: 2.5, dropout }
}

fn pairs() -> Vec<Pair> {
    let mut rng = Rng::new(1, Stream::Test, 0);
    let mut grid = |h, w| Grid::from_fn(h, w, |_, _| rng.below(10) as u8);
    [(2, 3, 1, 4), (4, 4, 4, 4), (1, 1, 3, 2)]
        .map(|(h, w, h2, w2)| Pair { input: grid(h, w), output: grid(h2, w2) })
        .into()
}

/// Pairs under the conditions 9, 2 and 17, in slots with some room to spare.
fn batch(pairs: &[Pair]) -> (Batch, Vec<usize>) {
    let mut batch = Batch { real_rows: pairs.len(), ..Batch::default() };
    let mut rooms = vec![];
    for ((pair, id), spare) in pairs.iter().zip([9, 2, 17]).zip([3, 0, 1]) {
        let sequence = Sequence::of_pair(pair, SIDE);
        rooms.push(sequence.tokens.len() + spare);
        batch.push_sequence(&sequence, id, rooms[rooms.len() - 1]).unwrap();
    }
    (batch, rooms)
}

fn carry(model: &dyn Model, batch: &Batch, rooms: &[usize]) -> (Carry, DeviceBatch) {
    let carry = Carry::packed(model, rooms).unwrap();
    let device_batch = DeviceBatch::packed(model.device(), &carry.layout).unwrap();
    device_batch.upload(&batch.inputs, &batch.labels, &batch.puzzle_ids).unwrap();
    let placed = device_batch.placed.as_ref().unwrap();
    placed.lengths.upload(&batch.lengths).unwrap();
    placed.places.upload(&batch.cells).unwrap();
    (carry, device_batch)
}

/// Logits (T, V) of each row, and the gradient of the loss.
fn train(
    model: &dyn Model,
    batch: &Batch,
    rooms: &[usize],
    of: usize,
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (carry, device_batch) = carry(model, batch, rooms);
    let space = Workspace::of_rows(model, rooms.len(), of).unwrap();
    let words = Draw { seed: 1, number: 0 }.words();
    let draw = Tensor::from_slice(model.device(), &words, [words.len()], Purpose::Workspace);
    let tape = Tape::new(model.device());
    let out = model
        .train_segment(tape, &carry, &device_batch, &space, &draw.unwrap(), Mode::Set)
        .unwrap();
    let logits = widen(&out.logits.to_f32s().unwrap());
    let mut start = 0;
    let rows = rooms.iter().zip(&batch.lengths).map(|(room, &length)| {
        let own = &logits[start * VOCABULARY..][..length as usize * VOCABULARY];
        start += room;
        own.to_vec()
    });
    (rows.collect(), widen(&model.params().grad.to_f32s().unwrap()))
}

fn build(device: &Device, dtype: DType, config: Config) -> Box<dyn Model> {
    let compute = Compute { dtype, seed: 5, ..Compute::default() };
    ModelShape::new(config, SIZES).build(device, compute).unwrap()
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F32 { 2e-5 } else { 3e-2 }
}

#[test]
fn a_row_is_in_a_batch_what_it_is_alone() {
    for (name, device) in devices() {
        for dtype in [DType::F32, DType::Bf16] {
            let model = build(&device, dtype, config(0.0));
            let (all, rooms) = batch(&pairs());
            let (together, gradient) = train(&*model, &all, &rooms, 3);
            let mut sum = vec![0.0; gradient.len()];
            for (i, pair) in pairs().iter().enumerate() {
                let mut one = Batch { real_rows: 1, ..Batch::default() };
                let sequence = Sequence::of_pair(pair, SIDE);
                one.push_sequence(&sequence, all.puzzle_ids[i] as u32, sequence.tokens.len())
                    .unwrap();
                let (alone, gradient) = train(&*model, &one, &[sequence.tokens.len()], 3);
                let what = format!("{name} {dtype}: logits of row {i}");
                assert_close(&what, &together[i], &alone[0], tolerance(dtype));
                sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
            }
            assert_close(&format!("{name} {dtype}: gradient"), &gradient, &sum, tolerance(dtype));
        }
    }
}

#[test]
fn what_runs_again_in_backward_changes_no_bit() {
    for (_, device) in devices() {
        let (all, rooms) = batch(&pairs());
        let run = |recompute| {
            let compute = Compute { recompute, seed: 5, ..Compute::default() };
            let model = ModelShape::new(config(0.25), SIZES).build(&device, compute).unwrap();
            train(&*model, &all, &rooms, 3)
        };
        assert_eq!(run(Recompute::None), run(Recompute::Layer));
    }
}

/// Sequences of several lengths, one idle at times, each at its own pace.
#[test]
fn read_token_by_token_it_says_what_it_says_of_the_whole() {
    for (name, device) in devices() {
        for dtype in [DType::F32, DType::Bf16] {
            let model = build(&device, dtype, config(0.0));
            let (all, rooms) = batch(&pairs());
            let (whole, _) = train(&*model, &all, &rooms, 3);
            let decoder = model.decoder().unwrap();
            let memory = decoder.memory(3).unwrap();
            let sequences: Vec<Sequence> =
                pairs().iter().map(|pair| Sequence::of_pair(pair, SIDE)).collect();
            let mut read = [0; 3];
            for step in 0.. {
                let has_more = |r: usize| read[r] < sequences[r].tokens.len();
                let goes_on = [0, 1, 2].map(|r| has_more(r) && !(r == 1 && step % 3 == 0));
                if !(0..3).any(has_more) {
                    break;
                }
                let of = |part: &dyn Fn(&Sequence, usize) -> i32, idle: i32| {
                    [0, 1, 2].map(|r| if goes_on[r] { part(&sequences[r], read[r]) } else { idle })
                };
                let next = Next {
                    tokens: &of(&|s, i| s.tokens[i], 0),
                    places: &of(&|s, i| s.places[i], 0),
                    conditions: &all.puzzle_ids,
                    lengths: &of(&|_, i| i as i32, -1),
                };
                let logits = decoder.read(&memory, &next).unwrap();
                let logits = widen(&logits.to_f32s().unwrap());
                for r in (0..3).filter(|r| goes_on[*r]) {
                    let want = &whole[r][read[r] * VOCABULARY..][..VOCABULARY];
                    let got = &logits[r * VOCABULARY..][..VOCABULARY];
                    let what = format!("{name} {dtype}: row {r} after {} tokens", read[r]);
                    assert_close(&what, got, want, tolerance(dtype));
                    read[r] += 1;
                }
            }
        }
    }
}

/// Several at a time, in whatever rows of the cache, after whatever was in them before.
#[test]
fn an_answer_depends_on_its_question_alone() {
    for (name, device) in devices().into_iter().filter(|(_, d)| d.kind() == DeviceKind::Cpu) {
        let model = build(&device, DType::F32, config(0.0));
        let mut questions = vec![];
        for round in 0..3 {
            for (pair, id) in pairs().iter().zip([9, 2, 17]) {
                let inputs = on_canvas(if round == 1 { &pair.output } else { &pair.input });
                let labels = if round == 2 { on_canvas(&pair.output) } else { vec![IGNORE; 16] };
                questions.push(Row { inputs, labels, puzzle_id: id + round, window: None });
            }
        }
        let ask = |at_once: usize, rows: &[Row]| {
            let mut answers = vec![None; rows.len()];
            let each = |number: usize, answer: Answer| {
                assert!(answers[number].replace(answer).is_none(), "{name}: {number} came twice");
                Ok(())
            };
            let asked = rows.iter().cloned().map(Ok);
            Evaluator::new(&*model, at_once).answer(&*model, asked, Halt::Last, each).unwrap();
            answers.into_iter().map(Option::unwrap).collect::<Vec<_>>()
        };
        let alone = ask(1, &questions);
        for at_once in [2, 4, 9, 100] {
            assert_eq!(ask(at_once, &questions), alone, "{name}: {at_once} at once");
        }
        questions.reverse();
        let mut turned = ask(3, &questions);
        turned.reverse();
        assert_eq!(turned, alone, "{name}: backwards");
    }
}

/// Many answers that end at one step: the forward over what was expected takes no more memory than
/// planned.
#[test]
fn answers_that_end_together_take_what_is_planned() {
    for (name, device) in devices() {
        let model = build(&device, DType::F32, config(0.0));
        let before = device.usage().now_total_bytes();
        let asked = 300;
        let evaluator = Evaluator::new(&*model, asked);
        evaluator.dry_run(&*model).unwrap();
        let planned = device.usage().peak_total_bytes();
        assert!(planned > before, "{name}");
        let row = Row {
            inputs: on_canvas(&pairs()[1].input),
            labels: on_canvas(&pairs()[1].output),
            puzzle_id: 9,
            window: None,
        };
        let mut answered = 0;
        let rows = (0..asked).map(|_| Ok(row.clone()));
        let count = |_, _| {
            answered += 1;
            Ok(())
        };
        evaluator.answer(&*model, rows, Halt::Last, count).unwrap();
        assert_eq!(answered, asked, "{name}");
        assert_eq!(device.usage().peak_total_bytes(), planned, "{name}: more than planned");
    }
}

#[test]
fn questions_that_are_none_are_refused() {
    for (_, device) in devices() {
        let model = build(&device, DType::F32, config(0.0));
        let row = |inputs: Vec<i32>, puzzle_id| Row {
            inputs,
            labels: vec![IGNORE; 16],
            puzzle_id,
            window: None,
        };
        let grid = on_canvas(&pairs()[0].input);
        for (row, what) in [
            (row(vec![0; 16], 1), "its input is no ARC grid"),
            (row(grid.clone(), 24), "puzzle id 24"),
            (row(grid[1..].to_vec(), 1), "input has 15 tokens"),
        ] {
            let asked = std::iter::once(Ok(row));
            let evaluator = Evaluator::new(&*model, 1);
            let error = evaluator.answer(&*model, asked, Halt::Last, |_, _| Ok(())).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}

fn on_canvas(grid: &Grid) -> Vec<i32> {
    encode(grid, Placement::default(), SIDE).unwrap()
}

/// Three pairs by heart, in f32 and by NorMuon; more questions than there is room for at a time.
#[test]
fn what_was_learnt_is_written() {
    for (name, device) in devices() {
        let muon = hrm::ops::normuon::Hyper { momentum: 0.95, beta2: 0.95 };
        let options = Options {
            dtype: DType::F32,
            recompute: Recompute::None,
            grad_accum: 1,
            optimizer: OptimizerConfig {
                rule: Rule::NorMuon(muon),
                beta1: 0.9,
                beta2: 0.95,
                weight_decay: 0.0,
                puzzle_emb_weight_decay: 0.0,
                clip: 1.0,
                ema: 0.0,
            },
            seed: 0,
        };
        let (all, rooms) = batch(&pairs());
        let lengths =
            hrm::data::Lengths::from_weights(rooms.iter().map(|&room| (room, 1.0)).collect());
        let mut slots = lengths.slots(3);
        slots.sort_unstable_by(|a, b| b.cmp(a));
        let shape =
            ModelShape::new(config(0.0), SIZES).with_lengths(Some(std::sync::Arc::new(lengths)));
        let mut trainer = Trainer::new(&device, &shape, options).unwrap();
        let mut longest_first: Vec<(Pair, i32)> =
            pairs().into_iter().zip(all.puzzle_ids.iter().copied()).collect();
        longest_first
            .sort_by_key(|(pair, _)| std::cmp::Reverse(Sequence::of_pair(pair, SIDE).tokens.len()));
        let mut sorted = Batch { real_rows: 3, ..Batch::default() };
        for ((pair, id), &slot) in longest_first.iter().zip(&slots) {
            sorted.push_sequence(&Sequence::of_pair(pair, SIDE), *id as u32, slot).unwrap();
        }
        let steps = if device.kind() == DeviceKind::Cpu { 60 } else { 25 };
        let rates = Rates { lr: 1e-2, muon_lr: 2e-2, puzzle_emb_lr: 0.0 };
        for _ in 0..steps {
            trainer.step(vec![sorted.clone()], rates).unwrap();
        }
        let row = |number: usize, labelled: bool| {
            let (pair, id) = &longest_first[number % 3];
            let on_canvas =
                |grid| hrm::data::canvas::encode(grid, Default::default(), SIDE).unwrap();
            let pad = BatchOptions::default().pad_label();
            let labels = on_canvas(&pair.output).into_iter().map(|t| match labelled && t != 0 {
                true => t,
                false => pad,
            });
            let (inputs, labels) = (on_canvas(&pair.input), labels.collect());
            Row { inputs, labels, puzzle_id: *id, window: None }
        };
        let evaluator = Evaluator::new(&*trainer.model, 2);
        let questions = 5;
        let mut answered = vec![];
        let rows = (0..questions).map(|number| Ok(row(number, number < 3)));
        evaluator
            .answer(&*trainer.model, rows, Halt::Last, |number, answer| {
                let tokens: Vec<i32> = answer.tokens.iter().map(|&t| t as i32).collect();
                let (grid, _) = hrm::data::canvas::locate(&tokens, SIDE).expect("a grid");
                if device.kind() == DeviceKind::Cpu {
                    assert_eq!(grid, longest_first[number % 3].0.output, "{name}: row {number}");
                    assert!(answer.q[0] > 0.0, "{name}: row {number} by q {}", answer.q[0]);
                }
                answered.push(number);
                Ok(())
            })
            .unwrap();
        answered.sort_unstable();
        assert_eq!(answered, (0..questions).collect::<Vec<_>>(), "{name}");
    }
}
