/** Names of groups, given only where what was computed leaves no other group. */
import type { GroupTable } from "./table.ts";

/** Larger groups are not searched for direct factors: it would take seconds. */
const LARGEST_SPLIT = 1200;

/** The usual name, then others that people know the group by. */
export type Names = readonly [string, ...string[]];

const primesOf = (n: number): number[] => {
  const primes: number[] = [];
  for (let p = 2, left = n; left > 1; p++) {
    if (left % p === 0) primes.push(p);
    while (left % p === 0) left /= p;
  }
  return primes;
};

/**
 * Orders of the cyclic factors of an abelian group, each a divisor of the next (elementary: for every prime, the number of elements with a^(p^k) = 1 is ∏ p^min(k, e) over
 * the factors p^e).
 */
export const invariantFactors = (orders: readonly number[]): number[] => {
  const factors: number[] = [];
  for (const p of primesOf(orders.length)) {
    // fallen[k]: factors whose exponent is at least k + 1.
    const fallen: number[] = [];
    for (let power = p, before = 1; ; power *= p) {
      const count = orders.filter((order) => power % order === 0).length;
      const rank = Math.round(Math.log(count / before) / Math.log(p));
      if (rank === 0) break;
      fallen.push(rank);
      before = count;
    }
    const exponents = Array.from({ length: fallen[0] }, (_, i) => fallen.filter((rank) => rank > i).length);
    for (const [i, exponent] of exponents.entries()) factors[i] = (factors[i] ?? 1) * p ** exponent;
  }
  return factors.reverse();
};

/** Dihedral and dicyclic groups: a cyclic subgroup ⟨r⟩ of index 2, and s outside that turns r into its inverse. */
const withCyclicHalf = (group: GroupTable): Names | undefined => {
  const { n, orders, inverses } = group;
  const r = orders.indexOf(n / 2);
  if (n % 2 !== 0 || r < 0) return undefined;
  const half = new Set(group.generated([r]));
  const s = Array.from({ length: n }, (_, a) => a).find((a) => !half.has(a)) ?? 0;
  if (group.product(group.product(inverses[s], r), s) !== inverses[r]) return undefined;
  if (orders[s] === 2) return n === 6 ? ["S3", "D3"] : [`D${n / 2}`];
  return (n & (n - 1)) === 0 ? [`Q${n}`, `Dic${n / 4}`] : [`Dic${n / 4}`];
};

/** Elements x₁ … x_count, found one after the other, each of the first order and with the orders that `product(i, j)` asks of x_i x_j, i < j; undefined when there are none. */
const chain = (group: GroupTable, count: number, order: number, product: (i: number, j: number) => number): number[] | undefined => {
  const pool = Array.from({ length: group.n }, (_, a) => a).filter((a) => group.orders[a] === order);
  const chosen: number[] = [];
  const grow = (): boolean => {
    if (chosen.length === count) return group.generated(chosen).length === group.n;
    const j = chosen.length;
    for (const x of pool) {
      if (!chosen.every((y, i) => group.orders[group.product(y, x)] === product(i, j))) continue;
      chosen.push(x);
      if (grow()) return true;
      chosen.pop();
    }
    return false;
  };
  return grow() ? chosen : undefined;
};

const KNOWN_AS: Readonly<Record<string, string>> = {
  A4: "rotations of a tetrahedron",
  S4: "rotations of a cube",
  A5: "rotations of an icosahedron",
  "S4×C2": "symmetries of a cube",
};

/**
 * Symmetric and alternating groups, whatever they act on: by generators that satisfy a presentation (Moore's of S_m, Carmichael's of A_m), which
 * with the order right proves an isomorphism.
 */
const symmetricOrAlternating = (group: GroupTable): Names | undefined => {
  for (let m = 4, order = 24; order / 2 <= group.n; m++, order *= m) {
    const symmetric = group.n === order && chain(group, m - 1, 2, (i, j) => (j === i + 1 ? 3 : 2));
    const alternating = group.n === order / 2 && chain(group, m - 2, 3, () => 2);
    if (!symmetric && !alternating) continue;
    const name = `${symmetric ? "S" : "A"}${m}`;
    return KNOWN_AS[name] ? [name, KNOWN_AS[name]] : [name];
  }
  return undefined;
};

/** The name of a group by its table; undefined where these rules decide nothing. */
export const nameOf = (group: GroupTable): Names | undefined => {
  if (group.n === 1) return ["C1", "trivial"];
  if (group.abelian) {
    const name = invariantFactors(group.orders)
      .map((order) => `C${order}`)
      .join("×");
    return name === "C2×C2" ? [name, "D2"] : [name];
  }
  const simple = withCyclicHalf(group) ?? symmetricOrAlternating(group);
  if (simple) return simple;
  const factors = group.n <= LARGEST_SPLIT ? group.directFactors() : undefined;
  if (!factors) return undefined;
  const names = factors.map(nameOf);
  const [a, b] = names;
  if (!a || !b) return undefined;
  // Cyclic factors go last, the larger ones of the rest first.
  const [small, large] = factors;
  const name = small.abelian || !large.abelian ? `${b[0]}×${a[0]}` : `${a[0]}×${b[0]}`;
  return KNOWN_AS[name] ? [name, KNOWN_AS[name]] : [name];
};
