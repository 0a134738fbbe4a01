/** Three-way merge of an order: who changed it decides, and what stands on one side only keeps its neighbour. */

export interface MergedOrder {
  readonly keys: readonly string[];
  /** Both sides changed the order, differently; the workflow's is kept. */
  readonly conflict: boolean;
}

/** `members` are the keys of the result, each of which stands in at least one of the sides. */
export function mergeOrder(members: ReadonlySet<string>, base: readonly string[], template: readonly string[], workflow: readonly string[]): MergedOrder {
  const [b, t, w] = [base, template, workflow].map((keys) => keys.filter((key) => members.has(key))) as [string[], string[], string[]];
  const shared = new Set(b.filter((key) => t.includes(key) && w.includes(key)));
  const order = (keys: readonly string[]): string => JSON.stringify(keys.filter((key) => shared.has(key)));
  if (order(w) === order(b)) return { keys: woven(t, w), conflict: false };
  if (order(t) === order(b) || order(t) === order(w)) return { keys: woven(w, t), conflict: false };
  return { keys: woven(w, t), conflict: true };
}

/** `first` in its order; each key that only `second` has behind the one it follows there. */
function woven(first: readonly string[], second: readonly string[]): string[] {
  const keys = [...first];
  const placed = new Set(first);
  let previous: string | undefined;
  for (const key of second) {
    if (!placed.has(key)) {
      keys.splice(previous === undefined ? 0 : keys.indexOf(previous) + 1, 0, key);
      placed.add(key);
    }
    previous = key;
  }
  return keys;
}
