//! The table in `kernels/README.md`: read, written and compared.
#![cfg_attr(not(feature = "cuda"), allow(dead_code))]

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->";
const HEAD: &str = "\
| op | kernel | regs 89 | regs 90 | shared | threads | blocks | occ % | HMMA | limit (predicted) |
|---|---|---|---|---|---|---|---|---|---|
";

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub op: String,
    pub kernel: String,
    /// sm_89, sm_90
    pub registers: [usize; 2],
    pub shared_bytes: usize,
    pub threads: usize,
    pub blocks: usize,
    pub occupancy_percent: usize,
    /// `None`: not counted.
    pub hmma: Option<usize>,
    pub limit: String,
}

impl Row {
    fn cells(&self) -> [String; 10] {
        [
            self.op.clone(),
            self.kernel.clone(),
            self.registers[0].to_string(),
            self.registers[1].to_string(),
            self.shared_bytes.to_string(),
            self.threads.to_string(),
            self.blocks.to_string(),
            self.occupancy_percent.to_string(),
            self.hmma.map_or("?".into(), |n| n.to_string()),
            self.limit.clone(),
        ]
    }

    fn parse(line: &str) -> Option<Row> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [op, kernel, numbers @ .., hmma, limit] = &cells[..] else { return None };
        let numbers: Vec<usize> = numbers.iter().map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let &[r89, r90, shared_bytes, threads, blocks, occupancy_percent] = &numbers[..] else {
            return None;
        };
        Some(Row {
            op: (*op).into(),
            kernel: (*kernel).into(),
            registers: [r89, r90],
            shared_bytes,
            threads,
            blocks,
            occupancy_percent,
            hmma: hmma.parse().ok(),
            limit: (*limit).into(),
        })
    }
}

fn span(readme: &str) -> Result<(usize, usize), String> {
    let begin = readme.find(BEGIN).ok_or("no table in kernels/README.md")? + BEGIN.len();
    let end = begin + readme[begin..].find(END).ok_or("no end of the table")?;
    Ok((begin, end))
}

pub fn parse(readme: &str) -> Result<Vec<Row>, String> {
    let (begin, end) = span(readme)?;
    let rows = readme[begin..end].lines().skip(2);
    rows.map(|line| Row::parse(line).ok_or(format!("not a row: {line}"))).collect()
}

pub fn render(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| format!("| {} |\n", row.cells().join(" | ")));
    HEAD.to_owned() + &lines.collect::<String>()
}

pub fn replace(readme: &str, rows: &[Row]) -> Result<String, String> {
    let (begin, end) = span(readme)?;
    Ok(format!("{}{}{}", &readme[..begin], render(rows), &readme[end..]))
}

/// One line for each kernel that is not as recorded.
pub fn changes(recorded: &[Row], now: &[Row]) -> Vec<String> {
    let find = |rows: &[Row], kernel: &str| rows.iter().find(|r| r.kernel == kernel).cloned();
    let mut lines = vec![];
    for row in now {
        let Some(old) = find(recorded, &row.kernel) else {
            lines.push(format!("{}: not recorded", row.kernel));
            continue;
        };
        let titles = HEAD.lines().next().unwrap_or("").trim_matches('|').split('|');
        let cells = old.cells().into_iter().zip(row.cells());
        let moved: Vec<String> = titles
            .zip(cells)
            .filter(|(_, (old, new))| old != new)
            .map(|(title, (old, new))| format!("{} {old} -> {new}", title.trim()))
            .collect();
        if moved.is_empty() {
            continue;
        }
        let worse = row.blocks < old.blocks
            || row.occupancy_percent < old.occupancy_percent
            || row.registers.iter().zip(old.registers).any(|(new, old)| *new > old);
        let verdict = if worse { "REGRESSION" } else { "changed" };
        lines.push(format!("{}: {verdict}: {}", row.kernel, moved.join(", ")));
    }
    let gone = recorded.iter().filter(|old| find(now, &old.kernel).is_none());
    lines.extend(gone.map(|old| format!("{}: recorded, but not built", old.kernel)));
    lines
}

#[test]
fn the_table_is_read_as_written_and_changes_are_named() {
    let row = Row {
        op: "add".into(),
        kernel: "add_fwd_f32".into(),
        registers: [20, 22],
        shared_bytes: 0,
        threads: 256,
        blocks: 6,
        occupancy_percent: 100,
        hmma: Some(0),
        limit: "DRAM".into(),
    };
    let readme = format!("text\n{BEGIN}{END}\nmore\n");
    let written = replace(&readme, std::slice::from_ref(&row)).unwrap();
    assert!(written.starts_with("text\n") && written.ends_with("\nmore\n"));
    let read = parse(&written).unwrap();
    assert_eq!(read, std::slice::from_ref(&row));
    assert!(changes(&read, &read).is_empty());
    let slower = Row { registers: [40, 22], blocks: 5, ..row.clone() };
    let lines = changes(&read, &[slower]);
    assert_eq!(lines, ["add_fwd_f32: REGRESSION: regs 89 20 -> 40, blocks 6 -> 5"]);
    let better = Row { registers: [18, 22], ..row.clone() };
    assert_eq!(changes(&read, &[better]), ["add_fwd_f32: changed: regs 89 20 -> 18"]);
    let other = Row { kernel: "new".into(), ..row };
    assert_eq!(changes(&read, &[other]).len(), 2, "one not recorded, one not built");
    assert!(parse("no table").is_err() && parse(&format!("{BEGIN}h\n-\n| x |\n{END}")).is_err());
}
