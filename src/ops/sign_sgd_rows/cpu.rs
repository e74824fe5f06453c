/// Ids outside the table are passed over: `puzzle_emb::gather` has refused them before.
pub fn step(table: &mut [f32], ids: &[i32], g: &[f32], d: usize, lr: f32, decay: f32) {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|&r| ids[r]);
    let mut sum = vec![0.0; d];
    for same in order.chunk_by(|&a, &b| ids[a] == ids[b]) {
        let Some(row) =
            usize::try_from(ids[same[0]]).ok().and_then(|id| table.get_mut(id * d..(id + 1) * d))
        else {
            continue;
        };
        sum.fill(0.0);
        for &r in same {
            sum.iter_mut().zip(&g[r * d..]).for_each(|(sum, g)| *sum += g);
        }
        for (w, &sum) in row.iter_mut().zip(&sum) {
            let sign = if sum == 0.0 { 0.0 } else { sum.signum() };
            *w = decay * *w - lr * sign;
        }
    }
}
