/// Err: the first id that is not a row of the table.
pub fn gather(table: &[f32], ids: &[i32], d: usize, rows: &mut [f32]) -> Result<(), i32> {
    for (row, &id) in rows.chunks_exact_mut(d).zip(ids) {
        let start = usize::try_from(id).map_err(|_| id)? * d;
        row.copy_from_slice(table.get(start..start + d).ok_or(id)?);
    }
    Ok(())
}
