/** What the contract says about a call before it is made: how long it may take, and the id under which repeating it is safe. */
import { randomUUID } from "node:crypto";
import { create, type DescMessage, type DescMethod, getOption, type Message, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { policy } from "#gen/pyairtable/api/v1/options_pb.js";

/** The server's default for this method: reads 10 s, writes 30 s, long polls 60 s. Undefined: no deadline (streams). */
export function defaultTimeoutMs(method: DescMethod): number | undefined {
  const { defaultDeadline } = getOption(method, policy);
  return defaultDeadline && durationMs(defaultDeadline);
}

/**
 * The request with a UUID in `request_id` where its caller gave none, also in the start of StartExecutionAndWatch. The service
 * does such a call once and answers its repeats alike.
 */
export function withRequestId<Desc extends DescMessage>(schema: Desc, input: MessageInitShape<Desc>): MessageShape<Desc> {
  // A copy: the caller's own message may be sent again, as another call.
  const message = create(schema, { ...input } as MessageInitShape<Desc>);
  fill(schema, message);
  return message;
}

function fill(schema: DescMessage, message: Message): void {
  const fields = message as unknown as Record<string, unknown>;
  if (schema.field["requestId"]?.fieldKind === "scalar" && fields["requestId"] === "") fields["requestId"] = randomUUID();
  const start = schema.field["start"];
  const started = fields["start"];
  if (start?.fieldKind !== "message" || !started) return;
  const copy = create(start.message, started as MessageInitShape<DescMessage>);
  fields["start"] = copy === started ? { ...started } : copy;
  fill(start.message, fields["start"] as Message);
}
