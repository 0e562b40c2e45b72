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
    return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
  });
  body.append(...ordered);
  heads.forEach((head, place) => head.parentNode.setAttribute("aria-sort", place !== index ? "none" : up ? "ascending" : "descending"));
}

function filter() {
  const words = box.value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const row of body.rows) {
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = `${shown} of ${body.rows.length} rows`;
}

for (const head of heads) {
  head.onclick = () => sort(head.dataset.column, head.parentNode.getAttribute("aria-sort") === "descending");
}
box.oninput = filter;
const asked = new URLSearchParams(location.hash.slice(1));
if (asked.get("sort")) sort(asked.get("sort"), asked.get("order") === "up");
box.value = asked.get("filter") || "";
filter();
