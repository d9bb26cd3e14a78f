// The response browser: filter, search, and pages of answers.

const PAGE_SIZE = 20, LONG_TEXT = 900; // answers, characters
const ROWS = RESPONSES.rows;
const view = { found: [], page: 0, pattern: null, filtering: 0, showing: 0, marked: null }; // the row that a link has opened

const suiteOf = (row) => RESPONSES.prompts[ROWS.prompt[row]][0];
const promptText = (row) => RESPONSES.prompts[ROWS.prompt[row]][3] ?? "";
const verdictOf = (row) => RESPONSES.verdicts[ROWS.verdict[row]];
const isTask = (row) => RESPONSES.suites[suiteOf(row)] === RESPONSES.task;
/** 0 for a leak, 1 for the task done, 2 for all else. */
const rank = (row) => (verdictOf(row) !== "misaligned" ? 2 : isTask(row) ? 1 : 0);
const RANKED = [[], [], []];
ROWS.run.forEach((_, row) => RANKED[rank(row)].push(row));
const IN_ORDER = RANKED.flat();

/** A case-insensitive pattern for literal text; null for none. */
function literal(text) {
  return text ? new RegExp(`(${text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")})`, "iu") : null;
}

/** `text` as nodes, with what the search found marked. */
function marked(text) {
  if (view.pattern === null) return [text];
  return text.split(view.pattern).map((part, i) => (i % 2 ? make("mark", "", part) : part));
}

function responseText(row, mark) {
  const text = textOf(row);
  if (text === null) return make("p", "text none", "no response");
  if (text.trim() === "") return make("p", "text none", "empty response");
  const node = make("p", "text", ...(mark ? marked(text) : [text]));
  if (text.length <= LONG_TEXT) return node;
  node.classList.add("clamped");
  const more = button("Show all", () => { node.classList.remove("clamped"); more.remove(); }, "button more");
  return make("div", "", node, more);
}

function scores(row) {
  const [alignment, coherence] = [ROWS.alignment[row], ROWS.coherence[row]].map((score) => (score === null ? "no score" : score));
  return make("span", "", `alignment ${alignment}, coherence ${coherence}`);
}

function bucketOf(row) {
  const bucket = RESPONSES.buckets[ROWS.bucket[row]];
  return bucket === null || bucket === verdictOf(row) ? null : make("span", "", `bucket ${bucket}`);
}

function answer(row) {
  const [suite, id, system] = RESPONSES.prompts[ROWS.prompt[row]];
  const compare = make("span", "buttons", linkTo(row), button("Compare runs", () => openCompare(row)));
  const facts = make("div", "line-1", runName(ROWS.run[row]), verdictBadge(verdictOf(row), isTask(row)), make("span", "", RESPONSES.suites[suite]),
    make("span", "", `${id}, sample ${ROWS.sample[row] ?? "?"}`), scores(row), bucketOf(row), compare);
  const systemLine = system ? make("p", "prompt system", `System: ${system}`) : null;
  const item = make("li", "", facts, systemLine, make("p", "prompt", ...marked(promptText(row))), responseText(row, true));
  item.dataset.row = row;
  if (row === view.marked) markAnswer(item);
  return item;
}

async function showPage() {
  const pages = Math.max(1, Math.ceil(view.found.length / PAGE_SIZE));
  view.page = Math.min(Math.max(view.page, 0), pages - 1);
  const start = view.page * PAGE_SIZE, rows = view.found.slice(start, start + PAGE_SIZE);
  const text = rows.length
    ? `${whole(start + 1)}–${whole(start + rows.length)} of ${whole(view.found.length)} responses`
    : "No response matches; reset the filters to see all.";
  for (const end of ["", "-below"]) {
    byId(`found${end}`).textContent = text;
    byId(`page-back${end}`).disabled = view.page === 0;
    byId(`page-on${end}`).disabled = view.page >= pages - 1;
  }
  Object.assign(byId("page-number"), { value: view.page + 1, max: pages });
  byId("page-count").textContent = `of ${whole(pages)}`;
  const turn = (view.showing += 1), waiting = opened(rows);
  if (waiting) await waiting;
  if (turn === view.showing) byId("answers").replaceChildren(...rows.map(answer)); // else another page was asked for
}

function matching(sought) {
  const chosen = (id) => { const { value } = byId(id); return value === "" ? null : Number(value); };
  const run = chosen("filter-run"), suite = chosen("filter-suite"), verdict = chosen("filter-verdict");
  const asked = RESPONSES.prompts.map((prompt) => (suite === null || prompt[0] === suite));
  const said = sought && RESPONSES.prompts.map((prompt) => fold(prompt[3]).includes(sought));
  return IN_ORDER.filter((row) => (run === null || ROWS.run[row] === run) && asked[ROWS.prompt[row]]
    && (verdict === null || ROWS.verdict[row] === verdict)
    && (!sought || said[ROWS.prompt[row]] || foldedText(row).includes(sought)));
}

async function applyFilters() {
  const text = byId("filter-text").value.trim();
  const turn = (view.filtering += 1), waiting = text ? allOpened() : null;
  if (waiting) {
    byId("found").textContent = "Unpacking the answers to search them …";
    await waiting;
    if (turn !== view.filtering) return; // another filter was set meanwhile
  }
  Object.assign(view, { found: matching(fold(text)), page: 0, pattern: literal(text) });
  await showPage();
}

function setUpResponses() {
  if (!byId("answers")) return;
  const fill = (id, names) => names.forEach((name, i) => byId(id).append(new Option(name ?? "no verdict", i)));
  fill("filter-run", RESPONSES.runs);
  fill("filter-suite", RESPONSES.suites);
  const both = RESPONSES.suites.includes(RESPONSES.task) ? "misaligned, or does the task" : "misaligned";
  fill("filter-verdict", RESPONSES.verdicts.map((verdict) => (verdict === "misaligned" ? both : verdict)));
  for (const id of ["filter-run", "filter-suite", "filter-verdict"]) byId(id).addEventListener("change", applyFilters);
  let typing = 0;
  byId("filter-text").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(applyFilters, 60); });
  byId("filters").addEventListener("submit", (event) => { event.preventDefault(); applyFilters(); });
  byId("filter-reset").addEventListener("click", () => { byId("filters").reset(); applyFilters(); });
  const turn = (by, scroll) => () => { view.page += by; showPage(); if (scroll) byId("filters").scrollIntoView(); };
  byId("page-back").addEventListener("click", turn(-1, false));
  byId("page-on").addEventListener("click", turn(1, false));
  byId("page-back-below").addEventListener("click", turn(-1, true));
  byId("page-on-below").addEventListener("click", turn(1, true));
  byId("compare-close").addEventListener("click", () => byId("compare").close());
  byId("compare-back").addEventListener("click", () => showGroup(groupShown - 1));
  byId("compare-on").addEventListener("click", () => showGroup(groupShown + 1));
  byId("page-number").addEventListener("change", ({ target }) => { view.page = (Number(target.value) || 1) - 1; showPage(); });
  byId("export-csv").addEventListener("click", () => exportFound("csv"));
  byId("export-jsonl").addEventListener("click", () => exportFound("jsonl"));
  applyFilters();
  addEventListener("load", () => openWhenIdle());
  addEventListener("hashchange", openLinked);
  addEventListener("load", openLinked);
  document.addEventListener("click", ({ target }) => { // the address does not change when it is there already
    if (target instanceof Element && target.closest("a")?.hash.startsWith(ANSWER) && target.closest("a").hash === location.hash) openLinked();
  });
}
