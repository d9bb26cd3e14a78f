// A link to one answer: `#answer-RUN/SUITE/PROMPT ID/SAMPLE`, each part escaped; it opens, marks and scrolls to it.

const ANSWER = "#answer-";

/** Whether two rows of one run have the same suite, prompt id and sample; a fifth part of the link tells those apart. */
function isCopy(row, other) {
  const [suite, id] = RESPONSES.prompts[ROWS.prompt[row]], [otherSuite, otherId] = RESPONSES.prompts[ROWS.prompt[other]];
  return ROWS.run[row] === ROWS.run[other] && ROWS.sample[row] === ROWS.sample[other] && suite === otherSuite && id === otherId;
}

function fragmentOf(row) {
  const [suite, id] = RESPONSES.prompts[ROWS.prompt[row]];
  let copy = 0; // the rows of a run stand together
  for (let other = row - 1; other >= 0 && ROWS.run[other] === ROWS.run[row]; other -= 1) copy += isCopy(row, other) ? 1 : 0;
  const parts = [RESPONSES.runs[ROWS.run[row]], RESPONSES.suites[suite], id, String(ROWS.sample[row]), ...(copy ? [String(copy)] : [])];
  return ANSWER + parts.map(encodeURIComponent).join("/");
}

function linkTo(row) {
  const link = make("a", "link", "Link");
  link.href = fragmentOf(row);
  link.title = "Link to this answer";
  return link;
}

/** The row that a fragment names; undefined if there is none. */
function rowOf(fragment) {
  let parts;
  try { parts = fragment.slice(ANSWER.length).split("/").map(decodeURIComponent); } catch { return undefined; } // a stray %
  const [run, suite, id, sample, copy = "0"] = parts;
  const asked = new Set(RESPONSES.prompts.flatMap((prompt, at) => (RESPONSES.suites[prompt[0]] === suite && String(prompt[1]) === id ? [at] : [])));
  const number = RESPONSES.runs.indexOf(run);
  let left = Number(copy);
  const at = ROWS.run.findIndex((one, row) => one === number && asked.has(ROWS.prompt[row]) && String(ROWS.sample[row]) === sample && (left -= 1) < 0);
  return at < 0 ? undefined : at;
}

function markAnswer(item) {
  item.classList.add("linked");
  item.tabIndex = -1;
  item.querySelectorAll(".clamped").forEach((text) => text.classList.remove("clamped"));
  item.querySelectorAll(".more").forEach((more) => more.remove());
}

/** Show the page of the list that holds `row`, without the filters if they hide it. */
async function openAnswer(row) {
  if (!view.found.includes(row)) {
    byId("filters").reset();
    await applyFilters();
  }
  Object.assign(view, { marked: row, page: Math.floor(view.found.indexOf(row) / PAGE_SIZE) });
  await showPage();
  const item = document.querySelector(`#answers > [data-row="${row}"]`);
  item?.scrollIntoView({ block: "center" });
  item?.focus({ preventScroll: true });
}

/** Follow the address, if it names an answer. */
function openLinked() {
  if (!location.hash.startsWith(ANSWER)) return;
  byId("compare").close();
  const row = rowOf(location.hash);
  if (row !== undefined) openAnswer(row);
  else {
    byId("found").textContent = "The answer that the link names is not on this page.";
    byId("responses").scrollIntoView();
  }
}
