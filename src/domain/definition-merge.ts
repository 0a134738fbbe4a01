/**
 * Three-way merge of definitions: what the template changed since `base` and what the workflow changed since `base`, by names of
 * steps. A part that only one side changed takes that side's value; a part that both changed differently is a conflict, and
 * there the workflow's side is kept. Without changes of the workflow the result is the template's side, and the other way round.
 */
import { canonicalJson, type Json, type JsonObject } from "../base/json.ts";
import {
  containersOf,
  type DefinitionTree,
  definitionOf,
  itemPath,
  memberPath,
  type ObjectNode,
  placesOf,
  stepPath,
  type TreeNode,
  treeOf,
} from "./definition-tree.ts";
import { mergeOrder } from "./merge-order.ts";

/** A part that both sides changed differently; a side that does not have it is absent. */
export interface MergeConflict {
  /** Proto path, steps by name. */
  readonly path: string;
  readonly base?: Json;
  readonly template?: Json;
  readonly workflow?: Json;
}

export interface MergedDefinition {
  readonly definition: JsonObject;
  readonly conflicts: readonly MergeConflict[];
}

export function mergeDefinitions(base: JsonObject, template: JsonObject, workflow: JsonObject): MergedDefinition {
  return new Merge(treeOf(base), treeOf(template), treeOf(workflow)).result(workflow);
}

/** The same part of the three sides. */
interface Sides {
  readonly base: TreeNode | undefined;
  readonly template: TreeNode | undefined;
  readonly workflow: TreeNode | undefined;
}

class Merge {
  readonly #base: DefinitionTree;
  readonly #template: DefinitionTree;
  readonly #workflow: DefinitionTree;
  readonly #conflicts: MergeConflict[] = [];

  constructor(base: DefinitionTree, template: DefinitionTree, workflow: DefinitionTree) {
    this.#base = base;
    this.#template = template;
    this.#workflow = workflow;
  }

  result(workflow: JsonObject): MergedDefinition {
    const root = this.#node("", { base: this.#base.root, template: this.#template.root, workflow: this.#workflow.root }) as ObjectNode;
    const steps = this.#steps();
    const skeleton: DefinitionTree = { root, steps };
    const lists = this.#lists(skeleton);
    const filled: DefinitionTree = {
      root: fill(root, "", lists),
      steps: new Map([...steps].map(([name, node]) => [name, fill(node, stepPath(name), lists)])),
    };
    const reached = placesOf(filled);
    const lost = [...steps.keys()].filter((name) => !reached.has(name));
    // Both sides nested steps into each other: no order of the two is right.
    for (const name of lost) this.#conflict(stepPath(name), this.#stepSides(name));
    return { definition: lost.length > 0 ? workflow : definitionOf(filled), conflicts: this.#conflicts };
  }

  /** Undefined: the part is gone. Lists of steps are left empty here. */
  #node(path: string, { base, template, workflow }: Sides): TreeNode | undefined {
    if (template?.kind === "steps" || workflow?.kind === "steps") return { kind: "steps", names: [] };
    if (template?.kind === "object" && workflow?.kind === "object") {
      return this.#object(path, base?.kind === "object" ? base : undefined, template, workflow);
    }
    if (template?.kind === "list" && workflow?.kind === "list") return this.#list(path, base?.kind === "list" ? base : undefined, template, workflow);
    if (same(base, workflow)) return template;
    if (same(base, template) || same(template, workflow)) return workflow;
    this.#conflict(path, { base, template, workflow });
    return workflow;
  }

  #object(path: string, base: ObjectNode | undefined, template: ObjectNode, workflow: ObjectNode): ObjectNode {
    const members = new Map<string, TreeNode>();
    for (const key of new Set([...template.members.keys(), ...workflow.members.keys()])) {
      const sides = { base: base?.members.get(key), template: template.members.get(key), workflow: workflow.members.get(key) };
      const merged = this.#node(memberPath(path, key), sides);
      if (merged) members.set(key, merged);
    }
    return { kind: "object", members };
  }

  #list(
    path: string,
    base: Extract<TreeNode, { kind: "list" }> | undefined,
    template: Extract<TreeNode, { kind: "list" }>,
    workflow: Extract<TreeNode, { kind: "list" }>,
  ): TreeNode {
    const items = new Map<string, TreeNode>();
    for (const key of new Set([...template.keys, ...workflow.keys])) {
      const sides = { base: base?.items.get(key), template: template.items.get(key), workflow: workflow.items.get(key) };
      const merged = this.#node(itemPath(path, key), sides);
      if (merged) items.set(key, merged);
    }
    const { keys, conflict } = mergeOrder(new Set(items.keys()), base?.keys ?? [], template.keys, workflow.keys);
    if (conflict) this.#conflicts.push({ path, base: [...(base?.keys ?? [])], template: [...template.keys], workflow: [...workflow.keys] });
    return { kind: "list", keys, items };
  }

  /** The steps of the result, each merged by itself. */
  #steps(): Map<string, ObjectNode> {
    const steps = new Map<string, ObjectNode>();
    const kept = new Set<string>();
    const places = placesOf(this.#workflow);
    for (const name of new Set([...places.keys(), ...this.#template.steps.keys()])) {
      const sides = this.#stepSides(name);
      const { template, workflow } = sides;
      const owner = places.get(name)?.owner;
      let merged: TreeNode | undefined;
      if (!template && workflow && owner !== undefined && kept.has(owner)) merged = workflow;
      else {
        const before = this.#conflicts.length;
        merged = this.#node(stepPath(name), sides);
        if (merged && !template && this.#conflicts.length > before) kept.add(name);
      }
      if (merged?.kind === "object") steps.set(name, merged);
    }
    return steps;
  }

  #stepSides(name: string): Sides {
    return { base: this.#base.steps.get(name), template: this.#template.steps.get(name), workflow: this.#workflow.steps.get(name) };
  }

  /** Which steps stand in which list, in their order. */
  #lists(skeleton: DefinitionTree): Map<string, readonly string[]> {
    const lists = new Map<string, Set<string>>([...containersOf(skeleton).keys()].map((path) => [path, new Set<string>()]));
    const [base, template, workflow] = [placesOf(this.#base), placesOf(this.#template), placesOf(this.#workflow)];
    for (const name of skeleton.steps.keys()) {
      const [b, t, w] = [base.get(name)?.container, template.get(name)?.container, workflow.get(name)?.container];
      let wanted = w === undefined ? t : t === undefined ? w : w === b ? t : w;
      if (t !== undefined && w !== undefined && t !== w && b !== t && b !== w) {
        this.#conflicts.push({ path: stepPath(name), ...(b === undefined ? {} : { base: b }), template: t, workflow: w });
      }
      if (wanted === undefined || !lists.has(wanted)) {
        // The block that should hold it is gone.
        this.#conflict(stepPath(name), this.#stepSides(name));
        wanted = "steps";
      }
      const list = lists.get(wanted) ?? new Set<string>();
      lists.set(wanted, list.add(name));
    }
    const orders = [this.#base, this.#template, this.#workflow].map((tree) => containersOf(tree));
    return new Map(
      [...lists].map(([path, members]) => {
        const [b, t, w] = orders.map((containers) => containers.get(path)?.names ?? []) as [readonly string[], readonly string[], readonly string[]];
        const { keys, conflict } = mergeOrder(members, b, t, w);
        if (conflict) this.#conflicts.push({ path, base: [...b], template: [...t], workflow: [...w] });
        return [path, [...keys, ...[...members].filter((name) => !keys.includes(name))]];
      }),
    );
  }

  #conflict(path: string, { base, template, workflow }: Sides): void {
    const own = (node: TreeNode | undefined, tree: DefinitionTree): Json | undefined => node && plain(node, tree);
    const [b, t, w] = [own(base, this.#base), own(template, this.#template), own(workflow, this.#workflow)];
    this.#conflicts.push({
      path,
      ...(b === undefined ? {} : { base: b }),
      ...(t === undefined ? {} : { template: t }),
      ...(w === undefined ? {} : { workflow: w }),
    });
  }
}

/** Puts the names into the lists of steps; a list without any is left out, as the JSON of messages leaves it out. */
function fill<Node extends TreeNode>(node: Node, path: string, lists: ReadonlyMap<string, readonly string[]>): Node {
  if (node.kind === "steps") return { ...node, names: lists.get(path) ?? [] };
  if (node.kind === "object") {
    const members = [...node.members].map(([key, member]) => [key, fill(member, memberPath(path, key), lists)] as const);
    return { ...node, members: new Map(members.filter(([, member]) => member.kind !== "steps" || member.names.length > 0)) };
  }
  if (node.kind !== "list") return node;
  return { ...node, items: new Map([...node.items].map(([key, item]) => [key, fill(item, itemPath(path, key), lists)])) };
}

/** Equal without the steps they hold, which are compared one by one. */
function same(one: TreeNode | undefined, other: TreeNode | undefined): boolean {
  if (!one || !other) return one === other;
  return canonicalJson(plain(one) ?? null) === canonicalJson(plain(other) ?? null);
}

const noTree: DefinitionTree = { root: { kind: "object", members: new Map() }, steps: new Map() };

function plain(node: TreeNode, tree: DefinitionTree = noTree): Json | undefined {
  switch (node.kind) {
    case "value":
      return node.value;
    case "steps":
      return tree === noTree ? undefined : [...node.names];
    case "object":
      return Object.fromEntries([...node.members].flatMap(([key, member]) => present(key, plain(member, tree))));
    case "list":
      return node.keys.map((key) => [key, plain(node.items.get(key) as TreeNode, tree) ?? null]);
    default:
      return node satisfies never;
  }
}

function present(key: string, value: Json | undefined): [string, Json][] {
  return value === undefined ? [] : [[key, value]];
}
