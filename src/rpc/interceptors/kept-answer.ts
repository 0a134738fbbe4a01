/**
 * The answer of a call as it is kept for repeats. One that holds a secret is sealed: whoever asked gets it again, and what
 * the database holds can be read by nobody.
 */
import { type DescMethod, fromBinary, type Message, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { invariant } from "../../base/errors.ts";
import { type BoundTo, seal, unseal } from "../../base/seal.ts";

export interface AnswerOf {
  readonly method: DescMethod;
  readonly tenantId: string;
  readonly requestId: string;
}

export function keptAnswer(key: Uint8Array, of: AnswerOf, answer: Message): Uint8Array {
  const bytes = toBinary(of.method.output, answer as MessageShape<typeof of.method.output>);
  return holdsSecret(of.method) ? seal(key, bytes, boundTo(of)) : bytes;
}

export function readAnswer(key: Uint8Array, of: AnswerOf, kept: Uint8Array): Message {
  if (!holdsSecret(of.method)) return fromBinary(of.method.output, kept);
  const bytes = unseal(key, kept, boundTo(of));
  invariant(bytes, "an answer that was sealed here opens here");
  return fromBinary(of.method.output, bytes);
}

function holdsSecret({ output }: DescMethod): boolean {
  return output.fields.some((field) => field.proto.options?.debugRedact === true);
}

function boundTo({ method, tenantId, requestId }: AnswerOf): BoundTo {
  return ["answer", tenantId, method.parent.typeName, method.name, requestId];
}
