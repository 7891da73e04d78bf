/** Which group permutations generate. */
import { checkPermutations, composed, equalPermutations, identityPermutation, type Permutation } from "../data/permutations.ts";
import { invariantFactors, LARGEST_SPLIT, type Naming, nameOf } from "./names.ts";
import { cycleLengths, factorial, type PermutationGroup, permutationGroup } from "./stabilizerChain.ts";
import { GroupTable } from "./table.ts";

/** Groups of more elements are not listed: only their order, orbits and whether they are abelian are known, and a name where the order decides it. */
export const LARGEST_LISTED_GROUP = 2048;

export interface GroupIdentity {
  readonly order: bigint;
  /** Whether the order is proved. Otherwise it is a lower bound. */
  readonly exact: boolean;
  readonly abelian: boolean;
  /** "C4", "C2×C4", "D4", "S4", "A4", "Q8", "Dic3", "S4×C2", …; undefined where nothing decides it. */
  readonly name: string | undefined;
  /** Other names of the same abstract group: "D3" of S3, "rotations of a cube" of S4. */
  readonly aliases: readonly string[];
  /** The name with its aliases, or what is known instead: "order 16, not abelian, not named". */
  readonly description: string;
  /** The argument that leaves no other name, in one sentence; without a name, why there is none. */
  readonly evidence: string;
  /** Elements that the argument is about, which generate the group; none without a name. */
  readonly witnesses: readonly Permutation[];
  /** Order of each generator, in the order given; exact below 2⁵³. */
  readonly generatorOrders: readonly number[];
  /** How many elements have each order, smallest first; undefined for groups of more than `LARGEST_LISTED_GROUP` elements. */
  readonly elementOrders: readonly { readonly order: number; readonly count: number }[] | undefined;
  /** Orders of the cyclic factors, each a divisor of the next, of an abelian group that is listed. */
  readonly invariantFactors: readonly number[] | undefined;
  /** Sizes of the orbits, largest first. */
  readonly orbits: readonly number[];
  /** All elements, identity first; undefined for groups of more than `LARGEST_LISTED_GROUP` elements. */
  readonly elements: readonly Permutation[] | undefined;
}

const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b));

/** Least common multiple of the lengths of the cycles. */
const orderOf = (p: Permutation): number => cycleLengths(p, p).reduce((order, length) => (order / greatestDivisor(order, length)) * length, 1);

/** All elements, and their table from products with generators alone: e·(f·s) = (e·f)·s. */
const listed = (generators: readonly Permutation[], { base }: PermutationGroup, degree: number): { elements: Permutation[]; group: GroupTable } => {
  const key = (p: Permutation): string => base.map((point) => p[point]).join();
  const elements = [identityPermutation(degree)];
  const position = new Map([[key(elements[0]), 0]]);
  const parents = [0];
  const last = [0];
  const right: number[][] = [];
  for (let e = 0; e < elements.length; e++) {
    right.push(
      generators.map((generator, s) => {
        const product = composed(elements[e], generator);
        const name = key(product);
        const known = position.get(name);
        if (known !== undefined) return known;
        position.set(name, elements.length);
        parents.push(e);
        last.push(s);
        return elements.push(product) - 1;
      }),
    );
  }
  const n = elements.length;
  const table = new Int32Array(n * n);
  for (let e = 0; e < n; e++) {
    table[e * n] = e;
    for (let f = 1; f < n; f++) table[e * n + f] = right[table[e * n + parents[f]]][last[f]];
  }
  return { elements, group: new GroupTable(table) };
};

type Known = Pick<GroupIdentity, "evidence" | "witnesses"> & { readonly names: Naming["names"] | readonly [] };

/** Of groups that contain every permutation, or every even one, of each orbit. */
const byOrder = ({ order, exact, orbits }: PermutationGroup, generators: readonly Permutation[]): Known | undefined => {
  const sizes = orbits.map(({ length }) => length).filter((size) => size > 4);
  if (!exact || sizes.length === 0 || orbits.some(({ length }) => length > 1 && length < 5)) return undefined;
  const all = sizes.reduce((product, size) => product * factorial(size), 1n);
  const even = order === all / 2n ** BigInt(sizes.length);
  if (order !== all && !even) return undefined;
  // Of proper subgroups of A_m, m > 4, only those that fix a point can have a power of 2 as index (Guralnick 1983), and with these orbits none does.
  const evidence = `there are as many elements as ${even ? "even permutations" : "permutations"} of ${sizes.length > 1 ? "the orbits, each by itself" : `${sizes[0]} positions`}`;
  return { names: [sizes.map((size) => `${even ? "A" : "S"}${size}`).join("×")], evidence, witnesses: generators };
};

/** By the table of a group that is listed. */
const byTable = (group: GroupTable, elements: readonly Permutation[]): Known | undefined => {
  const naming = nameOf(group);
  return naming && { ...naming, witnesses: naming.witnesses.map((a) => elements[a]) };
};

const RULES = "abelian, dihedral, dicyclic, symmetric, alternating";

const unnamed = ({ order, exact }: PermutationGroup): Known => {
  const evidence = !exact
    ? "the order is a lower bound: no proof of it within the time that is spent on one"
    : order > BigInt(LARGEST_LISTED_GROUP)
      ? `groups of more than ${LARGEST_LISTED_GROUP} elements are not listed`
      : order > BigInt(LARGEST_SPLIT)
        ? `no rule applies: ${RULES}; direct products of more than ${LARGEST_SPLIT} elements are not looked for`
        : `no rule applies: ${RULES}, or a direct product of these`;
  return { names: [], evidence, witnesses: [] };
};

/**
 * The group that permutations generate: its order (exact, by a stabiliser chain, for any size up to some hundred positions), whether it is abelian, the orders of its
 * elements, and its name where that can be proved, with the argument (`evidence`) and the elements that it is about (`witnesses`).
 *
 * Named are cyclic and all abelian groups (by invariant factors), dihedral, dicyclic and quaternion groups, symmetric and alternating groups in any
 * action, and direct products of these, up to `LARGEST_LISTED_GROUP` elements; and beyond, groups of all or all even permutations of their orbits.
 *
 * @param generators permutations of the same positions, such as the nearest permutations of a learned stack
 * @throws ArgumentError without generators, for what is no permutation and for permutations of different lengths
 * @example
 * ```ts
 * identifyGroup(rotationGroup(5).elements).name; // => "C4"
 * const { name, order, abelian } = identifyGroup([Int32Array.of(1, 2, 0, 3), Int32Array.of(0, 2, 3, 1)]);
 * [name, Number(order), abelian]; // => ["A4", 12, false]
 * identifyGroup(dihedralGroup(3).elements).evidence; // => "r of order 4 and s of order 2, no power of r, with s⁻¹rs = r⁻¹"
 * identifyGroup([Int32Array.of(1, 1)]); // throws ArgumentError
 * ```
 */
export const identifyGroup = (generators: readonly Permutation[]): GroupIdentity => {
  const degree = checkPermutations("identifyGroup", "generators", generators)[0].length;
  const known = permutationGroup(generators, degree);
  const { order, exact } = known;
  const small = exact && order <= BigInt(LARGEST_LISTED_GROUP) ? listed(generators, known, degree) : undefined;
  const abelian = generators.every((a, i) => generators.slice(i + 1).every((b) => equalPermutations(composed(a, b), composed(b, a))));
  const { names, evidence, witnesses } = byOrder(known, generators) ?? (small && byTable(small.group, small.elements)) ?? unnamed(known);
  const counts = new Map<number, number>();
  for (const each of small?.group.orders ?? []) counts.set(each, (counts.get(each) ?? 0) + 1);
  const [name, ...aliases] = names;
  const facts = `order ${exact ? "" : "at least "}${order}, ${abelian ? "abelian" : "not abelian"}, not named`;
  return {
    order,
    exact,
    abelian,
    name,
    aliases,
    description: name === undefined ? facts : aliases.length > 0 ? `${name} (${aliases.join(", ")})` : name,
    evidence,
    witnesses,
    generatorOrders: generators.map(orderOf),
    elementOrders: small && [...counts].map(([each, count]) => ({ order: each, count })).sort((a, b) => a.order - b.order),
    invariantFactors: small && abelian ? invariantFactors(small.group.orders) : undefined,
    orbits: known.orbits.map(({ length }) => length).sort((a, b) => b - a),
    elements: small?.elements,
  };
};
