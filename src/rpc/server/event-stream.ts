/** A watch as server-sent events (`text/event-stream`): `id:` is the sequence, so that a browser resumes by itself with `Last-Event-ID`. */
import { type DescMethod, fromJsonString, toJson } from "@bufbuild/protobuf";

const envelopeBytes = 5;
const endFlag = 2;

export interface StreamEnd {
  readonly error?: { readonly code?: string; readonly message?: string };
}

/** The messages of an enveloped JSON stream in proto names, then its end. */
export async function* readEnvelopes(
  method: DescMethod,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly message: Record<string, unknown> } | { readonly end: StreamEnd }> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of body) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    while (rest.length >= envelopeBytes) {
      const end = envelopeBytes + rest.readUInt32BE(1);
      if (rest.length < end) break;
      const text = rest.subarray(envelopeBytes, end).toString("utf8");
      if (((rest[0] as number) & endFlag) !== 0) yield { end: JSON.parse(text) as StreamEnd };
      else yield { message: toJson(method.output, fromJsonString(method.output, text), { useProtoFieldName: true }) as Record<string, unknown> };
      rest = rest.subarray(end);
    }
  }
}

/** `{event: {…}}` → the lines of one event; heartbeats have no id, so they do not move the place to resume from. */
export function eventText(message: Record<string, unknown>): string {
  const [kind = "message", value] = Object.entries(message)[0] ?? [];
  const sequence = kind === "heartbeat" ? undefined : (value as { sequence?: string } | undefined)?.sequence;
  return `${sequence === undefined ? "" : `id: ${sequence}\n`}event: ${kind}\ndata: ${JSON.stringify(value ?? {})}\n\n`;
}
