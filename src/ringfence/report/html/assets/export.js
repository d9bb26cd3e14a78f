// The answers that the filters leave, as a file: CSV (RFC 4180) or JSON lines, in the order of the list.

const LINES_AT_ONCE = 2000;
const EXPORTS = {
  csv: { type: "text/csv", head: (names) => `${names.join(",")}\r\n`, line: (record) => `${Object.values(record).map(csvCell).join(",")}\r\n` },
  jsonl: { type: "application/jsonl", head: () => "", line: (record) => `${JSON.stringify(record)}\n` },
};

/** Nothing where there is no value, so that an empty answer, which is quoted, is told from none. */
function csvCell(value) {
  if (value === null) return "";
  const text = String(value);
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function recordOf(row) {
  const [suite, prompt_id, system, prompt] = RESPONSES.prompts[ROWS.prompt[row]];
  return {
    run: RESPONSES.runs[ROWS.run[row]], suite: RESPONSES.suites[suite], prompt_id, sample: ROWS.sample[row], system, prompt,
    response: textOf(row), alignment: ROWS.alignment[row], coherence: ROWS.coherence[row],
    bucket: RESPONSES.buckets[ROWS.bucket[row]], verdict: RESPONSES.verdicts[ROWS.verdict[row]],
  };
}

/** The file's text in parts, which no browser has to hold as one string. */
function exportedParts({ head, line }, rows) {
  const parts = rows.length ? [head(Object.keys(recordOf(rows[0])))] : [];
  for (let start = 0; start < rows.length; start += LINES_AT_ONCE) {
    parts.push(rows.slice(start, start + LINES_AT_ONCE).map((row) => line(recordOf(row))).join(""));
  }
  return parts;
}

async function exportFound(format) {
  const rows = view.found;
  await opened(rows);
  const link = make("a", "");
  link.href = URL.createObjectURL(new Blob(exportedParts(EXPORTS[format], rows), { type: EXPORTS[format].type }));
  link.download = `responses.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // by then the browser has it
}
