// The cases of the report: a list of which only the visible rows exist, and the chosen case beside
// it. Texts come from a stranger: they are only ever put into text nodes, and the page's policy
// (trusted types) refuses anything else.
"use strict";

(() => {
  const FAILED = 1, CRITICAL = 2, UNMEASURED = 4, FLIPPED = 8; // as in render/html/cases.py
  const ROW = 56; // pixels, as in page.css
  const index = JSON.parse(document.querySelector("script.index").textContent);
  const sources = document.querySelectorAll("script.block");
  const sets = index.sets.map((each) => each.split("\n"));
  const cases = index.cases.map(([id, set, change, flags, tags, scorers], at) => ({
    at, id, change, flags, tags, scorers, prompt: sets[set][0], evalset: sets[set][1], set,
  }));
  const blocks = [];
  const haystacks = [];
  const wish = { show: "all", q: "", tag: "", scorer: "", set: "" };
  let found = cases;
  let chosen = null;

  // Reading -----------------------------------------------------------------------------------

  const block = (at) => (blocks[at] ??= JSON.parse(sources[at].textContent));
  const record = (each) => block(Math.floor(each.at / index.block))[each.at % index.block];
  const string = (text) => (Array.isArray(text) ? text[0] : text ?? "");

  // Both texts from the marks: common, gone and new in turn.
  const side = (pieces, left) =>
    pieces.filter((_, at) => at % 3 === 0 || at % 3 === (left ? 1 : 2)).join("");

  function words(each) {
    const it = record(each);
    const parts = [each.id, string(it.expected), string(it.known), it.group ?? "", string(it.messages)];
    for (const [name, value] of it.inputs ?? []) parts.push(name, string(value));
    for (const text of it.contexts ?? []) parts.push(string(text));
    if (it.diff?.[2]) parts.push(side(it.diff[2], true), side(it.diff[2], false));
    for (const one of [it.baseline, it.candidate]) {
      for (const trial of one?.trials ?? []) {
        parts.push(string(trial.text), string(trial.failure), string(trial.tools));
        for (const [label, , , reason] of trial.scores) parts.push(label, string(reason));
        for (const text of trial.contexts ?? []) parts.push(string(text));
      }
    }
    for (const tag of each.tags) parts.push(index.tags[tag]);
    return parts.join("\n").toLowerCase();
  }

  const holds = (each, text) => (haystacks[each.at] ??= words(each)).includes(text);

  // Texts are made searchable while nobody waits.
  function prepare(at = 0) {
    const idle = window.requestIdleCallback ?? ((act) => setTimeout(() => act({ timeRemaining: () => 0 }), 20));
    idle((left) => {
      let next = at;
      do {
        const end = Math.min(next + 20, cases.length);
        for (; next < end; next += 1) haystacks[next] ??= words(cases[next]);
      } while (next < cases.length && left.timeRemaining() > 4);
      if (next < cases.length) prepare(next);
      else performance.mark("searchable");
    });
  }

  // Writing -----------------------------------------------------------------------------------

  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((each) => each !== null && each !== undefined));
    return element;
  }

  const FILTERS = [
    ["all", "All", () => true],
    ["flipped", "Flipped", (each) => each.flags & FLIPPED],
    ["regressed", "Regressed", (each) => each.change === "regressed"],
    ["improved", "Improved", (each) => each.change === "improved"],
    ["failed", "Failed", (each) => each.flags & FAILED],
    ["critical", "Critical", (each) => each.flags & CRITICAL],
    ["unmeasured", "Unmeasured", (each) => each.flags & UNMEASURED],
  ];
  const buttons = FILTERS.map(([name, label, fits]) => {
    const count = cases.filter(fits).length;
    return make("button", {
      type: "button", "data-show": name, "aria-pressed": String(name === wish.show),
      disabled: count === 0 && name !== "all", onclick: () => ask({ show: name }),
    }, `${label} ${count.toLocaleString("en")}`);
  });

  const choice = (key, label, options) =>
    make("select", { "aria-label": label, id: `by-${key}`, onchange: (event) => ask({ [key]: event.target.value }) },
      make("option", { value: "" }, label), ...options.map(([value, text]) => make("option", { value }, text)));
  const numbered = (names) => names.map((name, at) => [String(at), name]).sort((a, b) => (a[1] < b[1] ? -1 : 1));
  const selects = {
    tag: choice("tag", "Any tag", numbered(index.tags.map((tag) => `#${tag}`))),
    scorer: choice("scorer", "Failed by any scorer", numbered(index.scorers)),
    set: choice("set", "Every prompt and evalset", numbered(sets.map(([prompt, evalset]) => `${prompt} on ${evalset}`))),
  };
  const search = make("input", {
    type: "search", id: "search", placeholder: "Search all texts", "aria-label": "Search all texts", autocomplete: "off",
    oninput: () => ask({ q: search.value }),
  });
  const count = make("p", { class: "count", role: "status" });
  const list = make("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": "Cases, worst first" });
  const height = make("div", { "aria-hidden": "true" });
  const detail = make("article", { class: "detail", tabindex: "0", "aria-label": "The chosen case" });
  list.append(height);

  // The list: only rows that can be seen are there --------------------------------------------

  const shown = new Map();

  function row(each, at) {
    const it = record(each);
    const preview = string(it.inputs?.[0]?.[1] ?? it.messages ?? it.expected).slice(0, 160);
    return make("div", {
      class: "row", role: "option", id: `row-${each.at}`, "aria-selected": String(each === chosen),
      "aria-posinset": at + 1, "aria-setsize": found.length, onclick: () => choose(each),
    }, make("span", { class: "top" }, make("span", { class: "name" }, each.id), mark(each)),
    make("span", { class: "preview" }, preview));
  }

  const mark = (each) =>
    make("span", { class: `change ${each.change ?? ""}` }, each.change ? index.words[each.change] : each.flags & FAILED ? "fails" : "");

  function draw(anew = false) {
    if (anew) {
      for (const element of shown.values()) element.remove();
      shown.clear();
      height.style.height = `${found.length * ROW}px`;
    }
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
    for (const [at, element] of shown) {
      if (at < first || at >= last) { element.remove(); shown.delete(at); }
    }
    for (let at = first; at < last; at += 1) {
      if (shown.has(at)) continue;
      const element = row(found[at], at);
      element.style.top = `${at * ROW}px`;
      shown.set(at, element);
      list.append(element);
    }
  }

  // What is asked for ------------------------------------------------------------------------

  function ask(changes, keep = false) {
    Object.assign(wish, changes);
    const fits = FILTERS.find(([name]) => name === wish.show)?.[2] ?? (() => true);
    const text = wish.q.trim().toLowerCase();
    found = cases.filter((each) =>
      fits(each)
      && (wish.tag === "" || each.tags.includes(Number(wish.tag)))
      && (wish.scorer === "" || each.scorers.includes(Number(wish.scorer)))
      && (wish.set === "" || each.set === Number(wish.set))
      && (text === "" || holds(each, text)));
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.show === wish.show));
    for (const [key, select] of Object.entries(selects)) select.value = wish[key];
    if (search.value !== wish.q) search.value = wish.q;
    count.textContent = said();
    list.scrollTop = 0;
    draw(true);
    if (!found.includes(chosen)) choose(found[0] ?? null, { quietly: true });
    else reveal();
    if (!keep) remember();
  }

  function said() {
    const of = (number) => number.toLocaleString("en");
    const rest = index.total - cases.length;
    const parts = [found.length === cases.length ? `${of(found.length)} ${found.length === 1 ? "case" : "cases, worst first"}` : `${of(found.length)} of ${of(cases.length)} cases`];
    if (rest > 0) parts.push(`${of(rest)} more not in this page`);
    return parts.join(" · ");
  }

  function choose(each, { quietly = false } = {}) {
    for (const element of shown.values()) element.setAttribute("aria-selected", "false");
    chosen = each;
    detail.replaceChildren(...(each ? whole(each) : [make("p", { class: "empty" }, "No case fits these filters.")]));
    detail.scrollTop = 0;
    if (each) reveal();
    else list.removeAttribute("aria-activedescendant");
    if (!quietly) remember();
  }

  function reveal() {
    const at = found.indexOf(chosen);
    if (at < 0) return;
    if (at * ROW < list.scrollTop) list.scrollTop = at * ROW;
    else if ((at + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * ROW - list.clientHeight;
    draw();
    shown.get(at)?.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", `row-${chosen.at}`);
  }

  function step(by) {
    if (!found.length) return;
    const at = found.indexOf(chosen);
    choose(found[Math.min(Math.max(at + by, 0), found.length - 1)]);
  }

  // One case -----------------------------------------------------------------------------------

  const remark = (cut) => (cut ? make("p", { class: "cut" }, `${cut.toLocaleString("en")} characters more are not in this page`) : null);

  function quoted(text, label) {
    const cut = Array.isArray(text) ? text[1] : 0;
    return [make("p", { class: "text", tabindex: "0", role: "group", "aria-label": label }, string(text)), remark(cut)];
  }

  function whole(each) {
    const it = record(each);
    const about = [mark(each), each.change ? index.meanings[each.change] : null, each.flags & CRITICAL ? "critical" : null,
      sets.length > 1 ? `${each.prompt} on ${each.evalset}` : null, it.group ? `group ${it.group}` : null,
      ...each.tags.map((tag) => `#${index.tags[tag]}`)];
    const parts = [
      make("h3", {}, each.id),
      make("p", { class: "about" }, ...about.filter(Boolean).map((one) => make("span", {}, one))),
    ];
    const add = (title, text) => parts.push(make("h4", {}, title), ...quoted(text, title));
    if (it.known) add("Known failing", it.known);
    if (it.messages) add("Earlier turns", it.messages);
    for (const [name, value] of it.inputs ?? []) add(name, value);
    if (it.expected) add("Expected", it.expected);
    (it.contexts ?? []).forEach((text, at) => add(`Context ${at + 1}`, text));
    parts.push(...answers(it));
    return parts.filter(Boolean);
  }

  function answers(it) {
    if (!it.candidate && !it.baseline) return [];
    const pick = { baseline: it.diff?.[0] ?? 0, candidate: it.diff?.[1] ?? 0 };
    const place = make("div");
    const show = () => place.replaceChildren(...[both(it, pick, show), scores(it, pick)].filter(Boolean));
    show();
    const same = it.same ? make("p", { class: "took" }, "Both sides send the same request: one answer stands for both.") : null;
    return [place, same];
  }

  function both(it, pick, again) {
    const names = { baseline: "Before", candidate: it.baseline ? "After" : "Answer" };
    const sides = Object.keys(names).filter((which) => it[which]).map((which) => {
      const trials = it[which].trials;
      const one = trials[pick[which]];
      const others = trials.length < 2 ? null : make("div", { class: "trials", role: "group", "aria-label": `Trials ${names[which].toLowerCase()}` },
        ...trials.map((each, at) => make("button", {
          type: "button", "aria-pressed": String(at === pick[which]), onclick: () => { pick[which] = at; again(); },
        }, `trial ${at + 1}${each.confirming ? ", confirming" : ""}`)));
      const label = `${names[which]}: the answer`;
      return make("section", { class: "side", "data-side": which },
        make("h4", {}, `${names[which]} `, outcome(it[which], trials.length)), others,
        ...(one ? answer(it, which, pick, one, label) : [make("p", { class: "took" }, "No trial was made.")]));
    });
    return make("div", { class: "sides" }, ...sides);
  }

  function outcome(which, trials) {
    if (which.passed === null) return make("span", { class: "verdict-of-trial open" }, "not measured");
    const share = trials > 1 && which.passed > 0 && which.passed < 1 ? ` ${(100 * which.passed).toFixed(1)}% of trials` : "";
    const good = which.passed >= 0.5;
    return make("span", { class: `verdict-of-trial ${good ? "good" : "bad"}` }, (good ? "✓ passes" : "✗ fails") + share);
  }

  function answer(it, which, pick, one, label) {
    const marked = it.diff?.[2];
    const held = marked && pick[which] === it.diff[which === "baseline" ? 0 : 1];
    const facing = held && pick.baseline === it.diff[0] && pick.candidate === it.diff[1];
    const parts = [];
    if (one.failure !== undefined) parts.push(make("p", { class: "text" }, `Not answered: ${string(one.failure)}`));
    else if (held) {
      const text = make("p", { class: "text", tabindex: "0", role: "group", "aria-label": label });
      if (facing) text.append(...pieces(marked, which));
      else text.append(side(marked, which === "baseline"));
      if (!text.textContent) text.append(make("span", { class: "took" }, "(empty answer)"));
      parts.push(text, remark(one.cut));
    } else if (one.text === undefined) parts.push(make("p", { class: "took" }, "(text not stored)"));
    else if (one.text === "") parts.push(make("p", { class: "took" }, "(empty answer)"));
    else parts.push(...quoted(one.text, label));
    if (one.tools) parts.push(make("h4", {}, "Tool calls"), ...quoted(one.tools, "Tool calls"));
    (one.contexts ?? []).forEach((text, at) => parts.push(make("h4", {}, `Retrieved ${at + 1}`), ...quoted(text, `Retrieved ${at + 1}`)));
    if (one.contexts && !one.contexts.length) parts.push(make("p", { class: "took" }, "It retrieved nothing."));
    if (one.facts) parts.push(make("p", { class: "took" }, one.facts));
    return parts.filter(Boolean);
  }

  function pieces(marked, which) {
    const [place, name] = which === "baseline" ? [1, "del"] : [2, "ins"];
    return marked.map((text, at) => {
      if (!text || (at % 3 !== 0 && at % 3 !== place)) return null;
      return at % 3 === 0 ? document.createTextNode(text) : make(name, {}, text);
    }).filter(Boolean);
  }

  function scores(it, pick) {
    const compared = ["baseline", "candidate"].filter((which) => it[which]);
    const given = compared.map((which) => new Map((it[which].trials[pick[which]]?.scores ?? []).map((one) => [one[0], one])));
    const labels = [...new Set(given.flatMap((each) => [...each.keys()]))];
    if (!labels.length) return null;
    const heads = ["Scorer", ...compared.map((which) => (which === "baseline" ? "Before" : it.baseline ? "After" : "Answer"))];
    return make("table", { class: "scores" },
      make("caption", {}, "Scores"),
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...labels.map((label) => make("tr", {},
        make("th", { scope: "row" }, label), ...given.map((each) => make("td", {}, ...score(each.get(label))))))));
  }

  function score(one) {
    if (!one) return ["–"];
    const [, value, passed, reason, advisory] = one;
    const kind = passed === null ? "open" : passed ? "good" : "bad";
    const word = value === null ? "? unscored" : `${passed ? "✓" : "✗"} ${value}`;
    return [make("span", { class: `verdict-of-trial ${kind}` }, word), advisory ? " (advisory)" : "",
      reason ? make("div", {}, string(reason)) : ""];
  }

  // Address and keys ---------------------------------------------------------------------------

  let written = location.hash;

  function remember() {
    const parts = [];
    const add = (name, value) => value && parts.push(`${name}=${encodeURIComponent(value)}`);
    if (chosen) {
      add("case", chosen.id);
      if (sets.length > 1) { add("prompt", chosen.prompt); add("evalset", chosen.evalset); }
    }
    if (wish.show !== "all") add("show", wish.show);
    add("q", wish.q.trim());
    if (wish.tag !== "") add("tag", index.tags[wish.tag]);
    if (wish.scorer !== "") add("scorer", index.scorers[wish.scorer]);
    if (wish.set !== "") add("of", sets[wish.set].join("/"));
    written = `#${parts.join("&")}`;
    history.replaceState(null, "", written);
  }

  function follow(scroll) {
    const asked = new Map(location.hash.slice(1).split("&").map((part) => {
      const [name, value = ""] = part.split("=");
      try { return [name, decodeURIComponent(value)]; } catch { return [name, value]; }
    }));
    const number = (names, name) => (names.includes(name) ? String(names.indexOf(name)) : "");
    if (![...asked.keys()].some((name) => ["case", "show", "q", "tag", "scorer", "of"].includes(name))) return;
    const fits = (name, value) => !asked.has(name) || asked.get(name) === value;
    const target = asked.has("case")
      ? cases.find((each) => each.id === asked.get("case") && fits("prompt", each.prompt) && fits("evalset", each.evalset))
      : undefined;
    ask({
      show: FILTERS.some(([name]) => name === asked.get("show")) ? asked.get("show") : "all",
      q: asked.get("q") ?? "", tag: number(index.tags, asked.get("tag")), scorer: number(index.scorers, asked.get("scorer")),
      set: number(sets.map((each) => each.join("/")), asked.get("of")),
    }, true);
    if (target) choose(target, { quietly: true });
    else if (asked.has("case")) count.textContent = `The case ${asked.get("case")} is not in this page · ${said()}`;
    if (scroll) document.getElementById("cases").scrollIntoView();
  }

  const help = make("dialog", { "aria-labelledby": "help-title" },
    make("h2", { id: "help-title" }, "Keys"),
    make("dl", {}, ...[["j", "next case"], ["k", "previous case"], ["/", "search"], ["Esc", "leave the search, then clear all filters"], ["?", "this help"]]
      .flatMap(([key, does]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, does)])),
    make("form", { method: "dialog" }, make("button", {}, "Close")));

  function escape() {
    if (help.open) return;
    if (document.activeElement === search && search.value === "") list.focus();
    else if (document.activeElement === search) { ask({ q: "" }); list.focus(); }
    else ask({ show: "all", q: "", tag: "", scorer: "", set: "" });
  }

  const keys = {
    j: () => step(1), k: () => step(-1), "?": () => help.showModal(),
    "/": () => { search.focus(); search.select(); },
  };
  const inList = { ArrowDown: () => step(1), ArrowUp: () => step(-1), Home: () => step(-Infinity), End: () => step(Infinity),
    PageDown: () => step(8), PageUp: () => step(-8) };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const typing = event.target.matches?.("input, select, textarea");
    const act = event.key === "Escape" ? escape : event.target === list && inList[event.key] ? inList[event.key] : typing ? null : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  list.addEventListener("scroll", () => draw(), { passive: true });
  window.addEventListener("resize", () => draw());
  window.addEventListener("hashchange", () => { if (location.hash !== written) follow(true); });

  const explorer = document.getElementById("explorer");
  const many = (names, least) => names.length > least;
  explorer.append(
    make("div", { class: "bar-of-filters", role: "group", "aria-label": "Which cases" }, ...buttons),
    make("div", { class: "bar-of-filters" }, search, many(sets, 1) ? selects.set : null, many(index.tags, 0) ? selects.tag : null,
      many(index.scorers, 0) ? selects.scorer : null,
      make("button", { type: "button", id: "help-hint", onclick: () => help.showModal(), "aria-label": "Keys" }, "?")),
    count, make("div", { class: `browser ${cases.length < 12 ? "few" : ""}` }, list, detail), help);
  if (cases.length < 12) list.style.height = `${Math.max(cases.length, 1) * ROW + 2}px`;
  explorer.hidden = false;
  document.getElementById("cases").hidden = cases.length === 0;
  ask({}, true);
  follow(true);
  prepare();
  document.documentElement.dataset.ready = "yes";
  performance.mark("usable");
})();
