// What the canaries said, one probe at a time; a run's table is built when its section is opened.

function canaryTable(canaries, rows) {
  const judged = canaries.response.some((response) => response !== null);
  const headings = judged ? ["Prompt", "Response", "Verdict"] : ["Prompt", "Gap", "Risk"];
  const cells = (row) => {
    if (judged) return [canaries.prompt[row], canaries.response[row] ?? "no response", verdictBadge(canaries.verdict[row])];
    return [canaries.prompt[row], ...[canaries.gap[row], canaries.risk[row]].map((x) => (x === null ? "no data" : x.toFixed(3)))];
  };
  const head = make("tr", "", ...headings.map((text) => make("th", "word", text)));
  const body = rows.map((row) => make("tr", "", ...cells(row).map((cell) => make("td", "word text", cell))));
  const scroll = make("div", "scroll", make("table", "", make("thead", "", head), make("tbody", "", ...body)));
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Canaries of one probe");
  return scroll;
}

function openCanaries(section) {
  const body = section.querySelector(".canary-body");
  if (body.childElementCount) return;
  const { canaries } = RUNS[Number(section.dataset.run)];
  const steps = [...new Set(canaries.step)].sort((a, b) => a - b);
  const choice = make("select", "");
  steps.forEach((step) => choice.append(new Option(`step ${step}`, step)));
  const tally = make("span", "n"), place = make("div", "");
  const show = () => {
    const rows = canaries.step.flatMap((step, row) => (step === Number(choice.value) ? [row] : []));
    const bad = rows.filter((row) => canaries.verdict[row] === "misaligned").length;
    const judged = rows.some((row) => canaries.verdict[row] !== null);
    tally.textContent = judged ? `${bad} of ${rows.length} misaligned` : `${rows.length} canaries`;
    place.replaceChildren(canaryTable(canaries, rows));
    back.disabled = choice.selectedIndex === 0;
    on.disabled = choice.selectedIndex === steps.length - 1;
  };
  const move = (by) => () => { choice.selectedIndex += by; show(); };
  const back = button("Previous", move(-1)), on = button("Next", move(1));
  choice.addEventListener("change", show);
  body.append(make("div", "pager", make("label", "", "Probe at ", choice), back, on, tally), place);
  show();
}

document.querySelectorAll("details.canary").forEach((section) => {
  section.addEventListener("toggle", () => section.open && openCanaries(section));
});
