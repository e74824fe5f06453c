// A grid as rows of coloured cells: painted on with pointer and keys, or an answer to look at.
// Listens to nobody: whoever makes one gives `options` and calls `show` when its cells change.

const COLOURS = 10, LARGEST = 30;

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
};

const blank = (h, w) => Array.from({ length: h }, () => Array(w).fill(0));
const copy = (grid) => grid.map((row) => [...row]);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** The cells that touch (r, c) and have its colour get `colour`. */
function flood(grid, r, c, colour) {
  const from = grid[r][c], open = [[r, c]];
  if (from === colour) return;
  while (open.length) {
    const [y, x] = open.pop();
    if (grid[y]?.[x] !== from) continue;
    grid[y][x] = colour;
    open.push([y - 1, x], [y + 1, x], [y, x - 1], [y, x + 1]);
  }
}

let grids = 0;

/**
 * options: label; large; paint(r, c, colour or null, flood, begins) where it can be painted;
 * confidence (h x w); expected, to ring what differs; tell(text) for the cell pointed at.
 */
class GridView {
  constructor(options) {
    this.options = options;
    this.id = `grid${++grids}`;
    this.at = [0, 0];
    this.root = element("div", {
      role: "grid", tabindex: 0, "aria-label": options.label,
      "aria-readonly": String(!options.paint),
      class: `grid ${options.paint ? "editable" : ""} ${options.large ? "large" : ""}`,
      onkeydown: (event) => this.key(event),
      onpointerdown: (event) => this.point(event, true),
      onpointermove: (event) => this.point(event, false),
    });
  }

  show(cells, { confidence, expected } = {}) {
    const [h, w] = [cells.length, cells[0]?.length ?? 0];
    const reshaped = h !== this.cells?.length || w !== (this.cells[0]?.length ?? 0);
    this.cells = cells;
    if (reshaped) {
      this.at = [Math.min(this.at[0], Math.max(h - 1, 0)), Math.min(this.at[1], Math.max(w - 1, 0))];
      this.root.style.setProperty("--w", Math.max(w, 1));
      this.root.replaceChildren(...Array.from({ length: h * w }, (_, i) => element("i", {
        id: `${this.id}-${Math.floor(i / w)}-${i % w}`, role: "gridcell",
      }, element("b"))));
    }
    cells.forEach((row, r) => row.forEach((colour, c) => {
      const cell = this.root.children[r * w + c], sure = confidence?.[r][c];
      const wrong = Boolean(expected) && expected[r]?.[c] !== colour;
      cell.dataset.c = colour;
      cell.classList.toggle("wrong", wrong);
      cell.firstChild.className = `k${colour}`;
      cell.firstChild.style.setProperty("--p", sure === undefined ? 1 : 0.25 + 0.75 * sure);
      cell.setAttribute("aria-label", `row ${r + 1}, column ${c + 1}: colour ${colour}`
        + (sure === undefined ? "" : `, ${(100 * sure).toFixed(1)} %`)
        + (wrong ? `, expected ${expected[r]?.[c] ?? "nothing here"}` : ""));
    }));
    this.mark();
  }

  mark() {
    this.root.querySelector(".at")?.classList.remove("at");
    const cell = this.root.children[this.at[0] * (this.cells[0]?.length ?? 0) + this.at[1]];
    if (!cell) return;
    cell.classList.add("at");
    this.root.setAttribute("aria-activedescendant", cell.id);
    if (document.activeElement === this.root) this.options.tell?.(cell.getAttribute("aria-label"));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.cells.length) return;
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const [r, c] = this.at;
    if (move) {
      const within = (x, n) => Math.min(Math.max(x, 0), n - 1);
      this.at = [within(r + move[0], this.cells.length), within(c + move[1], this.cells[0].length)];
      this.mark();
    } else if (this.options.paint && /^[0-9]$/.test(event.key)) {
      this.options.paint(r, c, Number(event.key), false, true);
    } else if (this.options.paint && [" ", "Enter", "f", "F"].includes(event.key)) {
      this.options.paint(r, c, null, "fF".includes(event.key), true);
    } else return;
    event.preventDefault();
  }

  point(event, begins) {
    const cell = document.elementFromPoint(event.clientX, event.clientY)?.closest("[role=gridcell]");
    if (!cell || cell.parentNode !== this.root) return;
    const [r, c] = cell.id.split("-").slice(1).map(Number);
    this.options.tell?.(cell.getAttribute("aria-label"));
    if (!this.options.paint || !(event.buttons & 1)) return;
    if (begins) {
      // Touch would keep the pointer at the first cell.
      if (event.target.hasPointerCapture(event.pointerId)) event.target.releasePointerCapture(event.pointerId);
      this.root.focus();
      event.preventDefault();
    } else if (same(this.at, [r, c])) return;
    this.at = [r, c];
    this.options.paint(r, c, null, false, begins);
  }
}
