const table = document.getElementById("leaderboard");
const body = table.tBodies[0];
const box = document.getElementById("filter");
const heads = [...table.tHead.querySelectorAll("button")];

// A cell that was not measured has an empty value; it stays last whichever way the column is sorted.
function value(row, index) {
  const cell = row.cells[index];
  if (cell.dataset.value === undefined) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function sort(name, up) {
  const index = heads.findIndex((head) => head.dataset.column === name);
  if (index < 0) return;
  const ordered = [...body.rows].sort((first, second) => {
    const x = value(first, index), y = value(second, index);
    if (x === null || y === null) return (x === null) - (y === null);
    return (typeof x === "string" ? x.localeCompare(y) : x - y) * (up ? 1 : -1);
  });
  body.append(...ordered);
  heads.forEach((head, place) => head.parentNode.setAttribute("aria-sort", place !== index ? "none" : up ? "ascending" : "descending"));
}

// Words are looked for where words start, and not in the scores: "4 bits" finds neither g64 nor 44.4.
function filter() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const said = [...row.cells].filter((cell) => !cell.classList.contains("number")).map((cell) => cell.innerText.toLowerCase());
    const starts = said.flatMap((text) => [...text.matchAll(/[a-z0-9]+/g)].map((match) => text.slice(match.index)));
    row.hidden = !words.every((word) => starts.some((start) => start.startsWith(word)));
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = `${shown} of ${body.rows.length} rows`;
}

// The first press puts the highest number or the first word on top, the next one turns the order.
heads.forEach((head, index) => {
  head.onclick = () => {
    const now = head.parentNode.getAttribute("aria-sort") || "none";
    const words = [...body.rows].some((row) => typeof value(row, index) === "string");
    sort(head.dataset.column, now === "none" ? words : now === "descending");
  };
});
box.oninput = filter;
const asked = new URLSearchParams(location.hash.slice(1));
if (asked.get("sort")) sort(asked.get("sort"), asked.get("order") === "up");
box.value = asked.get("filter") || "";
filter();
