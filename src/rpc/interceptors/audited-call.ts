/** What the audit log keeps of a call that changed something. */
import { type DescMessage, getOption, hasOption, type Message, toJson } from "@bufbuild/protobuf";
import type { UnaryRequest } from "@connectrpc/connect";
import { AuditLevel, policy } from "#gen/pyairtable/api/v1/options_pb.js";
import { type Json, type JsonObject, jsonBytes } from "../../base/json.ts";
import type { AuditedCall } from "../../store/audit-repository.ts";

/** A larger request is named, not kept: what it made can be read where it stands. */
const detailBytesMax = 16 * 1024;

export function auditedCall({ method, message }: UnaryRequest, answer: Message): AuditedCall {
  const asked = message as Message & { readonly executionId?: string; readonly reason?: string };
  const level = hasOption(method, policy) ? getOption(method, policy).audit : AuditLevel.METADATA;
  return {
    method: method.name,
    target: targetOf(answer) ?? targetOf(message) ?? "",
    executionId: asked.executionId,
    reason: asked.reason ?? "",
    detail: level === AuditLevel.FULL ? detailOf(method.input, message) : undefined,
  };
}

/** Id or name of the resource in it, or of the one it names. */
function targetOf(message: Message): string | undefined {
  const members = Object.values(message as object) as readonly unknown[];
  for (const member of members) {
    const { id, name } = (typeof member === "object" && member !== null ? member : {}) as { readonly id?: unknown; readonly name?: unknown };
    for (const text of [id, name]) if (typeof text === "string" && text !== "") return text;
  }
  const { workflow, template, fileId, name, executionId } = message as unknown as Readonly<Record<string, unknown>>;
  return [workflow, template, fileId, name, executionId].find((value): value is string => typeof value === "string" && value !== "");
}

function detailOf(desc: DescMessage, message: Message): JsonObject | undefined {
  const { request_id: _, ...wish } = toJson(desc, message, { useProtoFieldName: true }) as { [key: string]: Json };
  for (const field of desc.fields) if (field.proto.options?.debugRedact) delete wish[field.name];
  return jsonBytes(wish) <= detailBytesMax ? wish : undefined;
}
