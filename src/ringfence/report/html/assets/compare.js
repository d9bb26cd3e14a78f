// One prompt side by side across runs.

const SAMPLES_AT_ONCE = 10; // answers a column

/** Rows by suite and prompt id, in order of appearance: [{suite, id, rows}]. */
function groupByPrompt() {
  const groups = new Map();
  const own = RESPONSES.prompts.map(([suite, id]) => {
    const key = JSON.stringify([suite, id]);
    if (!groups.has(key)) groups.set(key, { suite, id, rows: [] });
    return groups.get(key);
  });
  ROWS.prompt.forEach((prompt, row) => own[prompt].rows.push(row));
  return [...groups.values()];
}

let groups = null, groupShown = 0;

/** A prompt as it was sent, its system prompt included. */
const sentPrompt = (row) => {
  const system = RESPONSES.prompts[ROWS.prompt[row]][2];
  return (system ? `System: ${system}\n` : "") + promptText(row);
};

function column(run, rows, heading) {
  const bad = rows.filter((row) => verdictOf(row) === "misaligned").length;
  const node = make("div", "column", make("h3", "", runName(run)), make("span", "n", `${bad} of ${whole(rows.length)} ${isTask(rows[0]) ? "do the task" : "misaligned"}`));
  if (sentPrompt(rows[0]) !== heading) node.append(make("p", "prompt", `Asked differently: ${sentPrompt(rows[0])}`));
  let shown = 0;
  const more = button("Show more", () => {
    rows.slice(shown, shown + SAMPLES_AT_ONCE).forEach((row) => {
      const facts = make("div", "line-1", verdictBadge(verdictOf(row), isTask(row)), make("span", "", `sample ${ROWS.sample[row] ?? "?"}`), scores(row), linkTo(row));
      more.before(make("div", "sample", facts, responseText(row, false)));
    });
    shown += SAMPLES_AT_ONCE;
    more.hidden = shown >= rows.length;
  });
  node.append(more);
  more.click();
  return node;
}

async function showGroup(number) {
  groupShown = number;
  const { suite, id, rows } = groups[number];
  const waiting = opened(rows);
  if (waiting) await waiting;
  if (groupShown !== number) return;
  const heading = sentPrompt(rows[0]);
  byId("compare-where").textContent = `${RESPONSES.suites[suite]}, ${id}; prompt ${whole(number + 1)} of ${whole(groups.length)}`;
  byId("compare-prompt").textContent = heading;
  const byRun = Map.groupBy(rows, (row) => ROWS.run[row]);
  byId("compare-columns").replaceChildren(...[...byRun].map(([run, own]) => column(run, own, heading)));
  byId("compare-columns").scrollTo(0, 0);
  byId("compare-back").disabled = number === 0;
  byId("compare-on").disabled = number === groups.length - 1;
}

async function openCompare(row) {
  groups ??= groupByPrompt();
  const [suite, id] = RESPONSES.prompts[ROWS.prompt[row]];
  await showGroup(groups.findIndex((group) => group.suite === suite && group.id === id));
  byId("compare").showModal();
}
