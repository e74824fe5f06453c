//! The runner with a small untrained model.

use hrm::backend::Device;
use hrm::data::{DataSet, RowLayout};
use hrm::eval::run::check_data;
use hrm::eval::{self, Answers, Evaluator, Halt, Request};
use hrm::io::progress::Progress;
use hrm::models::hrm::{Config, Hrm};
use hrm::models::{Compute, Configuration, Model, Sizes};
use hrm::ops::act_halt::metric;

use super::fixture::{CANVAS, arc, random_tasks};

pub fn config(data: &DataSet, batch_size: usize) -> (Config, Sizes) {
    let config = Config {
        hidden_size: 32,
        num_heads: 2,
        h_layers: 1,
        l_layers: 1,
        puzzle_emb_ndim: 32,
        halt_max_steps: 3,
        ..Config::default()
    };
    let (vocab_size, num_puzzle_ids) = (data.vocab_size(), data.num_puzzle_ids());
    (config, Sizes { batch_size, seq_len: CANVAS * CANVAS, vocab_size, num_puzzle_ids })
}

/// All segments, quietly.
pub fn all<'a>(data: &'a DataSet, examples: &'a [u32]) -> Request<'a> {
    let (halt, progress) = (Halt::Last, Progress::Quiet);
    Request { data, split: "test", examples, layout: RowLayout::Padded, halt, progress }
}

pub fn model((config, sizes): (Config, Sizes)) -> Hrm {
    Hrm::new(&Device::cpu(), config, sizes, Compute { seed: 5, ..Compute::default() }).unwrap()
}

#[test]
fn answers_do_not_depend_on_the_batch_and_repeat_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(1, 4));
    let examples = eval::select(&data, "test", 0).unwrap();
    let two = model(config(&data, 2));
    let evaluator = Evaluator::new(&two, usize::MAX);
    let run = |stop: bool| evaluator.run(&two, all(&data, &examples), None, || stop).unwrap();
    let (first, again) = (run(false).unwrap(), run(false).unwrap());
    assert!(run(true).is_none());
    assert_eq!((&first.tokens, &first.q, first.sums()), (&again.tokens, &again.q, again.sums()));
    // 14 examples in batches of 5: the last one is filled up with blank rows.
    let five = model(config(&data, 5));
    let other = eval::evaluate(&five, all(&data, &examples)).unwrap();
    assert_eq!(first.tokens, other.tokens);
    assert_eq!(other.tokens.len(), examples.len() * other.seq_len);
    assert_eq!(other.sums()[metric::COUNT], examples.len() as f64);
    assert!((first.loss() - other.loss()).abs() < 1e-4 * first.loss());
}

/// The device's own sums and the scorer look at the same answers by different code.
#[test]
fn official_sums_agree_with_the_scorer() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(2, 6));
    let examples = eval::select(&data, "test", 0).unwrap();
    let model = model(config(&data, 4));
    let out = eval::evaluate(&model, all(&data, &examples)).unwrap();
    let scored = eval::score(&data, "test", &examples, Answers::Rows(&out.tokens)).unwrap();
    let difference = out.mean(metric::ACCURACY) - scored.scores.token_accuracy_not_pad;
    assert!(difference.abs() < 1e-6, "{difference}");
    assert_eq!(out.mean(metric::STEPS), 3.0);
    assert_eq!(out.mean_steps(), 3.0);
    // The Q head starts at zero weights: q_halt > q_continue never holds.
    assert_eq!(out.mean_halt_steps(), 3.0);
}

#[test]
fn a_model_that_wants_to_halt_is_recorded_and_still_runs_all_segments() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(2, 2));
    let model = model(config(&data, 2));
    model
        .params()
        .part(&model.params().master, "q_head.bias")
        .unwrap()
        .upload(&[1.0f32, -1.0])
        .unwrap();
    model.refresh().unwrap();
    let out = eval::evaluate(&model, all(&data, &[0, 1, 2])).unwrap();
    assert_eq!(out.halt_steps, [1, 1, 1]);
    assert_eq!(out.mean(metric::STEPS), 3.0);
    assert_eq!(out.q, [[1.0, -1.0]; 3]);
}

#[test]
fn an_answer_that_is_not_finite_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(1, 2));
    for bad in [f32::NAN, f32::INFINITY] {
        let model = model(config(&data, 2));
        let head = model.params().part(&model.params().master, "lm_head.weight").unwrap();
        head.write::<f32>().unwrap()[7] = bad;
        model.refresh().unwrap();
        let error = eval::evaluate(&model, all(&data, &[1, 0])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("output for example 1 of split test is not finite"), "{error}");
    }
}

#[test]
fn data_of_another_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(1, 2));
    let (config, mine) = config(&data, 2);
    let digest = data.digest();
    check_data(&config.dims(mine), Some(&digest), &data).unwrap();
    check_data(&config.dims(mine), None, &data).unwrap();
    let refusal = |sizes: Sizes, digest: &str| {
        check_data(&config.dims(sizes), Some(digest), &data).unwrap_err().to_string()
    };
    let wide = refusal(Sizes { seq_len: 900, ..mine }, &digest);
    assert!(wide.contains("canvas cells 25, but the model has 900"), "{wide}");
    let words = refusal(Sizes { vocab_size: 11, ..mine }, &digest);
    assert!(words.contains("vocabulary 12, but the model has 11"), "{words}");
    let ids = refusal(Sizes { num_puzzle_ids: 9, ..mine }, &digest);
    assert!(ids.contains("5 puzzle ids, but the model has embeddings for 9"), "{ids}");
    let other = refusal(mine, "0123");
    assert!(other.contains("trained on data with digest 0123"), "{other}");
    // Without puzzle embeddings a model knows no puzzle: any data of its vocabulary and canvas will
    // do.
    let without_table = Config { puzzle_emb_ndim: 0, ..config.clone() }.dims(mine);
    check_data(&without_table, Some("0123"), &data).unwrap();
    // The runner itself does not trust its caller.
    let model = model((config, Sizes { num_puzzle_ids: 9, ..mine }));
    assert!(eval::evaluate(&model, all(&data, &[0])).is_err());
}

#[test]
fn an_interrupted_evaluation_goes_on_and_ends_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(&dir.path().join("data"), &random_tasks(1, 4));
    let examples = eval::select(&data, "test", 0).unwrap();
    let model = model(config(&data, 2));
    let evaluator = Evaluator::new(&model, usize::MAX);
    let whole = evaluator.run(&model, all(&data, &examples), None, || false).unwrap().unwrap();
    let path = dir.path().join("saved");
    for halt in [Halt::Last, Halt::Early] {
        let request = Request { halt, ..all(&data, &examples) };
        let mut sittings = 0;
        let resumed = loop {
            sittings += 1;
            assert!(sittings < 20, "never ends");
            // Three more examples each time, as `stop` is asked before each of them.
            let asked = std::cell::Cell::new(0);
            let stop = || asked.replace(asked.get() + 1) == 3;
            let saved = Some((path.as_path(), if halt == Halt::Last { "a" } else { "b" }));
            if let Some(done) = evaluator.run(&model, request, saved, stop).unwrap() {
                break done;
            }
        };
        assert!(sittings > 3, "{sittings} sittings");
        assert_eq!((&resumed.tokens, &resumed.q), (&whole.tokens, &whole.q));
        assert_eq!(resumed.halt_steps, whole.halt_steps);
        if halt == Halt::Last {
            assert_eq!(resumed.metrics, whole.metrics);
        }
    }
}
