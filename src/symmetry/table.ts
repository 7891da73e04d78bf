/** What a multiplication table [n, n] says about a group: table[a·n + b] is the product ab, element 0 the identity. */

export type Table = Int32Array;

/** Sets of elements are sorted lists. */
type Subset = readonly number[];

const orderOf = (table: Table, n: number, a: number): number => {
  let order = 1;
  for (let power = a; power !== 0; power = table[power * n + a]) order++;
  return order;
};

const inverseOf = (table: Table, n: number, a: number): number => {
  for (let b = 0; b < n; b++) if (table[a * n + b] === 0) return b;
  return -1;
};

/** Whether an n × n table is one of a group with element 0 as its identity. */
export const isGroupTable = (table: Table, n: number): boolean => {
  const all = Array.from({ length: n }, (_, a) => a);
  const product = (a: number, b: number): number => table[a * n + b];
  return (
    table.length === n * n &&
    all.every((a) => product(0, a) === a && product(a, 0) === a && new Set(all.map((b) => product(a, b))).size === n) &&
    all.every((a) => all.every((b) => all.every((c) => product(product(a, b), c) === product(a, product(b, c)))))
  );
};

export interface Subgroup {
  readonly elements: Subset;
  readonly group: GroupTable;
}

export class GroupTable {
  readonly table: Table;
  readonly n: number;
  readonly orders: readonly number[];
  readonly inverses: readonly number[];
  readonly abelian: boolean;

  constructor(table: Table) {
    this.table = table;
    this.n = Math.sqrt(table.length);
    const all = Array.from({ length: this.n }, (_, a) => a);
    this.orders = all.map((a) => orderOf(table, this.n, a));
    this.inverses = all.map((a) => inverseOf(table, this.n, a));
    this.abelian = all.every((a) => all.every((b) => table[a * this.n + b] === table[b * this.n + a]));
  }

  product(a: number, b: number): number {
    return this.table[a * this.n + b];
  }

  /** All products of the given elements. */
  generated(elements: Iterable<number>): Subset {
    const inside = new Uint8Array(this.n);
    inside[0] = 1;
    const found = [0];
    const generators = [...elements];
    for (const a of found) {
      for (const s of generators) {
        const product = this.product(a, s);
        if (inside[product]) continue;
        inside[product] = 1;
        found.push(product);
      }
    }
    return found.sort((a, b) => a - b);
  }

  conjugates(a: number): Subset {
    const found = new Set<number>();
    for (let x = 0; x < this.n; x++) found.add(this.product(this.product(this.inverses[x], a), x));
    return [...found].sort((x, y) => x - y);
  }

  /** What elements generate, as a group of its own: number a of it is `elements[a]`. */
  subgroup(generators: Iterable<number>): Subgroup {
    const elements = this.generated(generators);
    const position = new Map(elements.map((a, i) => [a, i]));
    const table = Int32Array.from(elements.flatMap((a) => elements.map((b) => position.get(this.product(a, b)) ?? -1)));
    return { elements, group: new GroupTable(table) };
  }

  /**
   * Normal subgroups whose direct product this is, none of them such a product again; the group alone when there are none, or too many normal subgroups to look at.
   */
  directFactors(limit = 400): Subgroup[] {
    const pair = this.#split(limit);
    if (!pair) return [{ elements: Array.from({ length: this.n }, (_, a) => a), group: this }];
    return pair
      .map((part) => this.subgroup(part))
      .flatMap(({ elements, group }) =>
        group.directFactors(limit).map((inner) => ({ elements: inner.elements.map((a) => elements[a]), group: inner.group })),
      );
  }

  #split(limit: number): readonly [Subset, Subset] | undefined {
    const { n } = this;
    const known = new Map<string, Subset>();
    const seen = new Uint8Array(n);
    const closures: Subset[] = [];
    const learn = (subset: Subset): boolean => {
      const key = subset.join();
      if (known.has(key)) return false;
      known.set(key, subset);
      return true;
    };
    for (let a = 1; a < n; a++) {
      if (seen[a]) continue;
      const conjugates = this.conjugates(a);
      for (const b of conjugates) seen[b] = 1;
      const closure = this.generated(conjugates);
      if (learn(closure)) closures.push(closure);
    }
    // Every normal subgroup is a join of closures.
    const queue = [...closures];
    for (const subset of queue) {
      for (const closure of closures) {
        if (known.size > limit) return undefined;
        const join = this.generated(new Set([...subset, ...closure]));
        if (learn(join)) queue.push(join);
      }
    }
    const proper = [...known.values()].filter(({ length }) => length > 1 && length < n).sort((a, b) => a.length - b.length);
    for (const a of proper) {
      for (const b of proper) {
        if (b.length < a.length || a.length * b.length !== n) continue;
        const inside = new Set(a);
        // Normal subgroups that share the identity alone commute.
        if (b.every((x) => x === 0 || !inside.has(x))) return [a, b];
      }
    }
    return undefined;
  }
}
