// The task on the desk: `{train: [{input, output}], test: [{input, output or absent}]}`, its undo
// history, and reading it from text. Knows nothing of the page but `changed`.

const UNDO_STEPS = 200;

function grid(value, where, side) {
  const wrong = (what) => new Error(`${where}: the grid ${what}`);
  if (!Array.isArray(value) || !value.length || !value.every(Array.isArray)) {
    throw wrong("is not a list of rows");
  }
  const w = value[0].length;
  if (!w) throw wrong("is empty");
  value.forEach((row, r) => {
    if (row.length !== w) throw wrong(`is ragged: row ${r + 1} has ${row.length} cells, row 1 has ${w}`);
    const c = row.findIndex((cell) => !Number.isInteger(cell) || cell < 0 || cell >= COLOURS);
    if (c >= 0) throw wrong(`has ${JSON.stringify(row[c])} at row ${r + 1}, column ${c + 1}; colours are 0 to 9`);
  });
  if (value.length > side || w > side) {
    throw wrong(`is ${value.length} x ${w}; this model's canvas is ${side} x ${side}`);
  }
  return copy(value);
}

/** Throws an Error that says what is wrong where. `side`: of the model's canvas. */
function parseTask(text, side) {
  let raw;
  try { raw = JSON.parse(text); } catch (e) { throw new Error(`Not JSON: ${e.message}`); }
  const pairs = (name) => {
    const list = raw?.[name] ?? [];
    if (!Array.isArray(list)) throw new Error(`"${name}" is not a list of pairs`);
    return list.map((pair, i) => {
      const where = `${name} pair ${i + 1}`;
      const read = { input: grid(pair?.input, `${where}, input`, side) };
      if (pair.output != null) read.output = grid(pair.output, `${where}, output`, side);
      else if (name === "train") throw new Error(`${where} has no output`);
      return read;
    });
  };
  const task = { train: pairs("train"), test: pairs("test") };
  if (!task.test.length) throw new Error('The task needs a list "test" with an input at least');
  return task;
}

class Task {
  /** `changed(whole)`: something was drawn; whole: grids came, went or were replaced. */
  constructor(changed) {
    this.changed = changed;
    this.past = [];
    this.value = { train: [{ input: blank(3, 3), output: blank(3, 3) }], test: [{ input: blank(3, 3) }] };
  }

  replace(value) {
    this.remember();
    this.value = value;
    this.changed(true);
  }

  remember() {
    this.past.push(JSON.stringify(this.value));
    if (this.past.length > UNDO_STEPS) this.past.shift();
  }

  /** Anything that is done to the value; `whole` as in `changed`. */
  edit(whole, change) {
    this.remember();
    change(this.value);
    this.changed(whole);
  }

  undo() {
    if (!this.past.length) return;
    this.value = JSON.parse(this.past.pop());
    this.changed(true);
  }

  resize(pair, side, h, w) {
    const old = pair[side];
    this.edit(false, () => {
      pair[side] = blank(h, w).map((row, r) => row.map((_, c) => old[r]?.[c] ?? 0));
    });
  }

  /** One line per grid row, so that it can be read and edited. */
  text() {
    const rows = (grid) => `[${grid.map((row) => JSON.stringify(row)).join(",\n    ")}]`;
    const pair = (p) => `  {"input":\n   ${rows(p.input)}`
      + (p.output ? `,\n   "output":\n   ${rows(p.output)}` : "") + "}";
    const list = (name) => `"${name}": [\n${this.value[name].map(pair).join(",\n")}\n]`;
    return `{${list("train")},\n${list("test")}}\n`;
  }
}
