/**
 * A definition as a tree in which steps, cases, branches and slots are known by name instead of by position, so that two
 * definitions can be compared and merged by what their parts are. Names of steps are unique in a whole definition, so every
 * step stands once in a table, and a block holds only the names of its steps: a step that moves stays the same step.
 */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";

export type TreeNode = ValueNode | ObjectNode | ListNode | StepsNode;

/** A scalar, or a list that has no names: it changes as a whole. */
export interface ValueNode {
  readonly kind: "value";
  readonly value: Json;
}
export interface ObjectNode {
  readonly kind: "object";
  readonly members: ReadonlyMap<string, TreeNode>;
}
/** A list whose items have names (cases, branches, slots) or numbers (catches). */
export interface ListNode {
  readonly kind: "list";
  readonly keys: readonly string[];
  readonly items: ReadonlyMap<string, TreeNode>;
}
/** Where steps stand: their names in order. */
export interface StepsNode {
  readonly kind: "steps";
  readonly names: readonly string[];
}

export interface DefinitionTree {
  readonly root: ObjectNode;
  readonly steps: ReadonlyMap<string, ObjectNode>;
}

/** Where a step stands. */
export interface StepPlace {
  /** Path of the list, `steps` or `steps[big].conditional.cases[large].steps`. */
  readonly container: string;
  readonly index: number;
  /** The block, or the step with a catch, that holds the list; undefined at the top. */
  readonly owner: string | undefined;
}

export function treeOf(definition: JsonObject): DefinitionTree {
  const steps = new Map<string, ObjectNode>();
  const root = objectOf(definition, (key, value) => {
    if (key === "steps") return stepsOf(value, steps);
    if (key === "secret_slots") return namedList(value, "slot", (item) => plainNode(item));
    return plainNode(value);
  });
  return { root, steps };
}

/** The definition again, members and steps in the tree's order. */
export function definitionOf(tree: DefinitionTree): JsonObject {
  return jsonOf(tree.root, tree) as JsonObject;
}

/** A step as it stands in its list, with everything it holds. */
export function stepJson(tree: DefinitionTree, name: string): Json {
  const node = tree.steps.get(name);
  return node ? jsonOf(node, tree) : null;
}

export function jsonOf(node: TreeNode, tree: DefinitionTree): Json {
  switch (node.kind) {
    case "value":
      return node.value;
    case "object":
      return Object.fromEntries([...node.members].map(([key, member]) => [key, jsonOf(member, tree)]));
    case "list":
      return node.keys.flatMap((key) => {
        const item = node.items.get(key);
        return item ? [jsonOf(item, tree)] : [];
      });
    case "steps":
      return node.names.map((name) => stepJson(tree, name));
    default:
      return node satisfies never;
  }
}

/** Every list of steps by its path, with the step it belongs to. */
export function containersOf(tree: DefinitionTree): Map<string, { readonly names: readonly string[]; readonly owner: string | undefined }> {
  const found = new Map<string, { readonly names: readonly string[]; readonly owner: string | undefined }>();
  const look = (node: TreeNode, path: string, owner: string | undefined): void => {
    if (node.kind === "steps") found.set(path, { names: node.names, owner });
    else if (node.kind === "object") for (const [key, member] of node.members) look(member, memberPath(path, key), owner);
    else if (node.kind === "list") for (const [key, item] of node.items) look(item, itemPath(path, key), owner);
  };
  look(tree.root, "", undefined);
  for (const [name, node] of tree.steps) look(node, stepPath(name), name);
  return found;
}

/** Where each step stands, in the order of the definition: a block before what it holds. */
export function placesOf(tree: DefinitionTree): Map<string, StepPlace> {
  const containers = containersOf(tree);
  const byOwner = Map.groupBy([...containers], ([, { owner }]) => owner ?? "");
  const places = new Map<string, StepPlace>();
  const visit = (owner: string): void => {
    for (const [container, { names }] of byOwner.get(owner) ?? []) {
      names.forEach((name, index) => {
        if (places.has(name)) return;
        places.set(name, { container, index, owner: owner === "" ? undefined : owner });
        visit(name);
      });
    }
  };
  visit("");
  return places;
}

export function stepPath(name: string): string {
  return `steps[${name}]`;
}

/** `a` and `b` → `a.b`; a key that is no plain word stands in brackets and quotes. */
export function memberPath(path: string, key: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === "" ? key : `${path}.${key}`;
}

export function itemPath(path: string, key: string): string {
  return `${path}[${key}]`;
}

type Steps = Map<string, ObjectNode>;

function stepsOf(value: Json, steps: Steps): TreeNode {
  if (!Array.isArray(value)) return plainNode(value);
  const names: string[] = [];
  for (const item of value) {
    if (!isJsonObject(item)) continue;
    const name = freeKey(String(item["name"] ?? ""), steps);
    names.push(name);
    // Its place in the table comes before what it holds.
    steps.set(name, { kind: "object", members: new Map() });
    steps.set(name, stepNode(item, steps));
  }
  return { kind: "steps", names };
}

function stepNode(step: JsonObject, steps: Steps): ObjectNode {
  return objectOf(step, (key, value) => {
    if (!isJsonObject(value)) return plainNode(value);
    switch (key) {
      case "conditional":
        return objectOf(value, (field, inner) => {
          if (field === "cases") return namedList(inner, "case", (item) => holderNode(item, steps));
          return field === "else_steps" ? stepsOf(inner, steps) : plainNode(inner);
        });
      case "parallel":
        return objectOf(value, (field, inner) => (field === "branches" ? namedList(inner, "branch", (item) => holderNode(item, steps)) : plainNode(inner)));
      case "for_each":
        return holderNode(value, steps);
      case "on_error":
        return objectOf(value, (field, inner) => (field === "catches" ? numberedList(inner, (item) => holderNode(item, steps)) : plainNode(inner)));
      default:
        return plainNode(value);
    }
  });
}

/** An object with a field `steps`. */
function holderNode(value: Json, steps: Steps): TreeNode {
  return isJsonObject(value) ? objectOf(value, (key, inner) => (key === "steps" ? stepsOf(inner, steps) : plainNode(inner))) : plainNode(value);
}

function plainNode(value: Json): TreeNode {
  return isJsonObject(value) ? objectOf(value, (_key, member) => plainNode(member)) : { kind: "value", value };
}

function objectOf(value: JsonObject, nodeOf: (key: string, value: Json) => TreeNode): ObjectNode {
  return { kind: "object", members: new Map(Object.entries(value).map(([key, member]) => [key, nodeOf(key, member)])) };
}

function namedList(value: Json, what: string, nodeOf: (item: Json) => TreeNode): TreeNode {
  return keyedList(value, (item, index) => (isJsonObject(item) && typeof item["name"] === "string" ? item["name"] : `${what}_${index + 1}`), nodeOf);
}

function numberedList(value: Json, nodeOf: (item: Json) => TreeNode): TreeNode {
  return keyedList(value, (_item, index) => String(index), nodeOf);
}

function keyedList(value: Json, keyOf: (item: Json, index: number) => string, nodeOf: (item: Json) => TreeNode): TreeNode {
  if (!Array.isArray(value)) return plainNode(value);
  const items = new Map<string, TreeNode>();
  value.forEach((item, index) => {
    const key = freeKey(keyOf(item, index), items);
    items.set(key, nodeOf(item));
  });
  return { kind: "list", keys: [...items.keys()], items };
}

/** Names that stand twice make a definition invalid; the tree takes them all the same. */
function freeKey(key: string, taken: ReadonlyMap<string, unknown>): string {
  let free = key;
  for (let number = 2; taken.has(free); number++) free = `${key}#${number}`;
  return free;
}
