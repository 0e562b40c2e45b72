const table = document.getElementById("leaderboard");
const body = table.tBodies[0];
const box = document.getElementById("filter");
const published = document.getElementById("published");
const buttons = [...table.tHead.querySelectorAll("button")];

// A cell that was not measured has an empty value and stays last in either order.
function value(row, index) {
  const cell = row.cells[index];
  if (cell.dataset.value === undefined) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function sort(name, ascending) {
  const index = buttons.findIndex((button) => button.dataset.column === name);
  if (index < 0) return;
  const rows = [...body.rows].sort((first, second) => {
    const x = value(first, index);
    const y = value(second, index);
    if (x === null || y === null) return (x === null) - (y === null);
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return ascending ? order : -order;
  });
  body.append(...rows);
  const direction = ascending ? "ascending" : "descending";
  buttons.forEach((button, place) => {
    button.parentNode.setAttribute("aria-sort", place === index ? direction : "none");
  });
}

// Returns a row's text from the start of each word on, without its scores: "4 bits" must match
// neither g64 nor 44.4.
function wordStarts(row) {
  const cells = [...row.cells].filter((cell) => !cell.classList.contains("number"));
  return cells.flatMap((cell) => {
    const text = cell.innerText.toLowerCase();
    return [...text.matchAll(/[a-z0-9]+/g)].map((match) => text.slice(match.index));
  });
}

function filter() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let visible = 0;
  for (const row of body.rows) {
    const starts = wordStarts(row);
    const folded = published && !published.checked && row.querySelector("[data-published]");
    const matches = words.every((word) => starts.some((start) => start.startsWith(word)));
    row.hidden = folded || !matches;
    visible += !row.hidden;
  }
  const count = `${visible} of ${body.rows.length} rows`;
  document.getElementById("shown").textContent = count;
}

// The first click puts the highest number or the first word on top, the next reverses the order.
buttons.forEach((button, index) => {
  button.onclick = () => {
    const current = button.parentNode.getAttribute("aria-sort") || "none";
    const isText = [...body.rows].some((row) => typeof value(row, index) === "string");
    sort(button.dataset.column, current === "none" ? isText : current === "descending");
  };
});
box.oninput = filter;
if (published) published.onchange = filter;
// A link to a version opens its card.
function unfold() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.tagName === "DETAILS") target.open = true;
}
addEventListener("hashchange", unfold);
unfold();

const settings = new URLSearchParams(location.hash.slice(1));
if (settings.get("sort")) sort(settings.get("sort"), settings.get("order") === "up");
box.value = settings.get("filter") || "";
filter();
