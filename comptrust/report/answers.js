// The viewer of answers. Texts come from models and data sets: they are only ever set as text
// content, never as markup. Only the rows in sight are in the document, however many there are.
(() => {
  const ROW_HEIGHT = 58; // pixels, as in answers.css
  const AROUND = 6; // rows kept ready above and below the visible ones
  const LONG = 300; // characters; longer text before the question is folded
  const root = document.getElementById("viewer");
  const form = root.querySelector("form");
  const list = root.querySelector(".list");
  const space = list.firstElementChild;
  const detail = root.querySelector("article");
  const status = root.querySelector("output");
  const MARKS = { worse: "▼ worse", better: "▲ better", flip: "⇄ flip", same: "" };
  let rows = []; // all prompts
  let shown = []; // those that the filters let through
  let selected = null;
  let answers = {};

  // Characters that hide or reorder text are shown by their number.
  const HIDDEN = new RegExp(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]",
    "g",
  );
  function visible(text) {
    const number = (c) => c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    return String(text).replace(/\r\n/g, "\n").replace(HIDDEN, (c) => `⟨U+${number(c)}⟩`);
  }

  function make(tag, className, content) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (content !== undefined) element.textContent = visible(content);
    return element;
  }

  function add(parent, ...children) {
    parent.append(...children.filter(Boolean));
    return parent;
  }

  async function unpack() {
    const packed = document.getElementById("answers").textContent;
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  // What the filters ask about a prompt, found once.
  function prepare(row) {
    const { dense, compressed } = row;
    const margins = [dense, compressed].map((side) => side?.margin ?? null);
    const known = margins.filter((margin) => margin !== null);
    const given = dense && compressed && !dense.withheld && !compressed.withheld;
    const both = given && dense.earned != null && compressed.earned != null;
    row.key = `${row.dimension}/${row.id}`;
    row.gain = both ? compressed.earned - dense.earned : 0;
    row.margin = known.length ? Math.min(...known) : null;
    row.flip = Boolean(given && dense.answer !== compressed.answer);
    row.kind = row.gain < 0 ? "worse" : row.gain > 0 ? "better" : row.flip ? "flip" : "same";
    return row;
  }

  const texts = (side) => side?.texts ?? [];
  const refuses = (side) => (side?.refusal ?? 0) > 0;
  const contents = (row) => (row.prompt ?? []).map((message) => message.content);

  const REFUSALS = {
    either: (row) => refuses(row.dense) || refuses(row.compressed),
    new: (row) => refuses(row.compressed) && !refuses(row.dense),
    gone: (row) => refuses(row.dense) && !refuses(row.compressed),
    withheld: (row) => [row.dense, row.compressed].some((side) => !side || side.withheld),
  };
  const CHANGES = {
    flips: (row) => row.flip,
    worse: (row) => row.gain < 0,
    better: (row) => row.gain > 0,
    text: (row) => texts(row.dense).join("\0") !== texts(row.compressed).join("\0"),
  };
  const ORDERS = {
    worst: (a, b) => a.gain - b.gain || b.flip - a.flip,
    closest: (a, b) => (a.margin ?? Infinity) - (b.margin ?? Infinity) || 0,
  };

  function tests() {
    const value = (name) => form.elements[name].value;
    const result = [];
    for (const name of ["dimension", "scenario", "group"]) {
      if (value(name)) result.push((row) => row[name] === value(name));
    }
    if (value("change")) result.push(CHANGES[value("change")]);
    if (value("refusals")) result.push(REFUSALS[value("refusals")]);
    if (value("margin")) {
      const most = Number(value("margin"));
      result.push((row) => row.margin !== null && row.margin <= most);
    }
    const words = value("text").trim();
    if (words) {
      const pattern = new RegExp(words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i");
      result.push((row) =>
        [row.key, ...contents(row), ...texts(row.dense), ...texts(row.compressed)].some((text) =>
          pattern.test(text),
        ),
      );
    }
    return result;
  }

  function filter() {
    fillScenarios();
    const all = tests();
    shown = rows.filter((row) => all.every((test) => test(row)));
    const order = ORDERS[form.elements.order.value];
    if (order) shown.sort(order);
    const flips = shown.filter((row) => row.flip).length;
    const worse = shown.filter((row) => row.gain < 0).length;
    const count = (number) => number.toLocaleString("en-US");
    status.textContent =
      `${count(shown.length)} of ${count(rows.length)} prompts: ${count(flips)} flipped,` +
      ` ${count(worse)} worse${answers.texts === false ? "; texts were left out" : ""}`;
    list.scrollTop = 0;
    select(shown.includes(selected) ? selected : (shown[0] ?? null));
  }

  // The last part of a prompt is its question; what comes before are instructions and examples.
  function split(text) {
    const cut = text.trimEnd().lastIndexOf("\n\n");
    return cut < LONG ? ["", text] : [text.slice(0, cut), text.slice(cut + 2)];
  }

  function question(row) {
    return split(contents(row).filter((text) => text.trim()).at(-1) ?? "")[1];
  }

  function item(row, index) {
    const element = make("div", `item ${row.kind}`);
    element.setAttribute("role", "option");
    element.setAttribute("aria-selected", row === selected);
    element.id = `item-${index}`;
    element.style.top = `${index * ROW_HEIGHT}px`;
    element.onclick = () => select(row);
    const change = row.flip
      ? `${row.dense.answer} → ${row.compressed.answer}`
      : (row.compressed ?? row.dense).answer;
    return add(
      element,
      add(
        make("b"),
        make("span", "", `${row.dimension.replaceAll("_", " ")} · ${row.scenario}`),
        make("i", "", MARKS[row.kind]),
      ),
      make("span", "question", question(row).slice(-300) || row.id),
      make("span", "change", change),
    );
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - AROUND);
    const last = Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + AROUND;
    const visibleRows = shown.slice(first, last);
    space.replaceChildren(...visibleRows.map((row, offset) => item(row, first + offset)));
    if (!shown.length) space.append(make("p", "", "No prompt matches these filters."));
  }

  function select(row) {
    selected = row;
    const index = shown.indexOf(row);
    const top = index * ROW_HEIGHT;
    space.style.height = `${shown.length * ROW_HEIGHT}px`; // else it cannot scroll that far yet
    const isAbove = top < list.scrollTop;
    const isBelow = top + ROW_HEIGHT > list.scrollTop + list.clientHeight;
    if (row && (isAbove || isBelow)) {
      list.scrollTop = isAbove ? top : top + ROW_HEIGHT - list.clientHeight;
    }
    draw();
    list.setAttribute("aria-activedescendant", `item-${index}`);
    detail.replaceChildren(...(row ? details(row) : []));
    detail.scrollTop = 0;
    remember();
  }

  function message({ role, content }) {
    const [before, rest] = split(content);
    const block = make("section", "message");
    if (role !== "completion") block.append(make("h4", "", role));
    if (before) {
      const folded = make("details");
      const count = before.length.toLocaleString("en-US");
      add(folded, make("summary", "", `${count} characters before the question`), pre(before));
      block.append(folded);
    }
    return add(block, pre(rest));
  }

  function pre(text) {
    const element = make("pre", text.trim() ? "" : "empty", text.trim() ? text : "(no text)");
    element.dir = "auto";
    return element;
  }

  function side(name, value) {
    const block = make("section", "side");
    const title = add(make("h3"), make("span", "", name));
    block.append(title);
    if (!value) return add(block, make("p", "empty", "This model was not asked."));
    title.append(make("span", "answer", value.answer));
    if (value.withheld) return add(block, make("p", "empty", `Not given: ${value.withheld}`));
    for (const text of texts(value)) block.append(pre(text));
    const facts = [];
    if (value.earned != null) facts.push(`earns ${value.earned.toFixed(2)} of 1`);
    if (value.margin != null) facts.push(`margin ${value.margin.toPrecision(3)}`);
    if (refuses(value)) facts.push("refusal");
    return add(block, make("p", "facts", facts.join(" · ")));
  }

  // The log-likelihood of each option shows how near to the edge a choice was.
  function options(row) {
    const before = row.dense?.loglik ?? [];
    const after = row.compressed?.loglik ?? [];
    const count = Math.max(before.length, after.length);
    if (!count) return null;
    const table = make("table");
    const head = table.createTHead().insertRow();
    for (const title of ["option", "dense", "compressed"]) head.append(make("th", "", title));
    const body = table.createTBody();
    for (let index = 0; index < count; index++) {
      const line = body.insertRow();
      line.append(make("th", "", row.options?.[index] ?? `option ${index + 1}`));
      for (const values of [before, after]) {
        const isBest = values[index] === Math.max(...values);
        const text = values[index]?.toPrecision(4) ?? "–";
        line.append(make("td", isBest ? "best" : "", text));
      }
    }
    return add(make("div", "options"), make("h4", "", "log-likelihood of each option"), table);
  }

  function details(row) {
    const chips = make("p", "chips");
    const group = row.group && `group ${row.group}`;
    const facts = [row.dimension.replaceAll("_", " "), row.scenario, group];
    for (const fact of facts) if (fact) chips.append(make("span", "", fact));
    if (row.kind !== "same") chips.append(make("span", row.kind, MARKS[row.kind]));
    const link = make("a", "link", row.id);
    link.href = `#prompt=${encodeURIComponent(row.key)}`;
    link.title = "Link to this prompt";
    const pair = make("div", "pair");
    add(pair, side("Dense", row.dense), side("Compressed", row.compressed));
    return [
      add(make("h2"), link),
      chips,
      ...(row.prompt ?? []).map(message),
      !row.prompt?.length && make("p", "empty", "The text of the prompt is not in this page."),
      row.target != null && make("p", "target", `Expected: ${row.target}`),
      pair,
      options(row),
    ].filter(Boolean);
  }

  // The address holds the filters and the prompt, so that it can be sent to somebody.
  function remember() {
    const state = new URLSearchParams();
    for (const element of form.elements) {
      if (element.name && element.value) state.set(element.name, element.value);
    }
    if (selected && (state.size || location.hash)) state.set("prompt", selected.key);
    try {
      history.replaceState(null, "", `#${state}`);
    } catch {
      // A browser may refuse it in a frame; only the address is then not kept.
    }
  }

  // #prompt=ID (or DIMENSION/ID) opens a prompt; the other settings are the names of the filters.
  function follow(address) {
    const state = new URLSearchParams(address.slice(1));
    const wanted = state.get("prompt");
    for (const element of form.elements) {
      if (element.name) element.value = state.get(element.name) ?? "";
    }
    fillScenarios(state.get("scenario") ?? "");
    const row = wanted && rows.find((one) => one.key === wanted || one.id === wanted);
    if (row) selected = row;
    filter();
    if (wanted && !row) status.textContent += `. There is no prompt ${visible(wanted)}`;
    if (row && document.body.scrollHeight > innerHeight) root.scrollIntoView();
  }

  function fill(name, values, chosen = form.elements[name].value) {
    const element = form.elements[name];
    const all = element.options[0];
    element.replaceChildren(all, ...values.map((value) => {
      const option = make("option", "", value.replaceAll("_", " "));
      option.value = value;
      return option;
    }));
    element.value = values.includes(chosen) ? chosen : "";
    element.parentNode.hidden = values.length < 1;
  }

  function fillScenarios(chosen) {
    const dimension = form.elements.dimension.value;
    const within = rows.filter((row) => !dimension || row.dimension === dimension);
    fill("scenario", dimension ? unique(within, "scenario") : [], chosen);
    fill("group", unique(within, "group"));
  }

  function unique(some, name) {
    return [...new Set(some.map((row) => row[name]).filter(Boolean))];
  }

  function step(by) {
    const index = shown.indexOf(selected) + by;
    if (index >= 0 && index < shown.length) select(shown[index]);
  }

  const KEYS = {
    j: () => step(1),
    k: () => step(-1),
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    "/": () => form.elements.text.focus(),
    Escape: clear,
  };

  function clear() {
    document.activeElement?.blur();
    form.reset();
    filter();
  }

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input, select, textarea");
    const isArrow = event.key.startsWith("Arrow");
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    if (isTyping && event.key !== "Escape") return;
    if (isArrow && !list.contains(event.target)) return; // else it scrolls the page
    event.preventDefault();
    KEYS[event.key]();
  });

  // MLflow shows a page in a frame whose address cannot change: the link is followed from here.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#prompt="]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    follow(link.getAttribute("href"));
  });

  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 120);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  list.addEventListener("scroll", () => requestAnimationFrame(draw));
  addEventListener("resize", draw);

  unpack()
    .then((content) => {
      answers = content;
      rows = content.rows.map(prepare);
      fill("dimension", unique(rows, "dimension"));
      follow(location.hash);
      addEventListener("hashchange", () => follow(location.hash));
    })
    .catch((error) => {
      status.textContent =
        `The answers cannot be shown (${error.message}). Use a browser of 2023 or later.`;
    });
})();
