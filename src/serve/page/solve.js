// A task that is being solved: asks the server how it goes until it has ended, and shows the answers.

const POLL_MS = 300;

const percent = (share) => `${Math.round(100 * share)} %`;

/** In words how far it is; `state` as the interface gives it. */
function howFar({ state, ahead, progress, eta_s: eta, elapsed_s: elapsed }) {
  if (state === "waiting") return `${ahead} ahead of it`;
  if (!progress) return state;
  const count = progress.of ? ` ${progress.done} of ${progress.of}` : "";
  const left = eta === undefined ? "" : `, about ${Math.ceil(eta)} s left of this`;
  return `${progress.phase}${count}, ${elapsed.toFixed(0)} s so far${left}`;
}

/** One test input's attempts. */
function answers(test, number, count) {
  const name = count > 1 ? `Test ${number}` : "Test";
  const figures = test.attempts.map((attempt, i) => {
    const right = attempt.right == null ? "" : attempt.right ? ", right" : ", wrong";
    const view = new GridView({ label: `${name}, attempt ${i + 1}` });
    view.show(attempt.grid, { expected: test.output ?? undefined });
    return element("figure", {}, element("figcaption", {},
      `Attempt ${i + 1}: ${attempt.votes} of ${test.votes_cast} votes (${percent(attempt.share)}), `
      + `mean q_halt ${attempt.q_halt.toFixed(2)}${right}`), view.root);
  });
  if (!figures.length) figures.push(element("p", {}, "No answer showed a grid."));
  return element("div", {},
    element("strong", {}, name), element("span", { class: "hint" }, ` ${test.candidates} `
      + `${test.candidates === 1 ? "answer" : "different answers"}, ${test.unreadable} unreadable, ACT steps ${test.act_steps.toFixed(1)}`),
    element("div", { class: "attempts" }, ...figures));
}

class Solving {
  /** `changed(state or undefined)`: how it goes, and that it is over. */
  constructor(changed) {
    Object.assign(this, { changed, id: undefined });
  }

  /** Until it has ended or was cancelled. */
  async run(task, budget) {
    this.cancel();
    let state = await ask("POST", "v1/solve", { ...task, budget_s: budget });
    const id = this.id = state.id;
    while (this.id === id && ["waiting", "running"].includes(state.state)) {
      this.changed(state);
      await sleep(POLL_MS);
      if (this.id !== id) return;
      try {
        state = await ask("GET", `v1/solve/${id}`);
      } catch (e) {
        if (this.id !== id) return;
        this.id = undefined;
        this.changed(undefined);
        throw e;
      }
    }
    if (this.id !== id) return;
    this.release();
    this.changed(state);
    if (state.state === "failed") throw new Error(state.problem);
  }

  cancel() {
    if (!this.id) return;
    this.release();
    this.changed(undefined);
  }

  /** Also while the page goes away. */
  release() {
    if (this.id) fetch(`v1/solve/${this.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
    this.id = undefined;
  }
}
