/** Numbers for people. */

/** 0.9234 → "92.3 %"; nearly all is never "100 %", and little never "0 %". */
export const percent = (share: number): string => {
  if (!Number.isFinite(share)) return "–";
  if (share === 1 || share === 0) return `${100 * share} %`;
  return share > 0 && share < 0.001 ? "< 0.1 %" : `${Math.min(99.9, 100 * share).toFixed(1)} %`;
};

/** Three significant digits, scientific when very small or large. */
export const number = (value: number | undefined): string => {
  if (value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e5
    ? value.toExponential(1).replace("e+", "e").replace("-", "−").replace("e-", "e−")
    : Number(value.toPrecision(3)).toString().replace("-", "−");
};

/** 1234567 → "1,234,567". */
export const integer = (value: number): string => value.toLocaleString("en-US");

/** How a permutation moves things: "1 fixed, 6 cycles of 4". */
export const cycleType = (permutation: ArrayLike<number>): string => {
  const seen = new Set<number>();
  const counts = new Map<number, number>();
  for (let start = 0; start < permutation.length; start++) {
    let length = 0;
    for (let at = start; !seen.has(at); at = permutation[at]) {
      seen.add(at);
      length++;
    }
    if (length > 0) counts.set(length, (counts.get(length) ?? 0) + 1);
  }
  if (counts.get(1) === permutation.length) return "moves nothing";
  const sorted = [...counts].sort(([a], [b]) => a - b);
  const text = sorted
    .slice(0, 4)
    .map(([length, count]) => (length === 1 ? `${count} fixed` : `${count} ${count === 1 ? "cycle" : "cycles"} of ${length}`));
  return text.join(", ") + (sorted.length > 4 ? ", …" : "");
};
