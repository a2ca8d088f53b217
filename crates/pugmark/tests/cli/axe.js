// Holds a page against the accessibility rules of WCAG 2.2, levels A and AA, and against good practice, by axe-core where there is one.
const AXE = null;
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

async function accessibility(page) {
  if (AXE === null) return [];
  const view = page.defaultView;
  if (!view.axe) page.head.append(Object.assign(page.createElement("script"), { textContent: AXE }));
  const { violations, passes } = await view.axe.run(page, { runOnly: RULES, iframes: false });
  const said = violations.flatMap(({ id, help, nodes }) => nodes.map(({ html }) => `${id}: ${help}: ${html.slice(0, 120)}`));
  return said.length > 0 || passes.length > 10 ? said : [`axe looked at nothing: ${passes.length} rules`];
}
