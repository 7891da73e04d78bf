/** HTML by tagged template: whatever is put in is escaped, unless it is HTML already. */
import escapeHtml from "escape-html";

export interface Html {
  readonly html: string;
}

type Part = Html | string | number | undefined | readonly Part[];

const show = (part: Part): string => {
  if (part === undefined) return "";
  if (typeof part === "string" || typeof part === "number") return escapeHtml(String(part));
  return "html" in part ? part.html : part.map(show).join("");
};

/** `html\`<b>${text}</b>\``: strings and numbers are escaped, HTML and lists of it are taken over, undefined is nothing. */
export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html => ({
  html: strings.reduce((text, string, i) => text + show(parts[i - 1]) + string),
});

/** Text that is known to be safe HTML. */
export const trusted = (text: string): Html => ({ html: text });

/** A value for a `<script type="application/json">` element: nothing in it can end the element. */
export const jsonScript = (id: string, value: unknown): Html =>
  trusted(`<script type="application/json" id="${escapeHtml(id)}">${JSON.stringify(value).replaceAll("<", "\\u003c")}</script>`);
