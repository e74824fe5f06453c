//! Boards of 4x4, 6x6 and 9x9 Sudoku: solving, generating, and the symmetries that keep a board
//! valid (digits relabelled, rows and columns within bands, bands, transposition of square boxes).

use std::sync::OnceLock;

use crate::rng::Rng;

/// Digits row by row, 0 is empty.
pub type Board = Vec<u8>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub n: usize,
    box_h: usize,
    box_w: usize,
}

impl Shape {
    pub fn new(n: usize) -> Option<Self> {
        let (box_h, box_w) = match n {
            4 => (2, 2),
            6 => (2, 3),
            9 => (3, 3),
            _ => return None,
        };
        Some(Self { n, box_h, box_w })
    }

    fn box_of(&self, r: usize, c: usize) -> usize {
        r / self.box_h * (self.n / self.box_w) + c / self.box_w
    }

    /// Every digit once in each row, column and box.
    pub fn is_solution(&self, board: &[u8]) -> bool {
        let mut search = Search::new(*self, board);
        board.len() == self.n * self.n && search.consistent && search.next_cell().is_none()
    }

    /// Number of solutions, counted up to 2.
    pub fn solutions(&self, board: &[u8]) -> usize {
        let mut search = Search::new(*self, board);
        if search.consistent { search.count(2, None) } else { 0 }
    }

    pub fn random_solution(&self, rng: &mut Rng) -> Board {
        let mut search = Search::new(*self, &vec![0; self.n * self.n]);
        search.count(1, Some(rng));
        search.board
    }

    /// Empties cells in random order while the solution stays unique and more than `clues` are
    /// left.
    pub fn dig(&self, solution: &[u8], clues: usize, rng: &mut Rng) -> Board {
        let mut board = solution.to_vec();
        let mut cells: Vec<usize> = (0..board.len()).collect();
        rng.shuffle(&mut cells);
        let mut left = board.len();
        for cell in cells {
            if left <= clues {
                break;
            }
            let digit = std::mem::take(&mut board[cell]);
            if self.solutions(&board) == 1 {
                left -= 1;
            } else {
                board[cell] = digit;
            }
        }
        board
    }

    pub fn random_symmetry(&self, rng: &mut Rng) -> Symmetry {
        let mut digits: Vec<u8> = (0..=self.n as u8).collect();
        rng.shuffle(&mut digits[1..]);
        let transpose = self.box_h == self.box_w && rng.below(2) == 1;
        let mut lines = |band: usize| {
            let mut bands: Vec<usize> = (0..self.n / band).collect();
            rng.shuffle(&mut bands);
            let mut order = vec![];
            for b in bands {
                let mut own: Vec<usize> = (b * band..(b + 1) * band).collect();
                rng.shuffle(&mut own);
                order.extend(own);
            }
            order
        };
        Symmetry { digits, transpose, rows: lines(self.box_h), columns: lines(self.box_w) }
    }

    /// A key that solutions share which symmetries turn into each other, and no others:
    /// the smallest board that any symmetry makes of it.
    ///
    /// Relabelling makes the first row 1, 2, ..., n; so it is enough to try every row as the
    /// first with every arrangement of the columns, and to sort what is left. The second row is
    /// the smallest of the first one's band, and decides most comparisons.
    pub fn canonical(&self, solution: &[u8]) -> Board {
        let n = self.n;
        let mut best = vec![u8::MAX; n * n];
        let mut board = vec![0; n * n];
        let flips: &[bool] = if self.box_h == self.box_w { &[false, true] } else { &[false] };
        for &flip in flips {
            let source: Board = match flip {
                true => (0..n * n).map(|i| solution[i % n * n + i / n]).collect(),
                false => solution.to_vec(),
            };
            for (first, order) in
                (0..n).flat_map(|r| self.column_orders().iter().map(move |o| (r, o)))
            {
                let mut label = [0; 10];
                for (k, &c) in order[..n].iter().enumerate() {
                    label[source[first * n + c as usize] as usize] = k as u8 + 1;
                }
                let seen = |r: usize, k: usize| label[source[r * n + order[k] as usize] as usize];
                let band = first / self.box_h * self.box_h;
                let others = (band..band + self.box_h).filter(|&r| r != first);
                let second = others.min_by_key(|&r| seen(r, 0)).unwrap_or(first);
                if (0..n).map(|k| seen(second, k)).gt(best[n..2 * n].iter().copied()) {
                    continue;
                }
                for (i, cell) in board.iter_mut().enumerate() {
                    *cell = seen(i / n, i % n);
                }
                self.sort_lines(&mut board);
                if board < best {
                    best.copy_from_slice(&board);
                }
            }
        }
        best
    }

    /// All orders of the columns that keep stacks together.
    fn column_orders(&self) -> &'static [[u8; 9]] {
        static ORDERS: [OnceLock<Vec<[u8; 9]>>; 10] = [const { OnceLock::new() }; 10];
        ORDERS[self.n].get_or_init(|| arrangements(self.n, self.box_w))
    }

    /// Rows within bands, then bands, in ascending order.
    fn sort_lines(&self, board: &mut [u8]) {
        let n = self.n;
        let row = |r: usize, board: &[u8]| -> [u8; 9] {
            let mut line = [0; 9];
            line[..n].copy_from_slice(&board[r * n..(r + 1) * n]);
            line
        };
        let mut bands: Vec<[[u8; 9]; 3]> = (0..n / self.box_h)
            .map(|b| {
                let mut band = [[u8::MAX; 9]; 3];
                for (k, line) in band[..self.box_h].iter_mut().enumerate() {
                    *line = row(b * self.box_h + k, board);
                }
                band[..self.box_h].sort_unstable();
                band
            })
            .collect();
        bands.sort_unstable();
        let lines = bands.iter().flat_map(|band| &band[..self.box_h]);
        for (target, line) in board.chunks_exact_mut(n).zip(lines) {
            target.copy_from_slice(&line[..n]);
        }
    }
}

/// All orders of n lines that keep bands of `band` lines together.
fn arrangements(n: usize, band: usize) -> Vec<[u8; 9]> {
    let inner = permutations(band);
    let mut orders = vec![];
    for bands in permutations(n / band) {
        let mut partial: Vec<[u8; 9]> = vec![[0; 9]];
        for (place, b) in bands.into_iter().enumerate() {
            let extend = |head: &[u8; 9], p: &[usize]| {
                let mut order = *head;
                for (k, line) in p.iter().enumerate() {
                    order[place * band + k] = (b * band + line) as u8;
                }
                order
            };
            partial =
                partial.iter().flat_map(|head| inner.iter().map(|p| extend(head, p))).collect();
        }
        orders.extend(partial);
    }
    orders
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let insert = |p: Vec<usize>| {
        (0..n).map(move |at| {
            let mut q = p.clone();
            q.insert(at, n - 1);
            q
        })
    };
    permutations(n - 1).into_iter().flat_map(insert).collect()
}

pub struct Symmetry {
    digits: Vec<u8>,
    transpose: bool,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Symmetry {
    pub fn apply(&self, board: &[u8]) -> Board {
        let n = self.rows.len();
        let cell = |i: usize| {
            let (r, c) = (self.rows[i / n], self.columns[i % n]);
            self.digits[board[if self.transpose { c * n + r } else { r * n + c }] as usize]
        };
        (0..n * n).map(cell).collect()
    }
}

/// Depth-first search that always fills the cell with the fewest candidates.
struct Search {
    shape: Shape,
    board: Board,
    rows: [u16; 9],
    columns: [u16; 9],
    boxes: [u16; 9],
    consistent: bool,
}

impl Search {
    fn new(shape: Shape, board: &[u8]) -> Self {
        let mut search = Self {
            shape,
            board: board.to_vec(),
            rows: [0; 9],
            columns: [0; 9],
            boxes: [0; 9],
            consistent: true,
        };
        for (cell, &digit) in board.iter().enumerate() {
            if digit > 0 && (digit as usize) <= shape.n {
                search.consistent &= search.candidates(cell) & (1 << digit) != 0;
                search.toggle(cell, digit);
            }
            search.consistent &= digit as usize <= shape.n;
        }
        search
    }

    fn toggle(&mut self, cell: usize, digit: u8) {
        let (r, c) = (cell / self.shape.n, cell % self.shape.n);
        self.rows[r] ^= 1 << digit;
        self.columns[c] ^= 1 << digit;
        self.boxes[self.shape.box_of(r, c)] ^= 1 << digit;
    }

    fn candidates(&self, cell: usize) -> u16 {
        let (r, c) = (cell / self.shape.n, cell % self.shape.n);
        let used = self.rows[r] | self.columns[c] | self.boxes[self.shape.box_of(r, c)];
        !used & ((2 << self.shape.n) - 2)
    }

    fn next_cell(&mut self) -> Option<usize> {
        let empty = (0..self.board.len()).filter(|&cell| self.board[cell] == 0);
        empty.min_by_key(|&cell| self.candidates(cell).count_ones())
    }

    /// Stops at `limit` solutions and leaves the last one found on the board when limit is 1.
    fn count(&mut self, limit: usize, mut rng: Option<&mut Rng>) -> usize {
        let Some(cell) = self.next_cell() else { return 1 };
        let mut digits: Vec<u8> =
            (1..=self.shape.n as u8).filter(|d| self.candidates(cell) & (1 << d) != 0).collect();
        if let Some(rng) = rng.as_deref_mut() {
            rng.shuffle(&mut digits);
        }
        let mut found = 0;
        for digit in digits {
            self.board[cell] = digit;
            self.toggle(cell, digit);
            found += self.count(limit - found, rng.as_deref_mut());
            self.toggle(cell, digit);
            if found >= limit {
                return found;
            }
        }
        self.board[cell] = 0;
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::rng::Stream;

    #[test]
    fn generated_boards_have_one_solution() {
        let mut rng = Rng::new(1, Stream::Test, 0);
        for (n, clues) in [(4, 5), (6, 12), (9, 28)] {
            let shape = Shape::new(n).unwrap();
            let solution = shape.random_solution(&mut rng);
            assert!(shape.is_solution(&solution));
            let board = shape.dig(&solution, clues, &mut rng);
            assert_eq!(shape.solutions(&board), 1);
            assert!(board.iter().filter(|&&d| d > 0).count() >= clues);
            assert!(!shape.is_solution(&board));
            assert_eq!(shape.solutions(&vec![0; n * n]), 2);
            let mut broken = solution.clone();
            broken[0] = broken[1];
            assert_eq!((shape.solutions(&broken), shape.is_solution(&broken)), (0, false));
        }
    }

    #[test]
    fn canonical_form_is_the_same_for_a_whole_orbit() {
        let mut rng = Rng::new(2, Stream::Test, 0);
        for n in [4, 6, 9] {
            let shape = Shape::new(n).unwrap();
            let solution = shape.random_solution(&mut rng);
            let canonical = shape.canonical(&solution);
            assert!(shape.is_solution(&canonical));
            for _ in 0..5 {
                let moved = shape.random_symmetry(&mut rng).apply(&solution);
                assert!(shape.is_solution(&moved));
                assert_eq!(shape.canonical(&moved), canonical);
            }
        }
    }

    /// Known numbers of essentially different grids: 2 of 4x4 (Sudoku symmetries), 49 of 6x6.
    #[test]
    fn canonical_forms_tell_orbits_apart() {
        let mut rng = Rng::new(3, Stream::Test, 0);
        for (n, draws, orbits) in [(4, 200, 2..=2), (6, 1500, 20..=49)] {
            let shape = Shape::new(n).unwrap();
            let mut canonical = || shape.canonical(&shape.random_solution(&mut rng));
            let seen: HashSet<Board> = (0..draws).map(|_| canonical()).collect();
            assert!(orbits.contains(&seen.len()), "{n}: {}", seen.len());
        }
    }
}
