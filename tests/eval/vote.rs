//! Votes against the definition, written out: on random ballots full of ties.

use hrm::data::Grid;
use hrm::eval::{Ballots, Candidate};
use hrm::rng::{Rng, Stream};

fn grid(colour: u64) -> Grid {
    Grid::new(1, 2, vec![colour as u8, 0]).unwrap()
}

fn sigmoid(q: f64) -> f64 {
    1.0 / (1.0 + (-q).exp())
}

/// Whether `a` goes before `b`, first cast `i` and `j`.
fn before((a, i): (&Candidate, usize), (b, j): (&Candidate, usize)) -> bool {
    a.votes > b.votes
        || (a.votes == b.votes && (a.q_halt > b.q_halt || (a.q_halt == b.q_halt && i < j)))
}

#[test]
fn no_ballot_no_candidate() {
    assert!(Ballots::default().ranked().is_empty());
}

#[test]
fn votes_then_belief_then_first_cast() {
    let mut ballots = Ballots::default();
    for (colour, q) in [(4, 0.0), (1, 9.0), (3, 0.0), (2, -1.0), (2, -1.0), (5, 0.0)] {
        ballots.cast(grid(colour), q);
    }
    let ranked = ballots.ranked();
    let grids: Vec<_> = ranked.iter().map(|c| c.grid.at(0, 0)).collect();
    assert_eq!(grids, [2, 1, 4, 3, 5]);
    assert_eq!((ranked[0].votes, ranked[0].q_halt), (2, sigmoid(-1.0)));
}

#[test]
fn grids_of_the_same_cells_and_another_shape_are_other_answers() {
    let mut ballots = Ballots::default();
    ballots.cast(Grid::new(1, 2, vec![1, 2]).unwrap(), 0.0);
    ballots.cast(Grid::new(2, 1, vec![1, 2]).unwrap(), 0.0);
    assert_eq!(ballots.ranked().len(), 2);
}

#[test]
fn random_ballots_agree_with_the_definition() {
    let mut rng = Rng::new(3, Stream::Test, 0);
    let (mut votes_tied, mut all_tied) = (0, 0);
    for _ in 0..500 {
        let casts: Vec<(u64, f64)> = (0..1 + rng.below(8))
            .map(|_| (rng.below(4) as u64, rng.below(3) as f64 - 1.0))
            .collect();
        let mut ballots = Ballots::default();
        casts.iter().for_each(|&(colour, q)| ballots.cast(grid(colour), q));
        let ranked = ballots.ranked();
        let first = |c: &Candidate| casts.iter().position(|&(x, _)| grid(x) == c.grid).unwrap();
        for c in &ranked {
            let qs: Vec<_> =
                casts.iter().filter(|(x, _)| grid(*x) == c.grid).map(|(_, q)| *q).collect();
            assert_eq!(c.votes as usize, qs.len());
            let mean = qs.iter().map(|&q| sigmoid(q)).sum::<f64>() / qs.len() as f64;
            assert_eq!(c.q_halt, mean);
        }
        assert_eq!(ranked.iter().map(|c| c.votes as usize).sum::<usize>(), casts.len());
        for pair in ranked.windows(2) {
            let [a, b] = pair else { unreachable!() };
            assert!(before((a, first(a)), (b, first(b))), "{casts:?}: {ranked:?}");
            votes_tied += (a.votes == b.votes) as u32;
            all_tied += (a.votes == b.votes && a.q_halt == b.q_halt) as u32;
        }
    }
    assert!(votes_tied > 100 && all_tied > 50, "{votes_tied} and {all_tied} ties: too few");
}
