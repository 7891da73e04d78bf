/** Few rows in which every combination of some factors' levels occurs, where all combinations of all factors would be too many. */

const keyOf = (tuple: number, levels: readonly number[]): string => `${tuple}:${levels.join()}`;

const combinations = (levels: readonly number[]): number[][] =>
  levels.reduce<number[][]>((rows, count) => rows.flatMap((row) => Array.from({ length: count }, (_, level) => [...row, level])), [[]]);

/**
 * Rows of one level per factor, such that each of `tuples` (lists of factors) takes all its combinations of levels in some row. Greedy: a row
 * begins with a combination that is still missing, and every further factor takes the level that completes the most missing ones.
 *
 * @param levels how many levels each factor has
 */
export const covering = (levels: readonly number[], tuples: readonly (readonly number[])[]): number[][] => {
  const missing = new Map<string, readonly [number, readonly number[]]>();
  for (const [t, factors] of tuples.entries()) {
    for (const combination of combinations(factors.map((factor) => levels[factor]))) missing.set(keyOf(t, combination), [t, combination]);
  }
  const completed = (row: readonly (number | undefined)[], factor: number): number =>
    tuples.filter(
      (factors, t) =>
        factors.includes(factor) &&
        missing.has(
          keyOf(
            t,
            factors.map((each) => row[each] ?? -1),
          ),
        ),
    ).length;

  const rows: number[][] = [];
  for (let next = missing.values().next(); !next.done; next = missing.values().next()) {
    const row = new Array<number | undefined>(levels.length).fill(undefined);
    const [first, combination] = next.value;
    for (const [i, factor] of tuples[first].entries()) row[factor] = combination[i];
    for (const [factor, count] of levels.entries()) {
      if (row[factor] !== undefined) continue;
      let best = -1;
      for (let i = 0; i < count; i++) {
        // Among equals another one in every row, so that factors outside of any tuple vary too.
        const level = (i + rows.length) % count;
        const score = completed(row.with(factor, level), factor);
        if (score > best) [best, row[factor]] = [score, level];
      }
    }
    const whole = row as number[];
    for (const [t, factors] of tuples.entries())
      missing.delete(
        keyOf(
          t,
          factors.map((factor) => whole[factor]),
        ),
      );
    rows.push(whole);
  }
  return rows;
};

/** All pairs of `count` factors. */
export const pairs = (count: number): (readonly [number, number])[] =>
  Array.from({ length: count }, (_, a) => Array.from({ length: count - a - 1 }, (_entry, b) => [a, a + 1 + b] as const)).flat();
