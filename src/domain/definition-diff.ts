/**
 * What changed between two definitions, told by names: steps that came, went, moved or changed, and of the rest the smallest
 * part that differs. Definitions that say the same (members in another order) have no differences.
 */
import { canonicalJson, isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import type { DefinitionChange } from "./definition-change.ts";
import { type DefinitionTree, itemPath, jsonOf, memberPath, type ObjectNode, placesOf, stepJson, stepPath, type TreeNode, treeOf } from "./definition-tree.ts";
import { diffSchema } from "./schema-diff.ts";

/** In the order of the new definition; what is gone stands where it was. */
export function diffDefinitions(before: JsonObject, after: JsonObject): DefinitionChange[] {
  const [old, now] = [treeOf(before), treeOf(after)];
  const changes: DefinitionChange[] = [];
  let stepsToldAt = false;
  for (const key of keysOf(old.root, now.root)) {
    if (key === "steps") {
      stepsToldAt = true;
      changes.push(...diffSteps(old, now));
    } else changes.push(...diffField(key, before, after, old, now));
  }
  return stepsToldAt ? changes : [...changes, ...diffSteps(old, now)];
}

/** Differences of two plain objects, member by member (heads, parameters); lists change as a whole. Nothing is breaking. */
export function diffObjects(path: string, before: JsonObject, after: JsonObject): DefinitionChange[] {
  const [old, now] = [treeOf({ value: before }), treeOf({ value: after })];
  return diffNodes(path, old.root.members.get("value"), now.root.members.get("value"), old, now);
}

function diffField(key: string, before: JsonObject, after: JsonObject, old: DefinitionTree, now: DefinitionTree): DefinitionChange[] {
  if (key === "input_schema" || key === "output_schema") {
    return diffSchema(key, objectOr(before[key]), objectOr(after[key]), key === "input_schema" ? "input" : "output");
  }
  const changes = diffNodes(key, old.root.members.get(key), now.root.members.get(key), old, now);
  if (key === "outputs") return changes.map((change) => ({ ...change, breaking: change.kind === "removed" }));
  if (key === "secret_slots") return changes.map((change) => ({ ...change, breaking: needsSecret(change) }));
  return changes;
}

/** A slot that has to be bound now. */
function needsSecret({ kind, path, before, after }: DefinitionChange): boolean {
  if (path.endsWith(".optional")) return before === true;
  if (kind !== "added") return false;
  return Array.isArray(after) ? after.some((slot) => isJsonObject(slot) && slot["optional"] !== true) : isJsonObject(after) && after["optional"] !== true;
}

function diffSteps(old: DefinitionTree, now: DefinitionTree): DefinitionChange[] {
  const [placesBefore, placesAfter] = [placesOf(old), placesOf(now)];
  const moved = movedSteps(placesBefore, placesAfter);
  return mergedOrder([...placesBefore.keys()], [...placesAfter.keys()]).flatMap((name): DefinitionChange[] => {
    const path = stepPath(name);
    const [was, is] = [placesBefore.get(name), placesAfter.get(name)];
    if (!was && is) {
      if (is.owner !== undefined && !placesBefore.has(is.owner)) return [];
      return [{ path, kind: "added", after: stepJson(now, name), breaking: false }];
    }
    if (was && !is) {
      if (was.owner !== undefined && !placesAfter.has(was.owner)) return [];
      return [{ path, kind: "removed", before: stepJson(old, name), breaking: true }];
    }
    if (!was || !is) return [];
    const place = ({ container, index }: { container: string; index: number }): Json => ({ container, index });
    return [
      ...(moved.has(name) ? [{ path, kind: "moved" as const, before: place(was), after: place(is), breaking: false }] : []),
      ...diffNodes(path, old.steps.get(name), now.steps.get(name), old, now),
    ];
  });
}

type Places = ReturnType<typeof placesOf>;

/** Steps that stand in another list, or that must be taken out of a list so that the others are in their old order. */
function movedSteps(before: Places, after: Places): ReadonlySet<string> {
  const moved = new Set<string>();
  const stayed = new Map<string, { name: string; was: number }[]>();
  for (const [name, { container }] of after) {
    const was = before.get(name);
    if (!was) continue;
    if (was.container !== container) {
      moved.add(name);
      continue;
    }
    const list = stayed.get(container) ?? [];
    list.push({ name, was: was.index });
    stayed.set(container, list);
  }
  for (const list of stayed.values()) {
    const inOrder = new Set(longestRising(list.map(({ was }) => was)));
    list.forEach(({ name }, index) => {
      if (!inOrder.has(index)) moved.add(name);
    });
  }
  return moved;
}

/** Indexes of a longest rising subsequence of different numbers. */
function longestRising(numbers: readonly number[]): number[] {
  const tails: number[] = [];
  const previous: number[] = [];
  numbers.forEach((number, index) => {
    let low = 0;
    let high = tails.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((numbers[tails[middle] as number] as number) < number) low = middle + 1;
      else high = middle;
    }
    previous[index] = low > 0 ? (tails[low - 1] as number) : -1;
    tails[low] = index;
  });
  const found: number[] = [];
  for (let index = tails.at(-1) ?? -1; index >= 0; index = previous[index] as number) found.unshift(index);
  return found;
}

/** Steps inside are told by `diffSteps`. */
function diffNodes(path: string, before: TreeNode | undefined, after: TreeNode | undefined, old: DefinitionTree, now: DefinitionTree): DefinitionChange[] {
  if (!before && !after) return [];
  if (!before || !after) {
    const [was, is] = [before && withoutSteps(before, old), after && withoutSteps(after, now)];
    if ((was ?? is) === undefined) return [];
    return [
      { path, kind: before ? "removed" : "added", ...(was === undefined ? {} : { before: was }), ...(is === undefined ? {} : { after: is }), breaking: false },
    ];
  }
  if (before.kind === "steps" && after.kind === "steps") return [];
  if (before.kind === "object" && after.kind === "object") {
    return keysOf(before, after).flatMap((key) => diffNodes(memberPath(path, key), before.members.get(key), after.members.get(key), old, now));
  }
  if (before.kind === "list" && after.kind === "list") {
    const common = (keys: readonly string[], other: readonly string[]): string[] => keys.filter((key) => other.includes(key));
    const isReordered = common(before.keys, after.keys).join("\n") !== common(after.keys, before.keys).join("\n");
    return [
      ...(isReordered ? [{ path, kind: "moved" as const, before: [...before.keys], after: [...after.keys], breaking: false }] : []),
      ...mergedOrder(before.keys, after.keys).flatMap((key) => diffNodes(itemPath(path, key), before.items.get(key), after.items.get(key), old, now)),
    ];
  }
  const [was, is] = [jsonOf(before, old), jsonOf(after, now)];
  return canonicalJson(was) === canonicalJson(is) ? [] : [{ path, kind: "changed", before: was, after: is, breaking: false }];
}

/** A part as a value; the steps it holds are told one by one. Undefined for a bare list of steps. */
function withoutSteps(node: TreeNode, tree: DefinitionTree): Json | undefined {
  if (node.kind === "steps") return undefined;
  if (node.kind === "value") return jsonOf(node, tree);
  if (node.kind === "list") return node.keys.flatMap((key) => withoutSteps(node.items.get(key) as TreeNode, tree) ?? []);
  return Object.fromEntries(
    [...node.members].flatMap(([key, member]) => {
      const value = withoutSteps(member, tree);
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

function keysOf(before: ObjectNode, after: ObjectNode): string[] {
  return mergedOrder([...before.members.keys()], [...after.members.keys()]);
}

/** All of `after` in its order; each one that stands only in `before` behind the one it followed there. */
function mergedOrder(before: readonly string[], after: readonly string[]): string[] {
  const known = new Set(after);
  const following = new Map<string, string[]>();
  let anchor = "";
  for (const key of before) {
    if (known.has(key)) anchor = key;
    else following.set(anchor, [...(following.get(anchor) ?? []), key]);
  }
  return [...(following.get("") ?? []), ...after.flatMap((key) => [key, ...(following.get(key) ?? [])])];
}

function objectOr(value: Json | undefined): JsonObject | undefined {
  return isJsonObject(value) ? value : undefined;
}
