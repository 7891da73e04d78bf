/** Names of groups, given only where what was computed leaves no other group. */
import type { GroupTable } from "./table.ts";

/** Larger groups are not searched for direct factors: it would take seconds. */
export const LARGEST_SPLIT = 1200;

/** A name, and what leaves no other. */
export interface Naming {
  /** The usual name, then others that people know the group by. */
  readonly names: readonly [string, ...string[]];
  /** The argument, in one sentence. */
  readonly evidence: string;
  /** Elements that it is about: together they generate the group. */
  readonly witnesses: readonly number[];
}

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

/** Elements that generate the group, each of the largest order that is left outside of what the ones before generate. */
const generatorsOf = (group: GroupTable): number[] => {
  const chosen: number[] = [];
  for (let inside = new Set([0]); inside.size < group.n; inside = new Set(group.generated(chosen))) {
    let next = -1;
    for (let a = 0; a < group.n; a++) if (!inside.has(a) && (next < 0 || group.orders[a] > group.orders[next])) next = a;
    chosen.push(next);
  }
  return chosen;
};

const abelian = (group: GroupTable): Naming | undefined => {
  if (!group.abelian) return undefined;
  if (group.n === 1) return { names: ["C1", "trivial"], evidence: "it is the identity alone", witnesses: [] };
  const name = invariantFactors(group.orders)
    .map((order) => `C${order}`)
    .join("×");
  return {
    names: name === "C2×C2" ? [name, "D2"] : [name],
    evidence: "it is abelian, and of abelian groups the orders of the elements leave one",
    witnesses: generatorsOf(group),
  };
};

/** Dihedral and dicyclic groups: a cyclic subgroup ⟨r⟩ of index 2, and s outside that turns r into its inverse. */
const withCyclicHalf = (group: GroupTable): Naming | undefined => {
  const { n, orders, inverses } = group;
  const r = orders.indexOf(n / 2);
  if (n % 2 !== 0 || r < 0) return undefined;
  const half = new Set(group.generated([r]));
  const s = Array.from({ length: n }, (_, a) => a).find((a) => !half.has(a)) ?? 0;
  if (group.product(group.product(inverses[s], r), s) !== inverses[r]) return undefined;
  const evidence = `r of order ${n / 2} and s of order ${orders[s]}, no power of r, with s⁻¹rs = r⁻¹`;
  const witnesses = [r, s];
  if (orders[s] === 2) return { names: n === 6 ? ["S3", "D3"] : [`D${n / 2}`], evidence, witnesses };
  return { names: (n & (n - 1)) === 0 ? [`Q${n}`, `Dic${n / 4}`] : [`Dic${n / 4}`], evidence: `${evidence} and s² = r^${n / 4}`, witnesses };
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

const named = (name: string): Naming["names"] => (KNOWN_AS[name] ? [name, KNOWN_AS[name]] : [name]);

/**
 * Symmetric and alternating groups, whatever they act on: by generators that satisfy a presentation (Moore's of S_m, Carmichael's of A_m), which
 * with the order right proves an isomorphism.
 */
const symmetricOrAlternating = (group: GroupTable): Naming | undefined => {
  for (let m = 4, order = 24; order / 2 <= group.n; m++, order *= m) {
    const symmetric = group.n === order && chain(group, m - 1, 2, (i, j) => (j === i + 1 ? 3 : 2));
    const alternating = group.n === order / 2 && chain(group, m - 2, 3, () => 2);
    const witnesses = symmetric || alternating;
    if (!witnesses) continue;
    const [name, author, each] = symmetric ? [`S${m}`, "Moore", 2] : [`A${m}`, "Carmichael", 3];
    const evidence = `${witnesses.length} elements of order ${each} satisfy ${author}'s presentation of ${name} and generate all ${group.n}`;
    return { names: named(name), evidence, witnesses };
  }
  return undefined;
};

/** Normal subgroups of which every element is a product in one way only, each with a name; the abelian ones count as one. */
const directProduct = (group: GroupTable): Naming | undefined => {
  const parts = group.n > LARGEST_SPLIT ? [] : group.directFactors();
  if (parts.length < 2) return undefined;
  const commuting = parts.filter((part) => part.group.abelian).flatMap(({ elements }) => elements);
  const factors = [...parts.filter((part) => !part.group.abelian), ...(commuting.length > 0 ? [group.subgroup(commuting)] : [])].flatMap((part) => {
    const naming = nameOf(part.group);
    return naming ? [{ part, naming }] : [];
  });
  if (factors.reduce((order, { part }) => order * part.group.n, 1) < group.n) return undefined;
  // Abelian factors last, the larger ones of the rest first.
  factors.sort(
    (
      {
        part: { group: a },
        naming: {
          names: [x],
        },
      },
      {
        part: { group: b },
        naming: {
          names: [y],
        },
      },
    ) => Number(a.abelian) - Number(b.abelian) || b.n - a.n || x.localeCompare(y),
  );
  const reasons = factors.filter(({ part }) => !part.group.abelian).map(({ naming: { names, evidence } }) => `${names[0]}: ${evidence}`);
  return {
    names: named(factors.map(({ naming }) => naming.names[0]).join("×")),
    evidence: `it is the direct product of normal subgroups of orders ${factors.map(({ part }) => part.group.n).join("·")}; ${reasons.join("; ")}`,
    witnesses: factors.flatMap(({ part, naming }) => naming.witnesses.map((a) => part.elements[a])),
  };
};

/** The name of a group by its table; undefined where these rules decide nothing. */
export const nameOf = (group: GroupTable): Naming | undefined =>
  abelian(group) ?? withCyclicHalf(group) ?? symmetricOrAlternating(group) ?? directProduct(group);
