// What a screen reader and a small screen need of a page, as facts that a test can compare.
() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const named = (each) =>
    each.getAttribute("aria-label") || each.getAttribute("aria-labelledby") || each.textContent.trim();
  const nameless = all("button, input, select, [role=listbox], [tabindex]")
    .filter((each) => !named(each)).map((each) => each.outerHTML.slice(0, 80));
  const levels = all("h1, h2, h3, h4").filter((each) => each.checkVisibility())
    .map((each) => Number(each.tagName[1]));
  const ids = all("[id]").map((each) => each.id);
  return {
    nameless,
    headings: levels.filter((each) => each === 1).length,
    skipped: levels.filter((each, at) => at && each > levels[at - 1] + 1).length,
    twice: ids.filter((each, at) => ids.indexOf(each) !== at),
    landmarks: ["header", "main", "footer"].filter((each) => all(`body > ${each}`).length === 1),
    bare: all("table").filter((each) => !each.caption).length + all("th:not([scope])").length,
    language: document.documentElement.lang,
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  };
}
