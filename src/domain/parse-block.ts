/** The blocks: what they hold, as sequences of steps, and how they carry it out. */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { compileConditionField, compileExpressionField } from "./compile-field.ts";
import type { Block, Sequence, Step } from "./definition.ts";
import type { Report } from "./report.ts";

export interface BlockContext {
  readonly report: Report;
  /** Parses nested steps, one level deeper. */
  readonly parseSteps: (value: Json | undefined, path: string) => readonly Step[];
}

interface ParsedBlock {
  readonly block: Block | undefined;
  readonly sequences: readonly Sequence[];
}

/** Nothing for leaf steps. */
export function parseBlock(type: string, config: JsonObject, path: string, context: BlockContext): ParsedBlock {
  switch (type) {
    case "conditional":
      return parseConditional(config, path, context);
    case "parallel":
      return parseParallel(config, path, context);
    case "for_each":
      return parseForEach(config, path, context);
    default:
      return { block: undefined, sequences: [] };
  }
}

function parseConditional(config: JsonObject, path: string, { report, parseSteps }: BlockContext): ParsedBlock {
  const sequences: Sequence[] = objectsOf(config["cases"]).map((item, index) => ({
    name: nameOf(item, `case_${index + 1}`),
    when: compileConditionField(item["when"], `${path}.cases[${index}].when`, report),
    steps: parseSteps(item["steps"], `${path}.cases[${index}].steps`),
  }));
  sequences.push({ name: "else", when: undefined, steps: parseSteps(config["else_steps"], `${path}.else_steps`) });
  return { block: { kind: "conditional" }, sequences };
}

function parseParallel(config: JsonObject, path: string, { parseSteps }: BlockContext): ParsedBlock {
  const branches = objectsOf(config["branches"]);
  const sequences = branches.map((item, index) => ({
    name: nameOf(item, `branch_${index + 1}`),
    when: undefined,
    steps: parseSteps(item["steps"], `${path}.branches[${index}].steps`),
  }));
  const count = Number(config["join_count"] ?? 1);
  const need = config["join"] === "JOIN_MODE_ANY" ? 1 : config["join"] === "JOIN_MODE_AT_LEAST" ? count : branches.length;
  return { block: { kind: "parallel", need, keepLosers: config["keep_losers"] === true }, sequences };
}

function parseForEach(config: JsonObject, path: string, { report, parseSteps }: BlockContext): ParsedBlock {
  const block: Block = {
    kind: "for_each",
    items: compileExpressionField(config["items"], `${path}.items`, report),
    itemVariable: typeof config["item_variable"] === "string" && config["item_variable"] !== "" ? config["item_variable"] : "item",
    maxParallel: Number(config["max_parallel"] ?? 0) || 1,
    toleratedFailures: Number(config["tolerated_failure_count"] ?? 0),
    toleratedPercentage: Number(config["tolerated_failure_percentage"] ?? 0),
    collect: compileExpressionField(config["collect"], `${path}.collect`, report),
  };
  return { block, sequences: [{ name: "item", when: undefined, steps: parseSteps(config["steps"], `${path}.steps`) }] };
}

function objectsOf(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

function nameOf(item: JsonObject, otherwise: string): string {
  return typeof item["name"] === "string" && item["name"] !== "" ? item["name"] : otherwise;
}
