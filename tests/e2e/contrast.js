// Texts whose colour and ground have a contrast below 4.5 (WCAG 2.2, 1.4.3), as short descriptions.
() => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((each) => {
      const share = each / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const low = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, style, :disabled")) continue;
    const style = getComputedStyle(element);
    const drawn = element.closest("svg");
    const zone = drawn?.querySelector(".zone");
    const grounds = [ground(drawn ?? element), ...(zone ? [numbers(getComputedStyle(zone).fill)] : [])];
    const colour = numbers(drawn ? style.fill : style.color);
    for (const each of grounds) {
      const found = contrast(colour, each);
      if (found < 4.5) low.add(`${element.tagName}.${element.getAttribute("class")} ${found.toFixed(2)}: ${element.textContent.slice(0, 30)}`);
    }
  }
  return [...low];
}
