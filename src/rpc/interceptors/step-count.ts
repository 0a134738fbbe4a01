/**
 * Counts the steps of each definition in a message before its rules are evaluated: ten thousand steps are refused for what they are, not after the
 * field rules, the JSON form and the parser have looked at each of them. The domain counts again, for definitions that come another way.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { StepSchema, WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import type { FieldViolation } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { tooManySteps } from "../../domain/report.ts";
import { joined } from "./message-faults.ts";
import { nestingFields } from "./nested-rules.ts";

/** Undos stand beside the steps that they undo, at most one each. */
interface Counts {
  steps: number;
  undos: number;
}

/** The first step too many, or undefined. */
export function findTooManySteps(desc: DescMessage, message: Message): FieldViolation | undefined {
  const at = beyond(desc, message, "", { steps: 0, undos: 0 }, false);
  return at === undefined ? undefined : { field: at, reason: "LIMIT_EXCEEDED", description: tooManySteps };
}

function beyond(desc: DescMessage, message: Message, path: string, counts: Counts, isUndo: boolean): string | undefined {
  if (desc === StepSchema && ++counts[isUndo ? "undos" : "steps"] > limits.stepsPerDefinitionMax) return path;
  const below = desc === WorkflowDefinitionSchema ? { steps: 0, undos: 0 } : counts;
  for (const field of nestingFields(desc)) {
    if (!field.message) continue;
    for (const [child, place] of childrenOf(message, field)) {
      const found = beyond(field.message, child, joined(path, field.name + place), below, isUndo || (desc === StepSchema && field.name === "compensation"));
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function* childrenOf(message: Message, field: DescField): Iterable<[Message, string]> {
  const record = message as unknown as Record<string, unknown>;
  const holder = field.oneof ? (record[field.oneof.localName] as { readonly case?: string; readonly value?: unknown }) : undefined;
  const value = holder ? (holder.case === field.localName ? holder.value : undefined) : record[field.localName];
  if (value === undefined) return;
  if (field.fieldKind === "list") for (const [index, child] of (value as Message[]).entries()) yield [child, `[${index}]`];
  else if (field.fieldKind === "map") for (const [key, child] of Object.entries(value as Record<string, Message>)) yield [child, `[${JSON.stringify(key)}]`];
  else yield [value as Message, ""];
}
