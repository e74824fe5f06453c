// What is on the page and what its controls do.

const by = (id) => document.getElementById(id);
const state = { model: undefined, side: LARGEST, test: 0, colour: 1, views: new Map() };

function fail(error) {
  by("error").textContent = error.message;
  by("error").hidden = false;
  by("error").scrollIntoView({ block: "nearest" });
}

/** A control's work: clears the last error, shows a new one. */
const safely = (work) => async (event) => {
  by("error").hidden = true;
  try { await work(event); } catch (e) { fail(e); }
};

// ---- the task ----

const task = new Task((whole) => {
  by("undo").disabled = !task.past.length;
  if (whole) drawTask();
});

const flooding = () => document.querySelector("[name=tool]:checked").value === "flood";

/** A grid of the task with its size and what can be done to it. */
function editor(pair, side, label, large, extra = []) {
  const view = new GridView({
    label, large,
    paint(r, c, digit, fill, begins) {
      const colour = digit ?? state.colour, grid = pair[side];
      if (begins) task.remember();
      if (fill || (flooding() && digit === null)) flood(grid, r, c, colour);
      else grid[r][c] = colour;
      view.show(grid);
      task.changed(false);
    },
  });
  const size = (axis, now) => element("input", {
    type: "number", min: 1, max: state.side, value: now, "aria-label": `${label}: ${axis}`,
    onchange: (event) => {
      const n = Math.min(Math.max(Math.round(Number(event.target.value)) || 1, 1), state.side);
      const [h, w] = [pair[side].length, pair[side][0].length];
      task.resize(pair, side, axis === "rows" ? n : h, axis === "rows" ? w : n);
      event.target.value = n;
      view.show(pair[side]);
    },
  });
  const clear = () => {
    task.edit(false, () => { pair[side] = blank(pair[side].length, pair[side][0].length); });
    view.show(pair[side]);
  };
  const head = element("header", { class: "row" }, label,
    size("rows", pair[side].length), "×", size("columns", pair[side][0].length),
    element("button", { type: "button", onclick: clear, "aria-label": `${label}: clear` }, "clear"), ...extra);
  view.show(pair[side]);
  return element("div", { class: "side" }, head, view.root);
}

const button = (label, text, onclick) =>
  element("button", { type: "button", "aria-label": label, onclick }, text);

function drawTask() {
  const focused = document.activeElement?.getAttribute("aria-label");
  const { train, test } = task.value;
  state.test = Math.min(state.test, test.length - 1);
  by("train").replaceChildren(...train.map((pair, i) => {
    const name = `Example ${i + 1}`;
    const remove = button(`${name}: remove`, "remove", () => task.edit(true, (t) => t.train.splice(i, 1)));
    return element("div", { class: "pair" }, editor(pair, "input", `${name}, input`, false),
      editor(pair, "output", `${name}, output`, false, [remove]));
  }));
  const pair = test[state.test], name = test.length > 1 ? `Test ${state.test + 1}` : "Test";
  const choose = element("select", { "aria-label": "Test input", onchange: (event) => {
    state.test = Number(event.target.value);
    drawTask();
  } }, ...test.map((_, i) => element("option", { value: i, selected: i === state.test }, `Test ${i + 1}`)));
  const add = button("Add a test input", "Add a test input", () => task.edit(true, (t) => {
    state.test = t.test.push({ input: blank(3, 3) }) - 1;
  }));
  const remove = button(`${name}: remove`, "Remove this one",
    () => task.edit(true, (t) => t.test.splice(state.test, 1)));
  by("tests").replaceChildren(...(test.length > 1 ? [choose, add, remove] : [add]));
  const forget = button("Forget the expected output", "forget",
    () => task.edit(true, () => { delete pair.output; }));
  const expect = button("Say what is expected", "Say what output is expected",
    () => task.edit(true, () => { pair.output = blank(pair.input.length, pair.input[0].length); }));
  by("test").replaceChildren(editor(pair, "input", `${name}, input`, true),
    pair.output ? editor(pair, "output", `${name}, expected`, false, [forget]) : expect);
  if (focused) document.querySelector(`[aria-label=${JSON.stringify(focused)}]`)?.focus();
}

function open(value, puzzle) {
  state.test = 0;
  by("puzzle").value = puzzle ?? "";
  task.replace(value);
}

by("known").onchange = safely(async (event) => {
  const name = event.target.value;
  event.target.value = "";
  if (!name) return;
  const { train, test } = await ask("GET", `v1/tasks/${encodeURIComponent(name)}`);
  open({ train, test }, name);
});
by("new").onclick = () => open(new Task().value);
by("undo").onclick = () => task.undo();
by("add").onclick = () => task.edit(true, (t) => t.train.push({ input: blank(3, 3), output: blank(3, 3) }));
by("read").onclick = safely(() => open(parseTask(by("text").value, state.side)));
by("write").onclick = () => { by("text").value = task.text(); };
const readFile = async (file) => file && open(parseTask(await file.text(), state.side));
by("file").onchange = safely(async (event) => {
  await readFile(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  safely(() => readFile(event.dataTransfer.files[0]))();
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input[type=number], textarea, select")) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") {
    event.preventDefault();
    task.undo();
  } else if (/^[0-9]$/.test(event.key) && !event.defaultPrevented) {
    by("palette").querySelectorAll("input")[event.key].click();
  }
});

// ---- the answer ----

const answer = new GridView({ label: "Answer", large: true, tell: (text) => { by("cell").textContent = text; } });
const refinement = new Refinement(drawAnswer, fail);

function drawAnswer() {
  const { states, here, playing, busy, at, ended } = refinement;
  by("player").hidden = !here;
  by("player").dataset.session = refinement.id ?? "";
  by("play").textContent = playing ? "Pause" : at === states.length - 1 && ended ? "Again" : "Play";
  by("back").disabled = at <= 0;
  by("step").disabled = playing || busy || (at === states.length - 1 && ended);
  if (!here) return;
  by("seek").max = states.length;
  by("seek").value = at + 1;
  const expected = same(refinement.input, task.value.test[state.test].input)
    ? task.value.test[state.test].output : undefined;
  const verdict = !expected ? "" : same(expected, here.grid) ? " As expected." : " Not as expected.";
  const shape = here.grid.length ? `${here.grid.length} × ${here.grid[0].length}` : "no grid";
  by("now").textContent = `Segment ${here.step} of ${here.max_steps}: ${shape}, energy ${here.energy.toFixed(3)}`
    + `${here.halt ? ", would halt here" : ""}.${verdict}`;
  answer.show(here.grid, { confidence: here.confidence, expected });
  drawCurve(by("curve"), states, here, refinement.maxSteps);
  by("numbers").tBodies[0].replaceChildren(...states.map((s, i) => element("tr", {},
    ...[s.step, s.energy.toFixed(4), s.q_halt.toFixed(3), s.q_continue.toFixed(3), s.halt ? "yes" : "no",
      i ? changedCells(states[i - 1].grid, s.grid) : ""].map((text) => element("td", {}, text)))));
}

by("answer").append(answer.root);
by("refine").onclick = safely(() =>
  refinement.begin(copy(task.value.test[state.test].input), by("puzzle").value));
by("play").onclick = safely(() => refinement.playing ? refinement.pause() : refinement.play());
by("step").onclick = safely(() => refinement.step());
by("back").onclick = () => refinement.seek(refinement.at - 1);
by("seek").oninput = (event) => refinement.seek(Number(event.target.value) - 1);

const solving = new Solving((state) => {
  const running = ["waiting", "running"].includes(state?.state);
  by("cancel").hidden = by("under-way").hidden = !running;
  if (running) {
    by("how").textContent = howFar(state);
    const { done, of } = state.progress ?? {};
    if (of) by("progress").value = done / of;
    else by("progress").removeAttribute("value");
  } else if (state?.outcome) {
    const { tests, wall_s: wall } = state.outcome;
    by("solved").replaceChildren(
      element("p", { class: "trust" }, [...state.trust, `${wall.toFixed(1)} s`].join(". ")),
      ...tests.map((test, i) => answers(test, i + 1, tests.length)));
  }
});
by("solve").onclick = safely(() => {
  by("solved").replaceChildren();
  const budget = Number(by("budget").value);
  return solving.run(task.value, budget > 0 ? budget : undefined);
});
by("cancel").onclick = safely(() => solving.cancel());
addEventListener("pagehide", () => {
  refinement.release();
  solving.release();
});

// ---- begin ----

by("palette").append(...Array.from({ length: COLOURS }, (_, colour) => element("label", { class: `k${colour}` },
  element("input", { type: "radio", name: "colour", "aria-label": `colour ${colour}`,
    checked: colour === state.colour, onchange: () => { state.colour = colour; } }))));
safely(async () => {
  const [model, { tasks }] = await Promise.all([ask("GET", "v1/model"), ask("GET", "v1/tasks")]);
  state.side = model.canvas;
  by("solving").hidden = model.solve_budget_s === null;
  by("budget").max = by("budget").value = model.solve_budget_s ?? 0;
  by("model").textContent = `${model.preset}, ${model.parameters.toLocaleString("en")} parameters after step `
    + `${model.step.toLocaleString("en")}; grids up to ${model.canvas} × ${model.canvas}, `
    + `${model.max_steps} segments`;
  for (const { name, trained_on_test: leaked } of tasks) {
    by("known").append(element("option", { value: name }, leaked ? `${name} (its test was trained on)` : name));
    by("puzzle").append(element("option", { value: name }, name));
  }
  by("known").disabled = !tasks.length;
  drawTask();
})();
