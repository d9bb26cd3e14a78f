// The texts of the answers: compressed in pieces, unpacked when first wanted, and all of them while the page is idle.

const PIECES = [...document.querySelectorAll("script.texts")].map((node) => ({ node, texts: null, folded: null, opening: null }));

const pieceOf = (row) => PIECES[Math.floor(row / RESPONSES.piece)];
/** The answer of a row whose piece is open; null where there was none. */
const textOf = (row) => pieceOf(row).texts[row % RESPONSES.piece];
/** The same without its capitals, for the search. */
const foldedText = (row) => pieceOf(row).folded[row % RESPONSES.piece];
const fold = (text) => (text ?? "").toLowerCase();

function bytesOf(base64) {
  const binary = atob(base64), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function unpack(piece) {
  const stream = new Blob([bytesOf(piece.node.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const texts = JSON.parse(await new Response(stream).text());
  Object.assign(piece, { texts, folded: texts.map(fold) });
  piece.node.remove(); // the letters would only take room
}

/** A promise for the texts of `rows`; null if all of them are open already. */
function opened(rows) {
  const closed = [...new Set(rows.map(pieceOf))].filter((piece) => piece.texts === null);
  return closed.length ? Promise.all(closed.map((piece) => { piece.opening ??= unpack(piece); return piece.opening; })) : null;
}

/** The same for all answers. */
const allOpened = () => opened(PIECES.map((_, i) => i * RESPONSES.piece));

/** Piece after piece, each when the browser has nothing better to do, so that a search has not to wait. */
function openWhenIdle(from = 0) {
  if (from >= PIECES.length) return;
  const next = async () => { await opened([from * RESPONSES.piece]); openWhenIdle(from + 1); };
  if (typeof requestIdleCallback === "function") requestIdleCallback(next, { timeout: 500 });
  else setTimeout(next, 50); // Safari
}
