/** What calls with the same plain values find out, found out once: a kernel may take less time than checking its options anew. */

/** How many results a function keeps: a network has that many different layers, if many. */
const KEPT = 16;

/** Whether two values are the same, lists by their entries. */
export const isSame = (a: unknown, b: unknown): boolean => {
  if (a === b) return true;
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!isSame(a[i], b[i])) return false;
  return true;
};

/** The value with all lists and plain objects in it copied and frozen; what is frozen all through is given back as it is. */
export const frozen = <T>(value: T): T => {
  if (typeof value !== "object" || value === null) return value;
  // Holes are entries of undefined, which `Object.entries` leaves out.
  const given = Array.isArray(value) ? Array.from(value, (entry, i) => [i, entry] as const) : Object.entries(value);
  const entries = given.map(([name, entry]) => [name, frozen(entry)] as const);
  if (Object.isFrozen(value) && entries.every(([name, entry]) => entry === value[name as keyof T])) return value;
  return Object.freeze(Array.isArray(value) ? entries.map(([, entry]) => entry) : Object.fromEntries(entries)) as T;
};

/**
 * A function that gives what `make` gives, or gave lately for the same key. Keys are made of numbers, strings, true, false, undefined and lists of these;
 * results of the same, and of objects of them and functions: they are frozen, so that whoever gets one may tell it by identity.
 */
export const recalling = <T>(): ((key: readonly unknown[], make: () => T) => T) => {
  const kept: { readonly key: readonly unknown[]; readonly result: T }[] = [];
  return (key, make) => {
    for (let i = 0; i < kept.length; i++) if (isSame(kept[i].key, key)) return kept[i].result;
    const result = frozen(make());
    kept.unshift({ key: frozen(key), result });
    kept.length = Math.min(kept.length, KEPT);
    return result;
  };
};
