/** What attributes may be, in words and as a check: an op declares one of these for each of its own (`Op.attributes`). */
import { describe, expected } from "./errors.ts";

/** A kind of value. What depends on the inputs' shapes as well is checked by the op's `outputs`. */
export interface AttributeKind<T = unknown> {
  /** As messages call it. */
  readonly what: string;
  fits(value: unknown): value is T;
}

/** One kind for every name that A has, and for no other. */
export type Attributes<A> = { readonly [K in keyof A as string extends K ? never : K]-?: AttributeKind<A[K]> };

/** True or false. */
export const flag: AttributeKind<boolean> = { what: "true or false", fits: (value) => typeof value === "boolean" };

/** An integer in [least, most]. */
export const whole = (least = 0, most = Number.MAX_SAFE_INTEGER): AttributeKind<number> => ({
  what: most === Number.MAX_SAFE_INTEGER ? `an integer of at least ${least}` : `an integer from ${least} to ${most}`,
  fits: (value): value is number => Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
});

/** One of a few values. */
export const oneOf = <const T extends string | boolean | number>(values: readonly T[]): AttributeKind<T> => ({
  what: values.length === 1 ? describe(values[0]) : `one of ${values.map(describe).join(", ")}`,
  fits: (value): value is T => (values as readonly unknown[]).includes(value),
});

/** Some of these names in this order, joined by spaces: none is "". */
export const someOf = (names: readonly string[]): AttributeKind<string> => ({
  what: `some of ${names.join(", ")} in this order, joined by spaces,`,
  fits: (value): value is string => {
    const given = typeof value === "string" ? value.split(" ") : [];
    return names.filter((name) => given.includes(name)).join(" ") === value;
  },
});

/** A list, of `length` entries where that is given. */
export const list = <T>(of: AttributeKind<T>, length?: number): AttributeKind<readonly T[]> => ({
  what: `a list${length === undefined ? "" : ` of ${length}`}, each entry ${of.what},`,
  fits: (value): value is readonly T[] => Array.isArray(value) && (length ?? value.length) === value.length && Array.from(value).every(of.fits),
});

/** A shape, or a part of one. */
export const sizes: AttributeKind<readonly number[]> = list(whole());

/** Throws ArgumentError for a name that is not declared, and for a value that is missing or none of its kind. */
export const checkAttributes = (where: string, kinds: Readonly<Record<string, AttributeKind>>, attrs: Readonly<Record<string, unknown>>): void => {
  for (const name of Object.keys(attrs))
    if (!Object.hasOwn(kinds, name)) throw expected(where, `only ${Object.keys(kinds).join(", ") || "none"}`, "attributes", name);
  for (const [name, { what, fits }] of Object.entries(kinds)) if (!fits(attrs[name])) throw expected(where, what, name, attrs[name]);
};
