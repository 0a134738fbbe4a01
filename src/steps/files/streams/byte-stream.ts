/** The bytes of a large source on their way: looked at in advance, counted, digested, their end remembered. */
import { createHash } from "node:crypto";

/** Enough to tell what a file is; a line of NDJSON that is longer is not recognised. */
const headBytes = 1024 * 1024;
/** An archive lists its entries at its end. */
const tailBytes = 10 * 1024 * 1024;

export interface Peeked {
  readonly head: Buffer;
  /** All bytes, those of the head too. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

export async function peek(source: AsyncIterable<Uint8Array>): Promise<Peeked> {
  const rest = source[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  for (let size = 0; size < headBytes; ) {
    const next = await rest.next();
    if (next.done) break;
    first.push(Buffer.from(next.value));
    size += next.value.length;
  }
  const head = Buffer.concat(first);
  async function* all(): AsyncIterable<Uint8Array> {
    yield head;
    // Whoever stops early closes the source.
    yield* { [Symbol.asyncIterator]: () => rest };
  }
  return { head, bytes: all() };
}

/** What passes is digested. */
export class Digest {
  readonly #hash = createHash("sha256");
  #sizeBytes = 0;

  async *through(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const piece of source) {
      this.#hash.update(piece);
      this.#sizeBytes += piece.length;
      yield piece;
    }
  }

  /** To be called once, after the last byte. */
  end(): { readonly sizeBytes: number; readonly sha256: string } {
    return { sizeBytes: this.#sizeBytes, sha256: this.#hash.digest("hex") };
  }
}

/** As `source`, but whoever breaks off reading leaves it open for others. */
export function keptOpen<Piece>(source: AsyncIterable<Piece>): AsyncIterable<Piece> {
  const pieces = source[Symbol.asyncIterator]();
  return { [Symbol.asyncIterator]: () => ({ next: () => pieces.next() }) };
}

/** Reads to the end, for those who count on the way. */
export async function drain(source: AsyncIterable<unknown>): Promise<void> {
  const rest = source[Symbol.asyncIterator]();
  while (!(await rest.next()).done);
}

/** The last 10 MiB of what is left. */
export async function tailOf(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of source) {
    pieces.push(Buffer.from(piece));
    size += piece.length;
    while (size - (pieces[0]?.length ?? 0) >= tailBytes) size -= pieces.shift()?.length ?? 0;
  }
  return Buffer.concat(pieces);
}
