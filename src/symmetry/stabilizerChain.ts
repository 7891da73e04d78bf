/**
 * The order of a permutation group by a base and strong generating set (Sims 1970; Seress, "Permutation Group Algorithms", 2003, §4): a chain of stabilisers of more and
 * more points, each with the orbit of the next point. The group acts from the right: n·a = a[n], and n·(ab) = b[a[n]] is `compose(a, b)`.
 */
import { inverted, type Permutation } from "../data/permutations.ts";
import { createRandom, type Random } from "../data/random.ts";

interface Level {
  /** What the levels below keep in place. */
  readonly point: number;
  readonly generators: Permutation[];
  readonly inverses: Permutation[];
  /** Images of the point under the generators, the point first. */
  readonly orbit: number[];
  /** Which generator led to a point of the orbit; ROOT for the point itself, OUTSIDE for others. */
  readonly via: Int32Array;
}

const ROOT = -1;
const OUTSIDE = -2;

/** Random elements in a row that must sift through before the chain is believed complete, and proved to be so. */
const ENOUGH = 8;
/** Elementary steps spent on that proof: about three seconds. */
const BUDGET = 1e9;
/** Random elements looked at for the sign of a symmetric or alternating group; each shows it with probability ln 2 / ln m or more. */
const TRIES = 200;

const isIdentity = (p: Permutation): boolean => p.every((image, n) => image === n);

const extend = (level: Level, generator: Permutation): void => {
  const { orbit, via, generators } = level;
  const index = generators.push(generator) - 1;
  level.inverses.push(inverted(generator));
  const visit = (point: number, s: number): void => {
    const image = generators[s][point];
    if (via[image] !== OUTSIDE) return;
    via[image] = s;
    orbit.push(image);
  };
  const known = orbit.length;
  for (let i = 0; i < known; i++) visit(orbit[i], index);
  for (let i = known; i < orbit.length; i++) for (let s = 0; s < generators.length; s++) visit(orbit[i], s);
};

class StabilizerChain {
  readonly #degree: number;
  readonly #levels: Level[] = [];
  #steps = 0;

  constructor(degree: number) {
    this.#degree = degree;
  }

  /** Points whose images determine an element. */
  get base(): number[] {
    return this.#levels.map(({ point }) => point);
  }

  /** Elements that the chain can write: all of the group once it is complete, never more. */
  get order(): bigint {
    return this.#levels.reduce((product, { orbit }) => product * BigInt(orbit.length), 1n);
  }

  /**
   * Divides `g` by representatives of the levels from `first` on, in place, until a level does not know the image of its point.
   *
   * @returns that level, or the number of levels
   */
  sift(g: Permutation, first = 0): number {
    for (let i = first; i < this.#levels.length; i++) {
      const { point, via, inverses } = this.#levels[i];
      if (via[g[point]] === OUTSIDE) return i;
      while (g[point] !== point) {
        const back = inverses[via[g[point]]];
        for (let n = 0; n < g.length; n++) g[n] = back[g[n]];
        this.#steps += g.length;
      }
    }
    return this.#levels.length;
  }

  /** Takes in what sifting an element left over at level `last`, for the levels from `first` on. */
  #insert(residue: Permutation, first: number, last: number): void {
    if (last === this.#levels.length) {
      const point = residue.findIndex((image, n) => image !== n);
      const via = new Int32Array(this.#degree).fill(OUTSIDE);
      via[point] = ROOT;
      this.#levels.push({ point, generators: [], inverses: [], orbit: [point], via });
    }
    for (let i = first; i <= last; i++) extend(this.#levels[i], residue);
  }

  /** Sifts `g`; what it leaves over joins the chain. */
  add(g: Permutation, first = 0): boolean {
    const last = this.sift(g, first);
    if (last === this.#levels.length && isIdentity(g)) return false;
    this.#insert(g.slice(), first, last);
    return true;
  }

  /**
   * Schreier's lemma: the chain is complete when, on every level, representative times generator sifts through the levels below.
   * What does not joins them. False when that takes too long.
   */
  complete(): boolean {
    const product = new Int32Array(this.#degree);
    const path: number[] = [];
    this.#steps = 0;
    for (let i = this.#levels.length - 1; i >= 0; i--) {
      const level = this.#levels[i];
      const { generators, via, inverses, orbit } = level;
      let below = i;
      search: for (const point of orbit) {
        path.length = 0;
        for (let at = point; at !== level.point; at = inverses[via[at]][at]) path.push(via[at]);
        for (let s = 0; s < generators.length; s++) {
          // An edge of the tree gives the identity.
          if (via[generators[s][point]] === s && inverses[s][generators[s][point]] === point) continue;
          for (let n = 0; n < product.length; n++) {
            let at = n;
            for (let k = path.length - 1; k >= 0; k--) at = generators[path[k]][at];
            product[n] = generators[s][at];
          }
          this.#steps += product.length * (path.length + 1);
          const last = this.sift(product, i);
          if (last < this.#levels.length || !isIdentity(product)) {
            this.#insert(product.slice(), i + 1, last);
            below = last;
            break search;
          }
          if (this.#steps > BUDGET) return false;
        }
      }
      // New generators below: their levels are looked at again, this one after them.
      if (below > i) i = below + 1;
    }
    return true;
  }
}

/** The orbits of the group, those of one point too. */
const orbitsOf = (generators: readonly Permutation[], degree: number): number[][] => {
  const seen = new Uint8Array(degree);
  const orbits: number[][] = [];
  for (let start = 0; start < degree; start++) {
    if (seen[start]) continue;
    const orbit = [start];
    seen[start] = 1;
    for (const point of orbit) {
      for (const generator of generators) {
        const image = generator[point];
        if (seen[image]) continue;
        seen[image] = 1;
        orbit.push(image);
      }
    }
    orbits.push(orbit);
  }
  return orbits;
};

export const factorial = (n: number): bigint => {
  let product = 1n;
  for (let k = 2n; k <= BigInt(n); k++) product *= k;
  return product;
};

/** Lengths of the cycles of a permutation on an orbit. */
export const cycleLengths = (p: Permutation, orbit: Iterable<number>): number[] => {
  const seen = new Uint8Array(p.length);
  const lengths: number[] = [];
  for (const start of orbit) {
    if (seen[start]) continue;
    let length = 0;
    for (let at = start; !seen[at]; at = p[at]) {
      seen[at] = 1;
      length++;
    }
    lengths.push(length);
  }
  return lengths;
};

/** No group with these orbits and signs is larger: ∏ m!/2 even permutations, times 2 for every independent pattern of signs. */
const largestOrder = (generators: readonly Permutation[], orbits: readonly (readonly number[])[]): bigint => {
  const moved = orbits.filter(({ length }) => length > 1);
  let bound = moved.reduce((product, { length }) => product * (factorial(length) / 2n), 1n);
  const independent: bigint[] = [];
  for (const generator of generators) {
    let pattern = moved.reduce((bits, orbit) => (bits << 1n) | BigInt((orbit.length - cycleLengths(generator, orbit).length) % 2), 0n);
    // Gaussian elimination over two elements: `independent` falls, each with a leading bit of its own.
    for (const other of independent) if ((pattern ^ other) < pattern) pattern ^= other;
    if (pattern === 0n) continue;
    independent.push(pattern);
    independent.sort((a, b) => (a < b ? 1 : -1));
    bound *= 2n;
  }
  return bound;
};

/** Random elements by product replacement (Celler et al. 1995, doi:10.1080/00927879508825509). */
const randomElements = (generators: readonly Permutation[], random: Random): (() => Permutation) => {
  const slots = Array.from({ length: Math.max(10, generators.length + 1) }, (_, i) => generators[i % generators.length].slice());
  const sum = slots[0].slice();
  const multiply = (a: Permutation, b: Permutation): void => {
    for (let n = 0; n < a.length; n++) a[n] = b[a[n]];
  };
  const step = (): Permutation => {
    const i = random.integer(slots.length);
    const j = (i + 1 + random.integer(slots.length - 1)) % slots.length;
    multiply(slots[i], random.integer(2) === 0 ? slots[j] : inverted(slots[j]));
    multiply(sum, slots[i]);
    return sum.slice();
  };
  for (let i = 0; i < 6 * slots.length; i++) step();
  return step;
};

const isPrime = (n: number): boolean => {
  for (let k = 2; k * k <= n; k++) if (n % k === 0) return false;
  return n > 1;
};

/**
 * Whether a transitive group on m points is seen to hold all even permutations: some element has a cycle of prime length between m/2 and m − 2 (Jordan 1873; Seress §10.2).
 * False says nothing.
 */
const holdsAlternating = (next: () => Permutation, orbit: readonly number[]): boolean => {
  const m = orbit.length;
  for (let i = 0; i < TRIES; i++) if (cycleLengths(next(), orbit).some((p) => 2 * p > m && p < m - 2 && isPrime(p))) return true;
  return false;
};

export interface PermutationGroup {
  readonly order: bigint;
  /** Whether the order is proved; otherwise the group has at least as many elements. */
  readonly exact: boolean;
  readonly orbits: readonly (readonly number[])[];
  /** Points whose images determine an element. */
  readonly base: readonly number[];
}

/**
 * Order of the group that permutations generate. The chain is built from them and from random elements, then either as large as any group with these orbits and signs
 * could be, or proved complete: what is random is the time it takes, not the result.
 */
export const permutationGroup = (generators: readonly Permutation[], degree: number): PermutationGroup => {
  const orbits = orbitsOf(generators, degree);
  const useful = generators.filter((generator) => !isIdentity(generator));
  if (useful.length === 0) return { order: 1n, exact: true, orbits, base: [] };
  const bound = largestOrder(useful, orbits);
  const next = randomElements(useful, createRandom(1));
  const moved = orbits.filter(({ length }) => length > 1);
  // What unfinished training leaves behind generates mostly this.
  if (moved.length === 1 && moved[0].length > 8 && holdsAlternating(next, moved[0])) return { order: bound, exact: true, orbits, base: moved[0] };
  const chain = new StabilizerChain(degree);
  for (const generator of useful) chain.add(generator.slice());
  for (let sifted = 0; sifted < ENOUGH && chain.order < bound; ) sifted = chain.add(next()) ? 0 : sifted + 1;
  const exact = chain.order === bound || chain.complete();
  return { order: chain.order, exact, orbits, base: chain.base };
};
