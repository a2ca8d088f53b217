// Looks at the page in the frame as a reader would: what is cut off, what cannot be read, what would be fetched.
const frame = document.getElementById("page");
frame.onload = async () => {
  const page = frame.contentDocument;
  const view = frame.contentWindow;
  const width = frame.clientWidth;
  const findings = [];
  const name = (element) => `${element.tagName} "${element.textContent.trim().slice(0, 40)}"`;

  // rgb(r, g, b), rgba(r, g, b, a), color(srgb r g b / a)
  const channels = (colour) => {
    const [r, g, b, alpha = 1] = (colour.match(/[\d.]+(e-\d+)?/g) || [0, 0, 0, 0]).map(Number);
    return colour.startsWith("color(") ? [r * 255, g * 255, b * 255, alpha] : [r, g, b, alpha];
  };
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const [r, g, b, alpha] = channels(view.getComputedStyle(element).backgroundColor);
    if (alpha === 1) return [r, g, b];
    const ground = behind(element.parentElement);
    return [r, g, b].map((v, at) => v * alpha + ground[at] * (1 - alpha));
  };
  const scrolls = (element) => {
    for (let at = element; at; at = at.parentElement) {
      if (["auto", "scroll"].includes(view.getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };

  if (page.documentElement.scrollWidth > width) {
    findings.push(`the page is ${page.documentElement.scrollWidth} px wide`);
  }
  let texts = 0;
  for (const element of page.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const box = element.getBoundingClientRect();
    if (!own || box.width === 0 || ["STYLE", "TITLE", "DESC"].includes(element.tagName.toUpperCase())) continue;
    texts += 1;
    if ((box.right > width + 1 || box.left < -1) && !scrolls(element)) {
      findings.push(`${name(element)} reaches from ${Math.round(box.left)} to ${Math.round(box.right)} px`);
    }
    const style = view.getComputedStyle(element);
    // Text on a coloured cell of a drawing has a box of that drawing behind it, which only a picture shows.
    if (element.closest("svg")) continue;
    const [a, b] = [luminance(channels(style.color)), luminance(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (contrast < (large ? 3 : 4.5)) findings.push(`${name(element)} has a contrast of ${contrast.toFixed(2)}`);
  }
  for (const element of page.querySelectorAll("[src], [href], [srcset]")) {
    for (const attribute of ["src", "href", "srcset"]) {
      const value = element.getAttribute(attribute);
      if (value && !/^(data:|#)/.test(value) && element.tagName !== "A") findings.push(`fetches ${value.slice(0, 60)}`);
    }
  }
  for (const entry of view.performance.getEntriesByType("resource")) findings.push(`fetched ${entry.name}`);
  const ground = luminance(behind(page.body));
  findings.push(...await accessibility(page));
  document.getElementById("said").textContent = JSON.stringify({ findings, texts, ground });
};
