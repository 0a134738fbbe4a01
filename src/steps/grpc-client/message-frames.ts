/** The frames of gRPC on an HTTP/2 stream: one flag byte, four bytes of length, the message. */
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";

const prefixBytes = 5;

/** Request messages in one buffer. */
export function encodeFrames(messages: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    messages.flatMap((message) => {
      const prefix = Buffer.alloc(prefixBytes);
      prefix.writeUInt32BE(message.length, 1);
      return [prefix, message];
    }),
  );
}

/** Takes chunks and gives the messages in them. Bytes are copied into one growing buffer: a flood of tiny chunks costs no objects. */
export class FrameReader {
  readonly messages: Buffer[] = [];
  readonly #bytesMax: number;
  #buffer: Buffer = Buffer.alloc(1_024);
  #held = 0;
  #taken = 0;

  /** @param bytesMax all messages together, in bytes. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Whether the last message is incomplete. */
  get isInside(): boolean {
    return this.#held > 0;
  }

  /** Takes messages until `messagesMax` are there. The failure says that no more should be read. */
  add(chunk: Buffer, messagesMax: number): Result<undefined, Failure> {
    this.#append(chunk);
    let start = 0;
    while (this.#held - start >= prefixBytes && this.messages.length < messagesMax) {
      if (this.#buffer[start] !== 0) return fail(failure("GRPC.INTERNAL", "the answer is compressed, although no compression was offered"));
      const length = this.#buffer.readUInt32BE(start + 1);
      if (this.#taken + length > this.#bytesMax) return fail(failure("LIMIT.BODY", `the answer is larger than ${this.#bytesMax} bytes`));
      const end = start + prefixBytes + length;
      if (this.#held < end) break;
      this.messages.push(Buffer.from(this.#buffer.subarray(start + prefixBytes, end)));
      this.#taken += length;
      start = end;
    }
    if (start > 0) {
      this.#buffer.copyWithin(0, start, this.#held);
      this.#held -= start;
    }
    return ok(undefined);
  }

  #append(chunk: Buffer): void {
    const needed = this.#held + chunk.length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, this.#held);
      this.#buffer = grown;
    }
    chunk.copy(this.#buffer, this.#held);
    this.#held = needed;
  }
}
