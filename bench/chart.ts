/** Bars of medians, grouped by job: shorter is faster. */

import type { Result } from "./compare.ts";

const COLOURS = {
  light: {
    text: "#1f2328",
    faint: "#59636e",
    other: "#afb8c1",
    own: "#0969da",
  },
  dark: { text: "#f0f6fc", faint: "#9198a1", other: "#3d444d", own: "#4493f8" },
};

const WIDTH = 760;
const NAMES = 190;
const BARS = 400;
const ROW = 22;

/** Draws results as an SVG. */
export function chart(
  results: readonly Result[],
  note: string,
  theme: keyof typeof COLOURS,
): string {
  const colours = COLOURS[theme];
  const parts: string[] = [];
  let y = 10;
  const text = (
    x: number,
    what: string,
    more: string,
    colour = colours.text,
  ) =>
    parts.push(
      `<text x="${x}" y="${y + 15}" fill="${colour}" ${more}>${
        escape(what)
      }</text>`,
    );
  for (const { job, base, medians } of results) {
    text(10, job, 'font-weight="600"');
    y += ROW + 2;
    const slowest = Math.max(...Object.values(medians));
    for (const [name, ms] of Object.entries(medians)) {
      const own = name.startsWith("rebuild-cache");
      const length = Math.max(2, ms / slowest * BARS);
      text(NAMES, name, 'text-anchor="end"');
      parts.push(
        `<rect x="${NAMES + 10}" y="${y + 4}" width="${
          length.toFixed(1)
        }" height="${ROW - 8}" rx="2" fill="${
          own ? colours.own : colours.other
        }"/>`,
      );
      const times = (medians[base]! / ms).toFixed(2);
      const label = name === base ? `${ms} ms` : `${ms} ms, ${times} ×`;
      text(NAMES + 16 + length, label, "", colours.faint);
      y += ROW;
    }
    y += 10;
  }
  for (const line of wrap(note, 110)) {
    text(10, line, 'font-size="11"', colours.faint);
    y += 15;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${
    y + 10
  }" viewBox="0 0 ${WIDTH} ${
    y + 10
  }" font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="Times of rebuild-cache and its peers">
${parts.join("\n")}
</svg>
`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line.length + word.length < width) {
      lines[lines.length - 1] = line ? `${line} ${word}` : word;
    } else lines.push(word);
  }
  return lines;
}
