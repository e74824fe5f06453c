// A refinement, segment by segment: asks the server for the next state, keeps all that came, and
// shows any of them. The server's session is the truth; this only looks at it.

const PAUSE_MS = 350;

const sleep = (ms) => new Promise((next) => setTimeout(next, ms));

/** The JSON of an answer; a refusal becomes an Error with what the server says about it. */
async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error(`${method} ${path}: the server does not answer; is hrm serve still running?`);
  }
  const value = await response.json().catch(() => ({}));
  if (response.ok) return value;
  const error = new Error(value.detail ?? `${method} ${path}: status ${response.status}`);
  error.status = response.status;
  throw error;
}

const svg = (tag, attributes, text = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
};

/** Energy over segments, `here` the one that is shown; a dashed line where halting would stop. */
function drawCurve(root, states, here, maxSteps) {
  const [left, right, top, bottom] = [30, 310, 10, 104];
  const x = (step) => left + (maxSteps > 1 ? (step - 1) / (maxSteps - 1) : 0.5) * (right - left);
  const y = (energy) => bottom - energy * (bottom - top);
  const parts = [];
  for (const energy of [0, 0.5, 1]) {
    const at = y(energy);
    parts.push(svg("line", { class: "axis", x1: left, x2: right, y1: at, y2: at }));
    parts.push(svg("text", { x: left - 4, y: at + 3, "text-anchor": "end" }, energy));
  }
  for (let step = 1; step <= maxSteps; step += Math.ceil(maxSteps / 16)) {
    parts.push(svg("text", { x: x(step), y: bottom + 14, "text-anchor": "middle" }, step));
  }
  const halt = states.find((s) => s.halt);
  if (halt) {
    const at = x(halt.step), flip = at > (left + right) / 2;
    parts.push(svg("line", { class: "halt", x1: at, x2: at, y1: top, y2: bottom }));
    parts.push(svg("text", { x: at + (flip ? -4 : 4), y: top + 8, "text-anchor": flip ? "end" : "start" },
      `would halt at ${halt.step}`));
  }
  const points = states.map((s) => `${x(s.step)},${y(s.energy)}`).join(" ");
  parts.push(svg("polyline", { class: "line", points }));
  for (const s of states) {
    parts.push(svg("circle", { class: "dot", cx: x(s.step), cy: y(s.energy), r: 3 }));
  }
  parts.push(svg("circle", { class: "here", cx: x(here.step), cy: y(here.energy), r: 6 }));
  root.replaceChildren(...parts);
  const list = states.map((s) => `${s.step}: ${s.energy.toFixed(3)}`).join(", ");
  root.setAttribute("aria-label", `Energy by segment: ${list}`);
}

/** Cells of `b` that differ from `a`; cells that only one of them has count. */
function changedCells(a, b) {
  let changed = 0;
  for (let r = 0; r < Math.max(a.length, b.length); r++) {
    const w = Math.max(a[r]?.length ?? 0, b[r]?.length ?? 0);
    for (let c = 0; c < w; c++) changed += a[r]?.[c] !== b[r]?.[c];
  }
  return changed;
}

class Refinement {
  /** `changed()`: there is something new to show. `failed(error)`. */
  constructor(changed, failed) {
    Object.assign(this, { changed, failed, states: [], at: -1, playing: false, busy: false, run: 0 });
  }

  /** State after a segment, or undefined before the first. */
  get here() { return this.states[this.at]; }
  get ended() { return this.lost || this.states.at(-1)?.done === true; }

  async begin(input, puzzle) {
    this.playing = false;
    while (this.busy) await sleep(20); // A segment that is under way ends first.
    this.release();
    Object.assign(this, { states: [], at: -1, lost: false, input, busy: true });
    try {
      const state = await ask("POST", "v1/refine", puzzle ? { input, puzzle } : { input });
      Object.assign(this, { id: state.id, maxSteps: state.max_steps, playing: true });
    } catch (e) {
      this.playing = false;
      this.failed(e);
    } finally {
      this.busy = false;
    }
    this.changed();
    if (this.playing) await this.play();
  }

  /** One on: what was already answered, or a segment more. */
  async step() {
    if (this.busy) return;
    if (this.at < this.states.length - 1) this.at++;
    else if (!this.ended && this.id) {
      const id = this.id;
      this.busy = true;
      try {
        const state = await ask("POST", `v1/refine/${id}/step`);
        if (this.id !== id) return;
        this.states.push(state);
        this.at = this.states.length - 1;
      } catch (e) {
        this.playing = false;
        this.lost = e.status === 404;
        if (this.lost) this.id = undefined;
        this.failed(e);
      } finally {
        this.busy = false;
      }
    }
    this.changed();
  }

  seek(at) {
    this.playing = false;
    this.at = Math.min(Math.max(at, 0), this.states.length - 1);
    this.changed();
  }

  /** From the first segment again if the last one is shown. */
  async play() {
    const run = ++this.run;
    this.playing = true;
    const more = () => this.at < this.states.length - 1 || !this.ended;
    if (!more()) this.at = -1;
    while (this.playing && this.run === run && more()) {
      await this.step();
      if (this.playing && more()) await sleep(PAUSE_MS);
    }
    if (this.run !== run) return;
    this.playing = false;
    this.changed();
  }

  pause() {
    this.playing = false;
    this.changed();
  }

  /** Tell the server that nobody will ask any more; also while the page goes away. */
  release() {
    if (this.id) fetch(`v1/refine/${this.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
    this.id = undefined;
  }
}
