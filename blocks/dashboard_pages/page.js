// Draws a dashboard from the rows in the page. A choice of filters is a number: the place of its rows.
(() => {
  "use strict";
  const read = (element) => JSON.parse(element.textContent);
  const byId = (id) => document.getElementById(id);
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const filters = read(byId("page-filters"));
  const form = byId("filters");
  const cards = [...document.querySelectorAll(".card-settings")].map((element) => {
    const card = read(element);
    card.figure = byId(`card-${card.key}`);
    card.body = byId(`body-${card.key}`);
    card.panel = card.figure.closest("[data-panel]").dataset.panel;
    return card;
  });
  const chosen = (key) => (form ? form.elements[key].selectedIndex : 0);

  // ---- rows of the present choice
  const rowsOf = (card) => {
    card.all ??= read(byId(`rows-${card.key}`));
    let place = 0;
    for (const key of card.filters) {
      place = place * filters.find((each) => each.key === key).values.length + chosen(key);
    }
    return card.all[place];
  };

  const { numberOf, dateOf, writer, shown, earlier, change } = floeFigures;
  const columnOf = (card, name) => card.columns.find((column) => column.name === name);
  const placeOf = (card, name) => card.columns.findIndex((column) => column.name === name);
  const empty = () => make("p", {
    className: "empty",
    textContent: filters.some(({ key }) => chosen(key)) ? "Nothing to show for this choice." : "Nothing to show yet.",
  });

  // ---- one figure
  const drawScalar = (card, rows) => {
    const column = columnOf(card, card.metrics[0]);
    const value = rows.length ? rows[0][placeOf(card, column.name)] : null;
    card.body.replaceChildren(value === null ? empty() : figureOf(column, value));
  };
  const figureOf = (column, value) => {
    const figure = make("p", { className: "value", textContent: shown(column, value), title: numberOf(column)(value) });
    figure.dataset.value = value;
    return figure;
  };

  // ---- the latest figure of a series, against earlier ones
  const comparison = (card, column, now, then, period) => {
    const line = make("li");
    if (then === undefined || then === null) {
      line.append(`no figure for ${period}`);
      return line;
    }
    const { direction, size, tone } = change(column, now, then, card.fallIsGood);
    const words = direction ? `${direction === "up" ? "▲" : "▼"} ${size}` : size;
    const strong = make("b", { className: tone, textContent: words });
    if (direction) strong.setAttribute("aria-label", `${direction} ${size}`);
    line.append(strong, ` vs ${period}`);
    line.title = `${period}: ${numberOf(column)(then)}`;
    return line;
  };
  const drawSmartScalar = (card, rows) => {
    const when = columnOf(card, card.dimensions[0]);
    const column = columnOf(card, card.metrics[0]);
    const [x, y] = [placeOf(card, when.name), placeOf(card, column.name)];
    const series = rows.filter((row) => row[x] !== null && row[y] !== null);
    if (!series.length) return card.body.replaceChildren(empty());
    const last = series[series.length - 1];
    const known = new Map(series.map((row) => [row[x].slice(0, 10), row[y]]));
    const compare = make("ul", { className: "compare" });
    for (const count of card.comparisons) {
      const day = earlier(last[x], when.temporal_unit, count);
      compare.append(comparison(card, column, last[y], known.get(day), dateOf(when)(day)));
    }
    const prefix = when.temporal_unit === "week" ? "Week of " : "";
    const latest = make("div", { className: "latest" }, figureOf(column, last[y]), make("p", { className: "period", textContent: prefix + dateOf(when)(last[x]) }));
    card.body.replaceChildren(latest, sparkline(series.slice(-26).map((row) => row[y])), compare);
  };
  const sparkline = (values) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "spark");
    svg.setAttribute("viewBox", "0 0 100 40");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    if (values.length > 1) {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", values.map((value, at) =>
        `${at ? "L" : "M"}${(at * 100 / (values.length - 1)).toFixed(1)} ${(38 - 36 * (value - low) / (high - low || 1)).toFixed(1)}`).join(""));
      svg.append(path);
    }
    return svg;
  };

  // ---- tables
  const tableOf = (card, rows) => {
    const body = make("tbody");
    const fill = (sorted) => body.replaceChildren(...sorted.map((row) => make("tr", {}, ...row.map((value, at) => {
      const cell = make(at ? "td" : "th", { textContent: writer(card.columns[at])(value) });
      if (!at) cell.scope = "row";
      if (card.columns[at].kind === "number") { cell.className = "number"; cell.dataset.value = value; }
      return cell;
    }))));
    const heads = card.columns.map((column, at) => {
      const button = make("button", { type: "button", textContent: column.title });
      const head = make("th", { scope: "col", className: column.kind === "number" ? "number" : "" }, button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === (column.kind === "number" ? "descending" : "none") || head.getAttribute("aria-sort") === null && column.kind !== "number" || head.getAttribute("aria-sort") === "descending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const compare = (one, other) => (typeof one === "string" ? one.localeCompare(other) : one - other);
        fill([...rows].sort((one, other) => one[at] === null ? 1 : other[at] === null ? -1 : (up ? 1 : -1) * compare(one[at], other[at])));
      });
      return head;
    });
    fill(rows);
    return make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body);
  };
  const drawTable = (card, rows) => {
    if (!rows.length) return card.body.replaceChildren(empty());
    const scroll = make("div", { className: "scroll", tabIndex: 0 }, tableOf(card, rows));
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", `${card.title}, table`);
    card.body.replaceChildren(scroll);
  };

  // ---- charts
  const theme = byId("chart-theme").textContent;
  const colours = (width) => {
    const style = getComputedStyle(document.documentElement);
    const variable = (name) => style.getPropertyValue(name).trim();
    const config = JSON.parse(theme, (_, value) => (typeof value === "string" && value.startsWith("--") ? variable(value) : value));
    config.range.category = config.range.category.split(/\s+/);
    config.legend.columns = Math.max(1, Math.floor((width - 60) / 95));
    for (const mark of ["bar", "line", "point", "area"]) config[mark] = { color: config.range.category[0] };
    return { ...config, background: "transparent", font: getComputedStyle(document.body).fontFamily };
  };
  const drawChart = async (card, rows) => {
    card.view?.finalize();
    card.view = null;
    if (!rows.length) return card.body.replaceChildren(empty());
    card.body.style.setProperty("--rows", rows.length);
    const drawing = make("div", { className: "drawing" });
    card.body.replaceChildren(drawing);
    const values = rows.map((row) => Object.fromEntries(card.columns.map((column, at) => [column.name, row[at]])));
    const spec = { ...card.spec, data: { name: "rows", values } };
    const turn = (card.turn = (card.turn ?? 0) + 1);
    const { view } = await window.vegaEmbed(drawing, spec, { actions: false, renderer: "svg", config: colours(drawing.clientWidth), tooltip: { theme: "custom" } });
    if (turn === card.turn) card.view = view; else view.finalize();
  };

  const draw = { scalar: drawScalar, smartscalar: drawSmartScalar, table: drawTable };
  const drawCard = (card) => {
    card.stale = false;
    const rows = rowsOf(card);
    const without = card.unfiltered.filter((key) => chosen(key) > 0).map((key) => filters.find((each) => each.key === key).title);
    const note = card.figure.querySelector(".unfiltered");
    note.hidden = !without.length;
    note.textContent = without.length ? `Not filtered by ${without.join(", ")}` : "";
    return (draw[card.display] ?? drawChart)(card, rows);
  };
  const panels = [...document.querySelectorAll("[data-panel]")];
  const drawVisible = () => Promise.all(cards.filter((card) => card.stale && !byId(`panel-${card.panel}`).hidden).map(drawCard));
  const drawAll = () => { cards.forEach((card) => { card.stale = true; }); return drawVisible(); };

  // ---- filters and tabs, kept in the address so that a view can be shared
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const remember = () => {
    const words = new URLSearchParams();
    const tab = tabs.find((each) => each.getAttribute("aria-selected") === "true");
    if (tab && tab !== tabs[0]) words.set("tab", tab.dataset.tab);
    for (const { key, values } of filters) if (chosen(key)) words.set(key, values[chosen(key)]);
    history.replaceState(null, "", words.size ? `#${words}` : location.pathname + location.search);
  };
  const announce = () => {
    if (!form) return;
    const set = filters.filter(({ key }) => chosen(key));
    for (const { key } of filters) form.elements[key].classList.toggle("set", chosen(key) > 0);
    form.querySelector("[type=reset]").disabled = !set.length;
    byId("announce").textContent = set.length
      ? `Showing ${set.map(({ key, title }) => `${title}: ${form.elements[key].selectedOptions[0].label}`).join(" · ")}`
      : "Showing everything";
  };
  const open = (tab, focus = false) => {
    tabs.forEach((each) => {
      each.setAttribute("aria-selected", String(each === tab));
      each.tabIndex = each === tab ? 0 : -1;
    });
    panels.forEach((panel) => { panel.hidden = panel.dataset.panel !== tab.dataset.tab; });
    if (focus) tab.focus();
    return drawVisible();
  };
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => { open(tab); remember(); });
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      open(tabs[to % tabs.length], true);
      remember();
    });
  });
  const restore = () => {
    const words = new URLSearchParams(location.hash.slice(1));
    for (const { key, values } of filters) form.elements[key].selectedIndex = Math.max(0, values.indexOf(words.get(key) ?? ""));
    announce();
    cards.forEach((card) => { card.stale = true; });
    const tab = tabs.find((each) => each.dataset.tab === words.get("tab")) ?? tabs[0];
    return tab ? open(tab) : drawVisible();
  };
  form?.addEventListener("change", () => { announce(); remember(); drawAll(); });
  form?.addEventListener("reset", () => setTimeout(() => { announce(); remember(); drawAll(); }));
  addEventListener("hashchange", restore);
  document.addEventListener("floe-theme", drawAll);

  // ---- the data behind a chart
  const dialog = byId("data");
  document.querySelectorAll("[data-show]").forEach((button) => button.addEventListener("click", () => {
    const card = cards.find((each) => each.key === button.dataset.show);
    byId("data-title").textContent = card.title;
    dialog.querySelector(".scroll").replaceChildren(tableOf(card, rowsOf(card)));
    dialog.showModal();
  }));

  document.addEventListener("DOMContentLoaded", async () => {
    await restore();
    document.documentElement.dataset.drawn = String(Math.round(performance.now()));
  });
  addEventListener("beforeprint", () => { panels.forEach((panel) => { panel.hidden = false; }); drawVisible(); });
  addEventListener("afterprint", restore);
})();
