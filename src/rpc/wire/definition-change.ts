/** Differences of definitions and templates as messages. */
import { create } from "@bufbuild/protobuf";
import { ChangeKind, type DefinitionChange as ChangeMessage, DefinitionChangeSchema } from "#gen/pyairtable/workflow/v1/definition_report_pb.js";
import type { DefinitionChange } from "../../domain/definition-change.ts";
import { valueFromJson } from "./value.ts";

const kinds = { added: ChangeKind.ADDED, removed: ChangeKind.REMOVED, changed: ChangeKind.CHANGED, moved: ChangeKind.MOVED } as const;

export function changeToMessage({ path, kind, before, after, breaking }: DefinitionChange): ChangeMessage {
  return create(DefinitionChangeSchema, { path, kind: kinds[kind], before: valueFromJson(before), after: valueFromJson(after), breaking });
}
